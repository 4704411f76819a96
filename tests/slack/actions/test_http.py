"""Only what Slack signed is accepted; it is stored once, and acknowledged at once."""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg.rows import dict_row
from slack_sdk.signature import SignatureVerifier
from werkzeug.test import TestResponse

from tests.slack.actions.test_payloads import CONFIG, FIELDS, press
from webhook.config.environments import CurrentConfig
from webhook.http import JSON_ERRORS, serve
from webhook.settings import SlackSettings
from webhook.slack.actions import ACTIONS, http
from webhook.slack.actions.http import ActionIntake
from webhook.store import slack_installations
from webhook.store.database import connect, sync_pool
from webhook.store.slack_installations import NewInstallation
from webhook.timing import Clock, Timing, utc_now

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SETTINGS = SlackSettings(
    client_id=None,
    client_secret=None,
    scopes=("chat:write",),
    bot_token=None,
    signing_secret=SECRET,
    app_token=None,
    base_url="https://slack.com/api/",
)
FORM = "application/x-www-form-urlencoded"
INTERACTIONS, COMMANDS, EVENTS = "/slack/interactions", "/slack/commands", "/slack/events"


@pytest.fixture
def client(store_url: str) -> Iterator[FlaskClient]:
    with sync_pool(store_url, 3) as pool:
        yield served(SETTINGS, ActionIntake(pool, CurrentConfig(CONFIG), ACTIONS))


def served(settings: SlackSettings, intake: ActionIntake, clock: Clock = utc_now) -> FlaskClient:
    app = Flask(__name__)
    serve(app, http.blueprint(settings, intake, clock), JSON_ERRORS)
    return app.test_client()


def signed(body: bytes, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
    assert signature
    return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature}


def send(
    client: FlaskClient,
    path: str,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    content_type: str = FORM,
) -> TestResponse:
    given = signed(body) if headers is None else headers
    return client.post(path, data=body, headers=dict(given), content_type=content_type)


def interaction(**more: Any) -> bytes:
    return urlencode({"payload": json.dumps(press(**more))}).encode()


def command(text: str) -> bytes:
    return urlencode({**FIELDS, "text": text}).encode()


def event(kind: str, at: float, **more: Any) -> bytes:
    document = {"type": "event_callback", "team_id": "T1", "event_time": int(at)}
    return json.dumps(document | {"event": {"type": kind, **more}}).encode()


def rows(store_url: str, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(store_url, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def test_what_slack_signed_is_stored_with_its_job_and_acknowledged(
    client: FlaskClient, store_url: str
) -> None:
    responses = [
        send(client, INTERACTIONS, interaction()),
        send(client, COMMANDS, command("acme/site production")),
    ]
    assert [(response.status_code, response.data) for response in responses] == [(200, b"")] * 2
    kept = rows(store_url, "select id, kind, slack_name, outcome from actions order by id")
    assert [row["kind"] for row in kept] == ["retry", "deploy"]
    assert {row["outcome"] for row in kept} == {"waiting"}
    due = rows(store_url, "select task, subject from schedule order by subject")
    assert [(one["task"], one["subject"]) for one in due] == [
        ("run_action", row["id"]) for row in kept
    ]


def test_a_redelivery_makes_nothing_new(client: FlaskClient, store_url: str) -> None:
    body = interaction()
    headers = signed(body)
    assert [send(client, INTERACTIONS, body, headers).status_code for _ in range(3)] == [200] * 3
    assert len(rows(store_url, "select 1 from actions")) == 1
    assert len(rows(store_url, "select 1 from schedule")) == 1


def test_a_request_without_slacks_signature_is_rejected(
    client: FlaskClient, store_url: str
) -> None:
    body = interaction()
    good = signed(body)
    now = time.time()
    forged = [
        {},
        {name: good[name] for name in ("X-Slack-Signature",)},
        {name: good[name] for name in ("X-Slack-Request-Timestamp",)},
        signed(body, secret="another secret"),
        signed(body + b" "),
        signed(body, now - 301),
        signed(body, now + 301),
        good | {"X-Slack-Request-Timestamp": str(int(now) + 1)},
        good | {"X-Slack-Request-Timestamp": "yesterday"},
        good | {"X-Slack-Request-Timestamp": "9" * 5000},
        good | {"X-Slack-Signature": "v0=ü" + good["X-Slack-Signature"][4:]},
        good | {"X-Slack-Signature": ""},
    ]
    for headers in forged:
        response = send(client, INTERACTIONS, body, headers)
        assert response.status_code == 401, headers
        assert "GITPLOY_SLACK_SIGNING_SECRET" in response.get_json()["remedy"]
        assert SECRET not in response.text
    no_text = b"payload=\xff\xfe"
    assert send(client, INTERACTIONS, no_text, good).status_code == 401
    almost_late = signed(body, now - 290)
    assert send(client, INTERACTIONS, body, almost_late).status_code == 200
    assert len(rows(store_url, "select 1 from actions")) == 1


def test_slacks_own_example_is_accepted(client: FlaskClient, store_url: str) -> None:
    """From docs.slack.dev/authentication/verifying-requests-from-slack."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id="
        b"G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-"
        b"collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F39770"
        b"0885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d"
        b"2c447fce8b6703c"
    )
    example = {
        "X-Slack-Request-Timestamp": "1531420618",
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    assert send(client, COMMANDS, body, example).status_code == 401  # it is of 2018
    then = datetime.fromtimestamp(1531420618 + 299, UTC)
    with sync_pool(store_url, 3) as pool:
        client = served(SETTINGS, ActionIntake(pool, CurrentConfig(CONFIG), ACTIONS), lambda: then)
        assert send(client, COMMANDS, body, example).status_code == 200
    assert rows(store_url, "select slack_name from actions") == [{"slack_name": "roadrunner"}]


def test_malformed_bodies_are_rejected_with_a_message(client: FlaskClient, store_url: str) -> None:
    malformed = [
        (INTERACTIONS, b""),
        (INTERACTIONS, b"payload="),
        (INTERACTIONS, b"payload={"),
        (INTERACTIONS, b"payload=[]"),
        (INTERACTIONS, b"payload=" + b"[" * 100_000),
        (INTERACTIONS, interaction(actions=[])),
        (COMMANDS, b"text=acme/site+production"),
        (COMMANDS, b"&".join(b"a%d=1" % n for n in range(200))),
    ]
    for path, body in malformed:
        response = send(client, path, body)
        assert response.status_code == 400, body[:80]
        assert response.get_json().keys() == {"error", "remedy"}
    assert send(client, EVENTS, b"[]", content_type="application/json").status_code == 400
    wrong_kind = send(client, EVENTS, command("help"))
    assert wrong_kind.status_code == 415
    assert send(client, INTERACTIONS, b"{}", content_type="application/json").status_code == 415
    too_large = b"payload=" + b"x" * 1024 * 1024
    assert send(client, INTERACTIONS, too_large).status_code == 413
    assert not rows(store_url, "select 1 from actions")


def test_other_things_that_people_do_are_seen_and_forgotten(
    client: FlaskClient, store_url: str
) -> None:
    others = [
        interaction(type="shortcut"),
        interaction(type="view_closed"),
        interaction(actions=[{"action_id": "logs", "url": "https://x.test"}]),
    ]
    for body in others:
        assert send(client, INTERACTIONS, body).status_code == 200
    assert send(client, COMMANDS, urlencode({"ssl_check": "1"}).encode()).status_code == 200
    assert not rows(store_url, "select 1 from actions")


def test_what_is_typed_wrongly_is_explained_at_once(client: FlaskClient, store_url: str) -> None:
    response = send(client, COMMANDS, command("acme/site nowhere"))
    assert response.get_json()["response_type"] == "ephemeral"
    assert "known: production, Staging" in response.get_json()["text"]
    assert not rows(store_url, "select 1 from actions")


def test_slack_finds_somebody_behind_the_events_address(client: FlaskClient) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "abc", "token": "x"}).encode()
    response = send(client, EVENTS, body, content_type="application/json")
    assert response.get_json() == {"challenge": "abc"}


def test_a_workspace_that_removes_the_app_is_not_used_any_more(
    client: FlaskClient, store_url: str
) -> None:
    new = NewInstallation(
        team="T1",
        team_name="Acme",
        app_id="A1",
        bot_user="U0",
        scopes="chat:write",
        token=b"encrypted",
        refresh_token=None,
        expires_at=None,
        installed_by="U1",
    )
    with connect(store_url) as connection:
        slack_installations.save(connection, new)
    error = "select error from slack_installations"
    late = event("app_uninstalled", time.time() - 3600)
    theirs = event("tokens_revoked", time.time() + 5, tokens={"oauth": ["U1"], "bot": []})
    for body in (late, theirs):  # of an earlier installation; a user's own token
        assert send(client, EVENTS, body, content_type="application/json").status_code == 200
        assert rows(store_url, error) == [{"error": ""}]
    gone = event("app_uninstalled", time.time() + 5)
    assert send(client, EVENTS, gone, content_type="application/json").status_code == 200
    [row] = rows(store_url, error)
    assert "removed from this workspace" in row["error"]


def test_without_a_signing_secret_requests_are_rejected_with_the_remedy() -> None:
    with sync_pool("postgresql://127.0.0.1:1/nowhere", 1) as pool:
        without = SETTINGS.model_copy(update={"signing_secret": None})
        client = served(without, ActionIntake(pool, CurrentConfig(CONFIG), ACTIONS))
        for path in (INTERACTIONS, COMMANDS, EVENTS):
            response = send(client, path, b"")
            assert response.status_code == 404
            assert "GITPLOY_SLACK_SIGNING_SECRET" in response.get_json()["remedy"]


def test_slack_gets_an_error_in_time_while_the_store_is_unavailable() -> None:
    timing = Timing(slack_connection_within=timedelta(seconds=0.3))
    with sync_pool("postgresql://127.0.0.1:1/nowhere", 1) as pool:
        client = served(SETTINGS, ActionIntake(pool, CurrentConfig(CONFIG), ACTIONS, timing))
        response = send(client, INTERACTIONS, interaction())
        assert response.status_code == 503
        assert response.headers["Retry-After"]
        # What needs no store works all the same.
        assert send(client, COMMANDS, command("help")).status_code == 200

"""Parsing Slack's payloads into requested actions, without I/O."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from handlers import HANDLERS
from webhook.config import load as config
from webhook.deployments.actions import ActionRequest, Reply, Requester
from webhook.errors import MALFORMED, UserError
from webhook.slack.actions import ACTIONS
from webhook.slack.actions.command import parse_command
from webhook.slack.actions.modal import choices
from webhook.slack.actions.payloads import (
    BlockActions,
    Event,
    EventCallback,
    Press,
    Response,
    RevokedTokens,
    TokenRevoked,
    User,
    View,
    ViewSubmission,
    parse_event,
    parse_press,
)
from webhook.slack.actions.submissions import FORMS, parse_form
from webhook.slack.actions.typed import escape

DEPLOY_YML = """
envs:
  - {name: production, repos: [acme/*], handler: command, with: {run: [x]}}
  - name: Staging
    repos: [acme/*]
    production_environment: true
    handler: command
    with: {run: [x]}
  - {name: "preview/*", repos: [acme/*], handler: command, with: {run: [x]}}
  - {name: production, repos: [other/*], handler: command, with: {run: [x]}}
"""
OPTIONS = {name: handler.Options for name, handler in HANDLERS.items()}
CONFIG = config.load(DEPLOY_YML, source="deploy.yml", environ={}, handler_options=OPTIONS)
AT = 1_700_000_000
MODELS = (BlockActions, ViewSubmission, View, Press, User, EventCallback, Event, RevokedTokens)
NAMES = some.sampled_from(
    [*sorted({name for model in MODELS for name in model.model_fields}), "values"]
)
NOW = datetime.fromtimestamp(AT, UTC)
FIELDS = {
    "command": "/ship",
    "team_id": "T1",
    "user_id": "U1",
    "user_name": "ada",
    "response_url": "https://hooks.slack.com/commands/1",
    "trigger_id": "1.2.abc",
}


def press(**more: Any) -> dict[str, Any]:
    return {
        "type": "block_actions",
        "team": {"id": "T1"},
        "user": {"id": "U1", "username": "ada", "team_id": "T1"},
        "trigger_id": "1.2.abc",
        "response_url": "https://hooks.slack.com/actions/1",
        "actions": [{"action_id": "retry", "value": "42", "action_ts": "1.5"}],
        **more,
    }


def a_press(**more: Any) -> ActionRequest:
    parsed = parse_press(press(**more), ACTIONS)
    assert isinstance(parsed, ActionRequest)
    return parsed


def typed(text: str) -> Any:
    return parse_command({**FIELDS, "text": text}, CONFIG, ACTIONS)


def explained(text: str) -> str:
    """The immediate response to that text."""
    response = typed(text)
    assert isinstance(response, Response)
    assert response.document is not None
    assert response.document["response_type"] == "ephemeral"
    return str(response.document["text"])


def filled(**values: str) -> Any:
    return filled_at(NOW, values)


def filled_at(now: datetime, values: Mapping[str, str]) -> Any:
    state: dict[str, Any] = {
        name: {name: {"type": "plain_text_input", "value": value}} for name, value in values.items()
    }
    if "environment" in values:
        option = {"selected_option": {"value": values["environment"]}}
        state["environment"] = {"environment": option}
    view = {
        "id": "V1",
        "callback_id": "deploy_form",
        "private_metadata": json.dumps({"url": "https://hooks.slack.com/1", "at": AT}),
        "state": {"values": state},
    }
    return parse_form(press(view=view), CONFIG, now)


def test_a_press_contains_person_action_and_deployment() -> None:
    request = a_press()
    assert (request.kind, request.deployment_id) == ("retry", 42)
    assert request.requester == Requester("T1", "U1", "ada")
    assert request.reply == Reply("https://hooks.slack.com/actions/1")
    assert "hooks.slack.com" not in repr(request)


def test_the_same_press_has_the_same_key_and_another_one_has_not() -> None:
    again = {"actions": [{"action_id": "retry", "value": "42", "action_ts": "1.6"}]}
    assert a_press().key == a_press().key
    assert len({a_press().key, a_press(trigger_id="9.9.z").key, a_press(**again).key}) == 3
    assert typed("acme/site production").key == typed("acme/site production").key
    assert filled(repository="acme/site", environment="production").key == (
        filled(repository="acme/site", environment="production", ref="main").key
    )


def test_somebody_of_another_workspace_is_known_as_such() -> None:
    request = a_press(user={"id": "U9", "name": "eve", "team_id": "T9"})
    assert request.requester == Requester("T1", "T9/U9", "eve")


def test_an_app_of_a_whole_organisation_is_that_organisations() -> None:
    assert a_press(team=None, enterprise={"id": "E1"}).requester.team == "E1"


def test_a_press_on_a_confirmation_names_the_action() -> None:
    action = {"action_id": "deploy", "value": "17", "action_ts": "1.5"}
    request = a_press(actions=[action])
    assert (request.kind, request.deployment_id, request.reply.confirms) == ("deploy", None, 17)


def test_a_button_that_only_leads_somewhere_is_seen() -> None:
    assert parse_press(press(actions=[{"action_id": "logs"}]), ACTIONS) == Response()


@pytest.mark.parametrize(
    "wrong",
    [
        {"actions": []},
        {"actions": "retry"},
        {"actions": [{"action_id": "retry", "value": "42; drop"}]},
        {"actions": [{"action_id": "retry", "value": "9" * 19}]},
        {"team": {"id": "t1"}},
        {"user": {"id": ""}},
        {"user": None},
        {"user": {"id": "U1", "team_id": "<T9>"}},
    ],
    ids=str,
)
def test_what_slack_does_not_send_is_malformed(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        parse_press(press(**wrong), ACTIONS)
    assert caught.value.code == MALFORMED


def test_the_end_of_a_workspaces_token_is_understood() -> None:
    event = {"type": "event_callback", "team_id": "T1", "event_time": 1_700_000_000}
    at = datetime.fromtimestamp(1_700_000_000, UTC)
    gone = parse_event(event | {"event": {"type": "app_uninstalled"}})
    assert isinstance(gone, TokenRevoked)
    assert (gone.team, gone.at) == ("T1", at)
    tokens = {"type": "tokens_revoked", "tokens": {"bot": ["U1"], "oauth": []}}
    assert isinstance(parse_event(event | {"event": tokens}), TokenRevoked)
    theirs = {"type": "tokens_revoked", "tokens": {"bot": [], "oauth": ["U1"]}}
    assert parse_event(event | {"event": theirs}) == Response()
    assert parse_event(event | {"event": {"type": "app_home_opened"}}) == Response()
    request = parse_event({"type": "url_verification", "challenge": "abc"})
    assert request == Response({"challenge": "abc"})


def test_a_command_names_repository_environment_and_ref() -> None:
    request = typed("acme/site production v1.2")
    assert (request.kind, request.repo, request.environment, request.ref) == (
        "deploy",
        "acme/site",
        "production",
        "v1.2",
    )
    assert request.reply == Reply(FIELDS["response_url"])
    assert typed(" acme/site  STAGING ").environment == "Staging"
    assert typed("acme/site “preview/a b”").environment == "preview/a b"
    assert (typed("status acme/site").kind, typed("status acme/site").repo) == (
        "status",
        "acme/site",
    )


def test_an_incomplete_command_opens_the_form() -> None:
    for text, repo in (("", ""), ("acme/site", "acme/site")):
        request = typed(text)
        assert (request.kind, request.repo) == ("form", repo)
        assert request.reply == Reply(FIELDS["response_url"], FIELDS["trigger_id"])


def test_what_is_typed_wrongly_is_explained_at_once() -> None:
    assert "`/ship owner/repo environment [ref]`" in explained("help")
    assert "'site' is not a repository; write owner/repo" in explained("site production")
    assert "known: production, Staging, preview/*" in explained("acme/site prod")
    assert "is a pattern" in explained("acme/site preview/*")
    assert "no environment for third/site" in explained("third/site production")
    assert "not a branch" in explained("acme/site production a..b")
    assert "not a branch" in explained("acme/site production --upload")
    assert "quotation mark" in explained('acme/site "preview/a')
    assert "too many arguments" in explained("acme/site production main please")
    assert "/ship status owner/repo" in explained("status")
    assert "not a repository" in explained("status acme/..")
    text = explained("acme/site <!channel>")
    assert "<" not in text
    assert "&lt;!channel&gt;" in text
    assert parse_command({"ssl_check": "1"}, CONFIG, ACTIONS) == Response()


def test_a_long_list_of_environments_fits() -> None:
    line = "  - {{name: {}, handler: command, with: {{run: [x]}}}}\n"
    text = "envs:\n" + "".join(line.format(f"environment-{n}-{'x' * 150}") for n in range(120))
    many = config.load(text, source="deploy.yml", environ={}, handler_options=OPTIONS)
    response = parse_command({**FIELDS, "text": "acme/site nowhere"}, many, ACTIONS)
    assert isinstance(response, Response)
    assert response.document is not None
    assert len(response.document["text"]) < 2000
    assert "more" in response.document["text"]
    names, others = choices(many)
    assert (names, others) == ([], True)  # none of them fits a menu
    assert choices(CONFIG) == (["production", "Staging"], True)


def test_the_form_is_validated_before_it_is_accepted() -> None:
    request = filled(repository=" acme/site ", environment="production", ref="main")
    assert (request.kind, request.repo, request.environment, request.ref) == (
        "deploy",
        "acme/site",
        "production",
        "main",
    )
    assert request.reply == Reply("https://hooks.slack.com/1")
    both = {"environment": "production", "other_environment": "preview/7"}
    for given_values, field in (
        ({"repository": "site", "environment": "production"}, "repository"),
        ({"repository": "acme/site"}, "environment"),
        ({"repository": "acme/site", **both}, "other_environment"),
        ({"repository": "third/x", "environment": "production"}, "environment"),
        ({"repository": "acme/site", "other_environment": "nope"}, "other_environment"),
        ({"repository": "acme/site", "environment": "production", "ref": "a b"}, "ref"),
    ):
        response = filled(**given_values)
        assert isinstance(response, Response)
        assert response.document is not None
        assert response.document["response_action"] == "errors"
        assert set(response.document["errors"]) == {field}
    other_form = {"id": "V1", "callback_id": "somebody else's"}
    assert parse_form(press(view=other_form), CONFIG, NOW) == Response()
    good = {"repository": "acme/site", "environment": "production"}
    assert isinstance(filled_at(NOW + timedelta(minutes=28), good), ActionRequest)
    late = filled_at(NOW + timedelta(minutes=30), good)
    assert "type /deploy" in late.document["errors"]["repository"]


@given(some.text(max_size=300))
def test_whatever_is_typed_is_explained_or_requested(text: str) -> None:
    parsed = typed(text)
    if isinstance(parsed, Response):
        assert parsed.document is not None
        assert not set("<>") & set(parsed.document["text"].replace("&lt;", "").replace("&gt;", ""))
    else:
        assert "\x00" not in parsed.repo + parsed.environment + parsed.ref


documents = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


@given(some.dictionaries(NAMES, documents))
def test_a_payload_of_any_shape_is_parsed_or_malformed(payload: dict[str, Any]) -> None:
    view = payload.get("view")
    view = view if isinstance(view, dict) else {}
    forms = [payload | {"view": view | {"callback_id": name}} for name in FORMS]
    codes = {
        error_code(lambda: parse_press(payload, ACTIONS)),
        error_code(lambda: parse_event(payload)),
        *(error_code(partial(parse_form, form, CONFIG, NOW)) for form in forms),
    }
    assert codes <= {"", MALFORMED}


def error_code(parse: Callable[[], object]) -> str:
    try:
        parse()
    except UserError as error:
        return error.code
    return ""


@given(some.text())
def test_escaped_text_holds_no_markup(text: str) -> None:
    assert not set("<>") & set(escape(text))

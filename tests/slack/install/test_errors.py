"""Failed installations: each gets a page with a remedy."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox.faults import Fault
from tests.slack.install.installing import browser, installable, installed, link
from tests.world import World, live

ACCESS = "POST /oauth.v2.access"
AGAIN = "python -m webhook slack install-link"


async def test_a_person_who_denies_access_learns_how_to_allow_it(
    store_url: str, tmp_path: Path
) -> None:
    async with installable(store_url, tmp_path) as world, browser() as person:
        page = await person.press(link(world))
        back = await world.slack.authorize_app(page.location, "cancel")
        denied = await person.get(back)
        assert denied.status == 403
        assert "It was not installed" in denied.text
        assert AGAIN in denied.text
        assert (await person.get(back)).status == 403  # and the state is used up
        assert installed(world) == {}
        assert world.rows("select * from oauth_states") == []


async def test_an_error_of_slack_has_a_remedy(
    store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with installable(store_url, tmp_path) as world, browser() as person:
        signin = f"{world.url}/slack/signin"
        cases = [
            ("invalid_code", 400, ["ten minutes"]),
            ("code_already_used", 400, ["works once"]),
            ("bad_client_secret", 502, ["GITPLOY_SLACK_CLIENT_SECRET", "Basic Information"]),
            ("invalid_client_id", 502, ["GITPLOY_SLACK_CLIENT_ID is 1000.2000"]),
            ("bad_redirect_uri", 400, [f"adds exactly {signin} at", "Redirect URLs", "https://"]),
            ("invalid_scope", 502, ["GITPLOY_SLACK_BOT_SCOPES"]),
            ("invalid_team_for_non_distributed_app", 400, ["Public Distribution"]),
            ("something_new", 502, ["Slack returned something_new"]),
            ("internal_error", 502, ["did not respond", "slack-status.com"]),
            ("<b>unknown</b>", 502, ["did not respond"]),
            ("service_unavailable", 503, ["later"]),
        ]
        for error, status, message in cases:
            world.slack.faults.add(ACCESS, Fault.slack(error))
            page = await person.install(world)
            assert page.status == status, error
            assert [part for part in (*message, AGAIN) if part not in page.text] == []
            assert "<b>" not in page.html
        assert installed(world) == {}
        given = person.given
    log = capsys.readouterr().err
    assert "Slack returned bad_client_secret" in log
    assert [secret for secret in given if secret in log] == []


async def test_an_unavailable_slack_has_its_own_message(store_url: str, tmp_path: Path) -> None:
    async with installable(store_url, tmp_path) as world, browser() as person:
        cases = [
            (Fault.rate_limited(7), 503),
            (Fault.status(503, "down"), 502),
            (Fault.drop_after(), 502),
            (Fault(status_code=200, body=["not", "an", "object"]), 502),
            (Fault(status_code=200, body={"ok": True}), 400),  # nothing that could be kept
            (Fault(status_code=200, body={"ok": True, "team": "T1", "access_token": "x"}), 502),
        ]
        for fault, status in cases:
            world.slack.faults.add(ACCESS, fault)
            page = await person.install(world)
            assert page.status == status, fault
            assert AGAIN in page.text
            assert ("Retry-After" in page.headers) == (status == 503)
        assert installed(world) == {}
        assert (await person.install(world)).status == 200


async def test_what_slack_gives_must_be_of_use(store_url: str, tmp_path: Path) -> None:
    def given(**changed: Any) -> Fault:
        document = {
            "ok": True,
            "access_token": "xoxb-given",
            "token_type": "bot",
            "scope": "chat:write,commands",
            "team": {"id": "T1", "name": "<i>One</i>"},
            "is_enterprise_install": False,
            **changed,
        }
        return Fault(status_code=200, body=document)

    async with installable(store_url, tmp_path) as world, browser() as person:
        cases = [
            (given(scope="commands,chat:write.public"), "bot's scope chat:write"),
            (given(access_token=None), "bot's scope chat:write"),
            (given(token_type="user"), "bot's scope chat:write"),
            (given(team=None, is_enterprise_install=True), "choose a workspace"),
            (given(is_enterprise_install=True), "choose a workspace"),
        ]
        for fault, message in cases:
            world.slack.faults.add(ACCESS, fault)
            page = await person.install(world)
            assert (page.status, message in page.text) == (400, True), page.text
        assert installed(world) == {}
        world.slack.faults.add(ACCESS, given())
        page = await person.install(world)
        assert "Installed in <i>One</i>" in page.text  # as text
        assert "<i>" not in page.html
        assert "with the name of the Slack app's bot" in page.text  # not in the response


async def test_a_wrong_secret_or_address_is_seen_by_slack_itself(
    store_url: str, tmp_path: Path
) -> None:
    wrong = {"GITPLOY_SLACK_CLIENT_SECRET": "not-the-one-of-the-app"}
    async with installable(store_url, tmp_path, wrong) as world, browser() as person:
        page = await person.install(world)
        assert page.status == 502
        assert "GITPLOY_SLACK_CLIENT_SECRET is not the client secret of the app 1000.2000" in (
            page.text
        )
        assert "not-the-one-of-the-app" not in page.text
        back = await person.allowed(world)
        error = back.partition("?")[0] + "?error=bad_redirect_uri&state=" + person_state(back)
        page = await person.get(error)
        assert f"adds exactly {world.url}/slack/signin" in page.text
        back = await person.allowed(world)
        page = await person.get(back.partition("?")[0] + f"?state={person_state(back)}")
        assert (page.status, "sent no code" in page.text) == (400, True)
        back = await person.allowed(world)
        forged = "?error=%3Cscript%3E&state=" + person_state(back)
        page = await person.get(back.partition("?")[0] + forged)
        assert "an error without a name" in page.text
        assert "<script" not in page.html


def person_state(url: str) -> str:
    return url.partition("state=")[2]


async def test_an_unavailable_store_is_reported(store_url: str, tmp_path: Path) -> None:
    async with installable(store_url, tmp_path) as world, browser() as person:
        url, back = link(world), await person.allowed(world)
        _rename(world, "oauth_states", "away")
        for page in (await person.get(url), await person.get(back)):
            assert page.status == 503
            assert "Its store does not respond" in page.text
            assert page.headers["Retry-After"]
        _rename(world, "away", "oauth_states")
        _rename(world, "slack_installations", "away")
        page = await person.get(back)
        assert (page.status, AGAIN in page.text) == (503, True)
        _rename(world, "away", "slack_installations")
        assert (await person.install(world)).status == 200


def _rename(world: World, table: str, name: str) -> None:
    with psycopg.connect(world.store_url) as connection:
        connection.execute(f"alter table {table} rename to {name}")


async def test_without_a_slack_app_the_pages_name_the_variables(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0) as world, browser() as person:
        for path in ("install", "install?key=x", "signin?code=1&state=2"):
            page = await person.get(f"{world.url}/slack/{path}")
            assert page.status == 404
            assert "GITPLOY_SLACK_CLIENT_ID and GITPLOY_SLACK_CLIENT_SECRET" in page.text
        assert (await person.post(f"{world.url}/slack/install", "x")).status == 404

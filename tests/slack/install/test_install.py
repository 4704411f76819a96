"""Installing the app in Slack, from the link to the page that confirms it."""

import asyncio
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from flask import Flask

from tests.slack.install.installing import browser, forget_about_time, installable, installed, link
from tests.web.viewing import Seen, page_services
from webhook.config.environments import CurrentConfig
from webhook.http import serve
from webhook.security.cipher import Cipher
from webhook.slack.install.views import ERRORS, blueprint, form_action
from webhook.store import slack_installations
from webhook.store.database import Sync, connect, sync_pool
from webhook.web.pages import blueprint as pages

ALL_SCOPES = "channels:history,chat:write,groups:history,users:read,users:read.email"


async def test_a_link_a_button_and_a_yes_install_it(
    store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with installable(store_url, tmp_path) as world, browser() as person:
        first = link(world)
        page = await person.get(first)
        assert page.status == 200
        assert "chat:write post where it is invited" in page.text
        response = await person.post(f"{world.url}/slack/install", page.key())
        assert response.status == 303
        query = parse_qs(urlsplit(response.location).query)
        assert response.location.startswith(f"{world.slack.url}/oauth/v2/authorize?")
        assert query["client_id"] == [world.slack.app.client_id]
        assert query["scope"] == [ALL_SCOPES]
        assert query["redirect_uri"] == [f"{world.url}/slack/signin"]
        assert f"redirect_uri={world.url}" not in response.location  # it is encoded
        [state] = query["state"]
        assert len(state) >= 43

        page = await person.get(await world.slack.authorize_app(response.location, "allow"))
        assert page.status == 200, page.text
        assert "Installed in Acme" in page.text
        assert "/invite @relay" in page.text
        assert "deploy.yml names: #deploys, #oncall, #staging" in page.text
        assert "workspace:" not in page.text
        assert installed(world) == {"T0SANDBOX": world.slack.workspace.tokens[-1].value}
        with connect(world.store_url) as connection:
            [kept] = slack_installations.every_sync(connection)
        assert (kept.team_name, kept.app_id, kept.bot_user) == ("Acme", "A0RELAY", "U0RELAY")
        assert (kept.scopes, kept.installed_by) == (ALL_SCOPES, "U0ADMIN")
        assert (kept.refresh_token, kept.expires_at) == (None, None)
        assert str(kept.token) not in repr(kept)
        secrets = [*person.given, *installed(world).values(), world.slack.app.client_secret]
    log = capsys.readouterr().err
    assert "installed in Slack" in log
    assert [secret for secret in secrets if secret in log] == []


async def test_looking_at_a_link_does_not_use_it_up_but_pressing_does(
    store_url: str, tmp_path: Path
) -> None:
    async with installable(store_url, tmp_path) as world, browser() as person:
        url = link(world)
        async with person.session.head(url) as preview:
            assert preview.status == 200
        assert [(await person.get(url)).status for _ in range(3)] == [200, 200, 200]
        key = (await person.get(url)).key()
        first = await person.post(f"{world.url}/slack/install", key)
        again = await person.post(f"{world.url}/slack/install", key)
        assert [page.status for page in (first, again, await person.get(url))] == [303, 403, 403]
        assert "slack install-link" in again.text

        for wrong in (f"{world.url}/slack/install", f"{world.url}/slack/install?key=%ff%ed%a0"):
            assert (await person.get(wrong)).status == 403
        late = link(world)
        key = (await person.get(late)).key()
        forget_about_time(world)
        assert (await person.get(late)).status == 403
        assert (await person.post(f"{world.url}/slack/install", key)).status == 403
        for _ in range(2):
            forget_about_time(world)
            link(world)
        assert len(world.rows("select * from oauth_states")) == 1  # old ones are swept away
        assert world.rows("select * from slack_installations") == []


async def test_of_many_who_press_one_link_at_once_one_gets_through(
    store_url: str, tmp_path: Path
) -> None:
    async with installable(store_url, tmp_path) as world, browser() as person:
        key = (await person.get(link(world))).key()
        presses = [person.post(f"{world.url}/slack/install", key) for _ in range(6)]
        pages = await asyncio.gather(*presses)
        assert sorted(page.status for page in pages) == [303, 403, 403, 403, 403, 403]
        assert len(world.rows("select * from oauth_states")) == 1


async def test_a_state_counts_once_in_time_and_in_its_own_browser(
    store_url: str, tmp_path: Path
) -> None:
    async with installable(store_url, tmp_path) as world, browser() as person, browser() as other:
        back = await person.allowed(world)
        for page in (await other.get(back), await person.get(back)):  # it is used up by the other
            assert page.status == 403
            assert "in another browser" in page.text
            assert "slack install-link" in page.text
        back = await person.allowed(world)
        wrong = back.replace("state=", "state=x")
        for invalid in (
            wrong,
            f"{world.url}/slack/signin",
            f"{world.url}/slack/signin?code=1&state=",
        ):
            assert (await person.get(invalid)).status == 403
        forget_about_time(world)
        assert (await person.get(back)).status == 403
        assert installed(world) == {}

        back = await person.allowed(world)
        pages = await asyncio.gather(*(person.get(back) for _ in range(6)))
        assert sorted(page.status for page in pages) == [200, 403, 403, 403, 403, 403]
        assert (await person.get(back)).status == 403
        assert world.rows("select * from oauth_states") == []


async def test_the_cookie_is_valid_for_this_response_only(store_url: str, tmp_path: Path) -> None:
    https = {"GITPLOY_SERVER_PROTO": "https"}
    async with installable(store_url, tmp_path, https) as world, browser() as person:
        base = world.url.replace("https:", "http:")
        page = await person.press(link(world).replace("https:", "http:"))
        assert page.status == 303
        cookie = page.headers["Set-Cookie"]
        parts = {part.strip() for part in cookie.partition(";")[2].split(";")}
        assert {"HttpOnly", "SameSite=Lax", "Secure", "Path=/slack/signin"} <= parts
        assert "Max-Age=600" in parts
        value = cookie.partition("=")[2].partition(";")[0]
        assert len(value) >= 43
        [row] = world.rows("select * from oauth_states")
        assert value.encode() not in row["browser"]
        [state] = parse_qs(urlsplit(page.location).query)["state"]
        denied = await person.get(f"{base}/slack/signin?state={state}&error=access_denied")
        assert denied.status == 403


async def test_two_installations_in_one_browser_do_not_cross(
    store_url: str, tmp_path: Path
) -> None:
    async with installable(store_url, tmp_path) as world, browser() as person:
        second = world.slack.add_workspace("Beta")
        to_first, to_second = await person.allowed(world), await person.allowed(world, second)
        assert "Installed in Beta" in (await person.get(to_second)).text
        page = await person.get(to_first)
        assert "Installed in Acme" in page.text
        assert "installed in Beta too" in page.text
        assert "slack: {workspace: T0SANDBOX, channel:" in page.text
        tokens = installed(world)
        assert set(tokens) == {"T0SANDBOX", second.id}
        assert tokens[second.id] == second.tokens[-1].value


async def test_installing_again_replaces_and_clears_the_error(
    store_url: str, tmp_path: Path
) -> None:
    async with installable(store_url, tmp_path) as world, browser() as person:
        await person.install(world)
        old = installed(world)["T0SANDBOX"]
        with connect(store_url) as connection:
            [before] = slack_installations.every_sync(connection)
            assert slack_installations.stop(connection, "T0SANDBOX", "it was removed")
            assert not slack_installations.stop(connection, "T0SANDBOX", "removed again")
        assert installed(world) == {}
        world.slack.app.rotates = True
        assert (await person.install(world)).status == 200
        assert installed(world)["T0SANDBOX"] != old
        with connect(store_url) as connection:
            [after] = slack_installations.every_sync(connection)
            assert after.installed_at > before.installed_at
            assert after.error == ""
            assert after.refresh_token
            assert after.expires_at
            # News of what was before it does it no harm.
            earlier = before.installed_at.replace(year=before.installed_at.year - 1)
            assert not slack_installations.stop(connection, "T0SANDBOX", "late", before=earlier)
            now = after.installed_at.replace(microsecond=0)  # Slack's times are whole seconds
            assert slack_installations.stop(connection, "T0SANDBOX", "gone", before=now)
        refresh_token = Cipher(world.setup.secret_keys).decrypt(after.refresh_token)
        assert refresh_token.startswith("xoxe-")
        assert refresh_token not in repr(after)


async def test_an_installation_and_its_callback_share_a_transaction(
    store_url: str, tmp_path: Path
) -> None:
    calls: list[tuple[str, int]] = []

    def on_install(connection: Sync, team: str) -> None:
        calls.append((team, len(slack_installations.every_sync(connection))))
        if len(calls) == 1:
            raise psycopg.OperationalError

    async with installable(store_url, tmp_path) as world, browser() as person:
        setup = world.setup
        with sync_pool(store_url, 2) as pool:
            app = Flask("tests", static_folder=None)
            serve(app, pages.blueprint(page_services(pool)), pages.ERRORS)
            cipher = Cipher(setup.secret_keys)
            slack, url = setup.settings.slack, setup.settings.server_url
            current = CurrentConfig(setup.config)
            install = blueprint(pool, slack, url, current, cipher, on_install=on_install)
            serve(app, install, ERRORS)
            client = app.test_client()
            for status, kept in ((503, 0), (200, 1)):
                key = (await person.get(link(world))).key()
                response = client.post("/slack/install", data={"key": key})
                back = await world.slack.authorize_app(response.headers["Location"], "allow")
                page = await asyncio.to_thread(client.get, back.removeprefix(world.url))
                assert page.status_code == status
                assert len(installed(world)) == kept
        assert calls == [("T0SANDBOX", 1), ("T0SANDBOX", 1)]


async def test_with_a_signing_secret_the_scope_commands_is_requested(
    store_url: str, tmp_path: Path
) -> None:
    environ = {
        "GITPLOY_SLACK_SIGNING_SECRET": "a-signing-secret",
        "GITPLOY_SLACK_BOT_SCOPES": "chat:write,users:read.email,users:read",
    }
    async with installable(store_url, tmp_path, environ) as world, browser() as person:
        url = link(world)
        assert "commands respond to /deploy" in (await person.get(url)).text
        response = (await person.press(url)).location
        scopes = "chat:write,commands,users:read,users:read.email"
        assert parse_qs(urlsplit(response).query)["scope"] == [scopes]


async def test_every_page_is_locked_down_and_only_the_buttons_leads_to_slack(
    store_url: str, tmp_path: Path
) -> None:
    async with installable(store_url, tmp_path) as world, browser() as person:
        page = await person.get(link(world))
        denied = await person.get(f"{world.url}/slack/signin?state=x")
        done = await person.install(world)
        for seen in (page, denied, done):
            policy = seen.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert seen.headers["Referrer-Policy"] == "same-origin"
            assert seen.headers["Cache-Control"] == "no-store"
            assert seen.headers["X-Content-Type-Options"] == "nosniff"
            assert Seen(seen.html).all("script") == []
        assert f"form-action 'self' {world.slack.url}" in page.headers["Content-Security-Policy"]
        for closed in (denied, done):
            assert "form-action 'none'" in closed.headers["Content-Security-Policy"]
        for sheet in Seen(page.html).all("link"):
            assert (await person.get(world.url + sheet["href"])).status == 200


def test_slack_may_lead_a_browser_on_to_the_workspaces_own_host() -> None:
    # slack.com/oauth/v2/authorize redirects those who are signed in to acme.slack.com.
    assert form_action("https://slack.com") == "'self' https://slack.com https://*.slack.com"
    assert form_action("http://127.0.0.1:80") == "'self' http://127.0.0.1:80"

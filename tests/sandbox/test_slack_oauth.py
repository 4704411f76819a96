"""Installing the App in the stand-in for Slack, as slack_sdk and a browser do it."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.sandbox import Sandbox
from sandbox.slack.server import Slack
from sandbox.slack.workspace import Workspace

BACK = "https://relay.test/slack/signin"


@pytest.fixture
def beta(slack: Slack) -> Workspace:
    slack.app.redirect_urls = ["https://relay.test/slack"]
    return slack.add_workspace("Beta")


def authorize(slack: Slack, **query: str) -> str:
    defaults = {"client_id": slack.app.client_id, "scope": "chat:write,commands", "state": "s/1 &"}
    parameters = {
        name: value for name, value in (defaults | {"redirect_uri": BACK} | query).items() if value
    }
    return f"{slack.url}/oauth/v2/authorize?{urlencode(parameters)}"


def query_of(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


async def code(slack: Slack, workspace: Workspace, **query: str) -> str:
    location = await slack.authorize_app(authorize(slack, **query), "allow", workspace=workspace)
    return query_of(location)["code"]


async def access(slack: Slack, **given: Any) -> dict[str, Any]:
    """The response, even if it is an error."""
    keys = {"client_id": slack.app.client_id, "client_secret": slack.app.client_secret}
    client = AsyncWebClient(base_url=slack.api_url, retry_handlers=[])
    try:
        response = await client.oauth_v2_access(**(keys | given))
    except SlackApiError as error:
        return dict(error.response.data)
    assert isinstance(response.data, dict)
    return response.data


async def error_of(slack: Slack, token: str) -> str:
    try:
        await AsyncWebClient(token, base_url=slack.api_url, retry_handlers=[]).auth_test()
    except SlackApiError as error:
        return str(error.response["error"])
    return ""


async def test_a_user_who_allows_the_app_gets_it_a_token(slack: Slack, beta: Workspace) -> None:
    ada = beta.add_user("ada")
    location = await slack.authorize_app(authorize(slack), "allow", workspace=beta, user=ada)
    assert location.startswith(BACK + "?")
    assert query_of(location)["state"] == "s/1 &"
    response = await access(slack, code=query_of(location)["code"], redirect_uri=BACK)
    assert response["access_token"].startswith("xoxb-")
    assert response["team"] == {"id": beta.id, "name": "Beta"}
    assert (response["token_type"], response["scope"]) == ("bot", "chat:write,commands")
    assert (response["app_id"], response["bot_user_id"]) == (slack.app.id, beta.bot.user)
    assert (response["authed_user"], response["enterprise"]) == ({"id": ada.id}, None)
    assert response["is_enterprise_install"] is False
    assert "refresh_token" not in response
    beta.add_channel("deploys")
    bot = AsyncWebClient(response["access_token"], base_url=slack.api_url)
    assert (await bot.auth_test())["team_id"] == beta.id
    posted = await bot.chat_postMessage(channel="#deploys", text="hello")
    assert posted["channel"] == beta.channel("deploys").id != "C00000001"
    assert slack.messages("deploys") == []


async def test_a_user_may_cancel(slack: Slack, beta: Workspace) -> None:
    location = await slack.authorize_app(authorize(slack), "cancel", workspace=beta)
    assert query_of(location) == {"error": "access_denied", "state": "s/1 &"}


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"client_id": "1.2"}, "Invalid client_id"),
        ({"redirect_uri": "https://relay.test.evil/slack"}, "did not match"),
        ({"redirect_uri": "https://relay.test/slackers"}, "did not match"),
        ({"redirect_uri": "http://relay.test/slack/signin"}, "did not match"),
        ({"scope": ""}, "No scopes requested"),
        ({"scope": "chat:write,fly"}, "Invalid permissions requested: fly"),
        ({"team": "T404"}, "workspace is not known"),
    ],
)
async def test_a_wrong_authorization_request_shows_an_error(
    slack: Slack, beta: Workspace, query: dict[str, str], text: str
) -> None:
    with pytest.raises(LookupError, match=text):
        await slack.authorize_app(authorize(slack, **query), "allow", workspace=beta)


async def test_a_redirect_url_is_https_even_where_it_is_registered_otherwise(
    slack: Slack, beta: Workspace
) -> None:
    slack.app.redirect_urls = ["http://relay.test/slack"]
    with pytest.raises(LookupError, match="did not match"):
        await code(slack, beta, redirect_uri="http://relay.test/slack/signin")
    slack.app.redirect_urls = ["http://127.0.0.1:8080/slack"]  # a relay in a test
    assert await code(slack, beta, redirect_uri="http://127.0.0.1:8080/slack/signin")


async def test_an_error_on_the_page_is_escaped(slack: Slack, beta: Workspace) -> None:
    url = authorize(slack, redirect_uri="https://x.test/<b>")
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 400
        assert "&lt;b&gt;" in await response.text()


async def test_a_wrong_exchange_is_rejected(slack: Slack, beta: Workspace) -> None:
    good = {"code": await code(slack, beta), "redirect_uri": BACK}

    async def error(**given: str) -> str:
        return str((await access(slack, **(good | given)))["error"])

    assert await error(client_id="1.2") == "invalid_client_id"
    assert await error(client_secret="wrong") == "bad_client_secret"
    assert await error(code="1.2.3") == "invalid_code"
    assert await error(redirect_uri="https://relay.test/slack/other") == "bad_redirect_uri"
    assert await error(grant_type="password") == "invalid_grant_type"
    assert (await access(slack, **good))["ok"] is True
    assert await error() == "code_already_used"
    slack.code_lifetime = 0
    assert await error(code=await code(slack, beta)) == "invalid_code"


async def test_a_code_without_redirect_uri_is_exchanged_without_one(
    slack: Slack, beta: Workspace
) -> None:
    location = await slack.authorize_app(authorize(slack, redirect_uri=""), "allow", workspace=beta)
    assert location.startswith("https://relay.test/slack?")
    given = query_of(location)["code"]
    assert (await access(slack, code=given, redirect_uri=BACK))["error"] == "bad_redirect_uri"
    assert (await access(slack, code=given))["ok"] is True


async def test_a_form_may_carry_the_secret(slack: Slack, beta: Workspace) -> None:
    form = {
        "client_id": slack.app.client_id,
        "client_secret": slack.app.client_secret,
        "code": await code(slack, beta),
        "redirect_uri": BACK,
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(slack.api_url + "oauth.v2.access", data=form) as response,
    ):
        assert (await response.json())["ok"] is True


async def test_installing_again_keeps_the_bot_and_adds_scopes(
    slack: Slack, beta: Workspace
) -> None:
    first = await access(slack, code=await code(slack, beta), redirect_uri=BACK)
    again = await code(slack, beta, scope="users:read")
    second = await access(slack, code=again, redirect_uri=BACK)
    assert second["access_token"] == first["access_token"]
    assert second["bot_user_id"] == first["bot_user_id"]
    assert second["scope"] == "chat:write,commands,users:read"


async def test_rotated_tokens_expire_and_are_renewed_once(slack: Slack, beta: Workspace) -> None:
    slack.app.rotates = True
    first = await access(slack, code=await code(slack, beta), redirect_uri=BACK)
    assert first["access_token"].startswith("xoxe.xoxb-1-")
    assert first["refresh_token"].startswith("xoxe-1-")
    assert first["expires_in"] == 43_200
    renew = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = await access(slack, **renew)
    assert second["access_token"] != first["access_token"]
    assert (await access(slack, **renew))["error"] == "invalid_refresh_token"
    # The old one stays good until its time comes.
    assert await error_of(slack, first["access_token"]) == ""
    slack.tokens[first["access_token"]].expires = 1
    assert await error_of(slack, first["access_token"]) == "token_expired"
    assert await error_of(slack, second["access_token"]) == ""
    slack.token_lifetime = 60
    third = await access(slack, grant_type="refresh_token", refresh_token=second["refresh_token"])
    assert (third["expires_in"], third["scope"]) == (60, "chat:write,commands")


async def test_an_uninstalled_app_needs_a_new_token(slack: Slack, beta: Workspace) -> None:
    first = await access(slack, code=await code(slack, beta), redirect_uri=BACK)
    await beta.uninstall()
    assert await error_of(slack, first["access_token"]) == "account_inactive"
    assert await error_of(slack, slack.token) == ""
    second = await access(slack, code=await code(slack, beta), redirect_uri=BACK)
    assert await error_of(slack, second["access_token"]) == ""
    assert await error_of(slack, first["access_token"]) == "account_inactive"
    await beta.revoke()
    assert await error_of(slack, second["access_token"]) == "token_revoked"


async def test_a_refresh_token_dies_with_the_installation(slack: Slack, beta: Workspace) -> None:
    slack.app.rotates = True
    first = await access(slack, code=await code(slack, beta), redirect_uri=BACK)
    await beta.uninstall()
    renew = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    assert (await access(slack, **renew))["error"] == "invalid_refresh_token"


async def test_the_app_need_not_be_installed_at_the_start() -> None:
    async with Slack(installed=False) as bare:
        assert await error_of(bare, bare.token) == "invalid_auth"


def test_a_sandbox_has_the_variables_for_slack(tmp_path: Path) -> None:
    plain = Sandbox().environ(tmp_path, tmp_path, 8080)
    assert {name for name in plain if "SLACK" in name} == {
        "GITPLOY_SLACK_BASE_URL",
        "GITPLOY_SLACK_BOT_TOKEN",
    }
    sandbox = Sandbox(interactive=True, oauth=True)
    sandbox.slack.socket_mode = True
    given = sandbox.environ(tmp_path, tmp_path, 8080)
    app = sandbox.slack.app
    assert given["GITPLOY_SLACK_CLIENT_ID"] == app.client_id
    assert given["GITPLOY_SLACK_CLIENT_SECRET"] == app.client_secret
    assert given["GITPLOY_SLACK_SIGNING_SECRET"] == app.signing_secret
    assert given["GITPLOY_SLACK_APP_TOKEN"] == app.app_token
    assert "GITPLOY_SLACK_BOT_TOKEN" not in given
    assert app.redirect_urls == ["http://127.0.0.1:8080/slack/signin"]
    assert sandbox.slack.events_url == "http://127.0.0.1:8080/slack/events"
    for secret in (app.client_secret, app.signing_secret, app.app_token):
        assert secret not in repr(app)

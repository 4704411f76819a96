"""Signing in through the App at the stand-in for GitHub, over HTTP."""

import base64
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode

import aiohttp
import pytest
from aiohttp import web

from sandbox.faults import Fault
from sandbox.github.server import GitHub
from sandbox.server import HOST
from tests.sandbox.conftest import Send, Shape

VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")
PKCE = {"code_challenge": CHALLENGE.decode(), "code_challenge_method": "S256"}


@pytest.fixture
async def callback(github: GitHub) -> AsyncIterator[str]:
    """The registered callback URL, at which an App listens and shows its query."""

    async def show(request: web.Request) -> web.Response:
        return web.json_response(dict(request.query))

    app = web.Application()
    app.router.add_get("/signin", show)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    url = f"http://{HOST}:{runner.addresses[0][1]}/signin"
    github.app.callback_urls = [url, f"{url}/two"]
    github.add_user("mona")
    yield url
    await runner.cleanup()


def authorize_url(github: GitHub, callback: str, **changes: str) -> str:
    query = {"client_id": github.app.client_id, "redirect_uri": callback, "state": "s&1", **PKCE}
    return f"{github.url}/login/oauth/authorize?{urlencode(query | changes)}"


async def code_for(
    github: GitHub, browser: aiohttp.ClientSession, url: str, login: str = "mona"
) -> str:
    response = await github.sign_in(browser, url, login)
    [code] = parse_qs(response.url.query_string)["code"]
    return code


async def exchange(
    github: GitHub, session: aiohttp.ClientSession, code: str, **changes: str
) -> dict[str, Any]:
    body = {
        "client_id": github.app.client_id,
        "client_secret": github.app.client_secret,
        "code": code,
        "code_verifier": VERIFIER,
        **changes,
    }
    url, headers = f"{github.url}/login/oauth/access_token", {"Accept": "application/json"}
    async with session.post(url, data=body, headers=headers) as response:
        assert response.status == 200
        return dict(await response.json())


async def test_a_person_signs_in_and_the_token_says_who_it_is(
    github: GitHub, session: aiohttp.ClientSession, callback: str, send: Send, shape: Shape
) -> None:
    github.strict = True
    response = await github.sign_in(session, authorize_url(github, callback), "mona")
    assert (response.url.path, (await response.json())["state"]) == ("/signin", "s&1")
    code = (await response.json())["code"]
    answer = await exchange(github, session, code, redirect_uri=callback)
    assert answer["access_token"].startswith("ghu_")
    assert (answer["scope"], answer["token_type"], answer["expires_in"]) == ("", "bearer", 28800)
    assert answer["refresh_token"].startswith("ghr_")
    github.strict = False
    status, who = await send("GET", "/user", answer["access_token"])
    shape("PublicUser", who)
    user = github.world.user("mona")
    assert user is not None
    assert (status, who["login"], who["id"], who["type"]) == (200, "mona", user.account.id, "User")
    assert (await send("GET", "/repos/acme/web", answer["access_token"]))[0] == 403
    assert (await exchange(github, session, code))["error"] == "bad_verification_code"
    assert "x-ratelimit-limit" not in response.history[-1].headers


async def test_who_presses_cancel_comes_back_with_access_denied(
    github: GitHub, session: aiohttp.ClientSession, callback: str
) -> None:
    response = await github.sign_in(session, authorize_url(github, callback), None)
    query = await response.json()
    assert (query["error"], query["state"]) == ("access_denied", "s&1")
    with pytest.raises(LookupError, match="mona"):
        await github.sign_in(session, authorize_url(github, callback), "nobody")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "Iv1.other"},
        {"redirect_uri": "http://127.0.0.1:1/signin"},
        {"redirect_uri": ""},
    ],
)
async def test_what_is_not_registered_is_shown_no_form_and_no_redirect(
    github: GitHub, session: aiohttp.ClientSession, callback: str, changes: dict[str, str]
) -> None:
    async with session.get(authorize_url(github, callback, **changes)) as response:
        assert (response.status, "<form" in await response.text()) == (404, False)
        assert not response.history
    below = authorize_url(github, f"{callback}/three")
    async with session.get(below) as response:
        assert response.status == 404


async def test_the_login_is_a_suggestion_and_no_redirect_uri_means_the_first(
    github: GitHub, session: aiohttp.ClientSession, callback: str
) -> None:
    github.add_user("zoe")
    github.add_user("vercel[bot]")
    query = {"client_id": github.app.client_id, "login": "Zoe", "prompt": "select_account"}
    url = f"{github.url}/login/oauth/authorize?{urlencode(query)}"
    async with session.get(url) as response:
        page = await response.text()
    assert page.index('value="zoe"') < page.index('value="mona"')
    assert "vercel" not in page
    answer = await github.sign_in(session, url, "mona")
    assert str(answer.url).startswith(f"{callback}?code=")


@pytest.mark.parametrize(
    "changes", [{"code_challenge_method": "plain"}, {"code_challenge": "short"}]
)
async def test_only_a_challenge_of_s256_is_accepted(
    github: GitHub, session: aiohttp.ClientSession, callback: str, changes: dict[str, str]
) -> None:
    async with session.get(authorize_url(github, callback, **changes)) as response:
        assert (await response.json())["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_secret": "wrong"}, "incorrect_client_credentials"),
        ({"client_id": "wrong"}, "incorrect_client_credentials"),
        ({"code": "wrong"}, "bad_verification_code"),
        ({"code_verifier": ""}, "bad_verification_code"),
        ({"code_verifier": "w" * 50}, "bad_verification_code"),
        ({"redirect_uri": "http://127.0.0.1:1/signin"}, "redirect_uri_mismatch"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
    ],
)
async def test_a_wrong_exchange_is_an_error_with_status_200(
    github: GitHub,
    session: aiohttp.ClientSession,
    callback: str,
    changes: dict[str, str],
    error: str,
) -> None:
    code = await code_for(github, session, authorize_url(github, callback))
    answer = await exchange(github, session, **{"code": code, **changes})
    assert answer["error"] == error
    assert "access_token" not in answer


async def test_a_code_lives_for_ten_minutes_and_without_accept_the_answer_is_a_form(
    github: GitHub, session: aiohttp.ClientSession, callback: str
) -> None:
    code = await code_for(github, session, authorize_url(github, callback))
    github.world.ahead = timedelta(minutes=10)
    assert (await exchange(github, session, code))["error"] == "bad_verification_code"
    async with session.post(f"{github.url}/login/oauth/access_token") as response:
        assert response.content_type == "application/x-www-form-urlencoded"
        assert parse_qs(await response.text())["error"] == ["incorrect_client_credentials"]


async def test_the_eleventh_token_of_a_person_ends_the_first(
    github: GitHub, session: aiohttp.ClientSession, callback: str, send: Send
) -> None:
    github.add_user("zoe")
    github.app.user_tokens_expire = False
    url, values = authorize_url(github, callback), []
    for login in ("zoe", *["mona"] * 11):
        answer = await exchange(github, session, await code_for(github, session, url, login))
        assert "expires_in" not in answer
        values.append(answer["access_token"])
    statuses = [(await send("GET", "/user", value))[0] for value in values]
    assert statuses == [200, 401, *[200] * 10]


async def test_the_app_ends_one_token_or_all_and_so_does_the_person(
    github: GitHub, session: aiohttp.ClientSession, callback: str, send: Send
) -> None:
    url = authorize_url(github, callback)
    values = []
    for _ in range(4):
        answer = await exchange(github, session, await code_for(github, session, url))
        values.append(answer["access_token"])

    async def ask(method: str, path: str, value: str, secret: str = "") -> int:
        client = f"{github.app.client_id}:{secret or github.app.client_secret}"
        headers = {"Authorization": f"Basic {base64.b64encode(client.encode()).decode()}"}
        body = {"access_token": value}
        url = f"{github.api_url}/applications/{github.app.client_id}/{path}"
        async with session.request(method, url, json=body, headers=headers) as done:
            return done.status

    assert await ask("DELETE", "token", values[0], "wrong") == 401
    assert await ask("POST", "token", values[0]) == 200
    assert await ask("DELETE", "token", values[0]) == 204
    assert await ask("POST", "token", values[0]) == 404
    assert [(await send("GET", "/user", value))[0] for value in values[:2]] == [401, 200]
    assert await ask("DELETE", "grant", values[1]) == 204
    assert [(await send("GET", "/user", value))[0] for value in values] == [401] * 4
    answer = await exchange(github, session, await code_for(github, session, url))
    github.webhook_url = callback
    github.revoke_authorization("mona")
    await github.settled()
    [delivery] = github.deliveries
    assert (delivery.event, delivery.payload["action"]) == ("github_app_authorization", "revoked")
    assert delivery.payload["sender"]["login"] == "mona"
    assert (await send("GET", "/user", answer["access_token"]))[0] == 401


async def test_it_fails_as_a_test_wants(
    github: GitHub, session: aiohttp.ClientSession, callback: str
) -> None:
    body = {"error": "unverified_user_email"}
    github.faults.add("POST /login/oauth/access_token", Fault.status(200, body))
    code = await code_for(github, session, authorize_url(github, callback))
    assert (await exchange(github, session, code))["error"] == "unverified_user_email"
    assert "access_token" in await exchange(github, session, code)


async def test_a_renamed_person_keeps_id_token_and_roles(
    github: GitHub, session: aiohttp.ClientSession, callback: str, send: Send
) -> None:
    github.add_installation("acme", ["acme/web"])
    github.add_collaborator("acme/web", "mona", "admin")
    deployment = await github.create_deployment("acme/web", by=github.world.user("mona"))
    code = await code_for(github, session, authorize_url(github, callback))
    token = (await exchange(github, session, code))["access_token"]
    before = (await send("GET", "/user", token))[1]
    renamed = github.rename_user("mona", "lisa")
    after = (await send("GET", "/user", token))[1]
    assert (after["login"], after["id"]) == ("lisa", before["id"])
    assert deployment.creator.login == "lisa"
    path = "/repos/acme/web/collaborators/{}/permission"
    assert (await send("GET", path.format("lisa"), renamed.token))[1]["permission"] == "admin"
    assert (await send("GET", path.format("mona"), renamed.token))[0] == 404
    other = github.add_user("mona")
    document = (await send("GET", path.format("mona"), renamed.token))[1]
    assert (document["permission"], document["user"]["id"]) == ("write", other.account.id)
    etag, headers = "", {"Authorization": f"Bearer {renamed.token}"}
    for expected in (200, 304):
        asked = headers | {"If-None-Match": etag}
        async with session.get(github.api_url + path.format("lisa"), headers=asked) as response:
            assert response.status == expected
            etag = response.headers["ETag"]

"""Users of GitHub, over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Any

from sandbox.github.model import Installation
from sandbox.github.server import GitHub

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]


async def test_a_profile_has_the_public_fields(
    github: GitHub, installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    mona = github.add_user("Mona", name="Mona Lisa", email="mona@acme.test")
    github.add_user("shy")
    status, profile = await send("GET", "/users/mona", token)
    shape("PublicUser", profile)
    assert (status, profile["login"], profile["type"]) == (200, "Mona", "User")
    assert profile["id"] == mona.account.id
    assert (profile["name"], profile["email"]) == ("Mona Lisa", "mona@acme.test")
    _, profile = await send("GET", "/users/shy", mona.token)
    assert (profile["name"], profile["email"]) == (None, None)
    kinds = [(await send("GET", f"/users/{who}", token))[1]["type"] for who in ("acme", BOT)]
    assert kinds == ["Organization", "Bot"]
    assert (await send("GET", "/users/nobody", token))[0] == 404
    assert (await send("GET", "/users/mona"))[0] == 401


async def test_a_profile_is_found_by_the_number_of_the_account_whatever_its_login_is(
    github: GitHub, installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    path = f"/user/{github.add_user('mona').account.id}"
    github.rename_user("mona", "lisa")
    status, profile = await send("GET", path, token)
    shape("PublicUser", profile)
    assert (status, profile["login"]) == (200, "lisa")
    assert (await send("GET", f"/user/{installation.account.id}", token))[1]["login"] == "acme"
    assert (await send("GET", path))[0] == 401
    github.remove_user("lisa")
    statuses = [(await send("GET", f"/{name}", token))[0] for name in (path[1:], "users/lisa")]
    assert statuses == [404, 404]


async def test_users_are_found_by_their_public_e_mail(
    github: GitHub, installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    github.add_user("mona", email="Mona@acme.test")
    github.add_user("monalisa", email="mona@acme.test.example")
    github.add_user("mona-at-acme", name="mona@acme.test")
    github.add_user("shy")

    async def found(query: str) -> list[str]:
        status, response = await send("GET", f"/search/users?q={query}", token)
        assert status == 200
        assert response["incomplete_results"] is False
        for item in response["items"]:
            shape("UserSearchResultItem", item)
        return [item["login"] for item in response["items"]]

    assert await found("mona@acme.test+in:email") == ["mona", "monalisa"]
    assert await found('"mona@acme.test"+in:email+type:user') == ["mona", "monalisa"]
    assert await found("mona@acme.test") == ["mona", "monalisa", "mona-at-acme"]
    assert await found("mona+in:email&per_page=1") == ["mona"]
    assert await found("shy+in:email") == []
    assert (await send("GET", "/search/users", token))[0] == 422


async def test_the_search_has_a_limit_of_its_own(
    github: GitHub, installation: Installation, send: Send, token: str
) -> None:
    github.rate_limits.searches_per_minute = 1
    statuses = [(await send("GET", "/search/users?q=x", token))[0] for _ in range(2)]
    assert statuses == [200, 403]
    assert (await send("GET", "/repos/acme/web", token))[0] == 200


BOT = "gitploy-relay[bot]"


async def test_a_team_is_shown_to_whom_its_organization_lets_read_its_members(
    github: GitHub,
    installation: Installation,
    send: Send,
    app_jwt: Callable[..., str],
    shape: Shape,
) -> None:
    async def token() -> str:
        path = f"/app/installations/{installation.id}/access_tokens"
        return str((await send("POST", path, app_jwt()))[1]["token"])

    github.add_team("acme/platform", "mona", pending=["hubot"])
    installation.permissions["members"] = "read"
    allowed = await token()
    status, team = await send("GET", "/orgs/acme/teams/platform", allowed)
    shape("TeamFull", team)
    assert (status, team["members_count"]) == (200, 1)
    for login, state in (("Mona", "active"), ("hubot", "pending")):
        path = f"/orgs/ACME/teams/Platform/memberships/{login}"
        status, membership = await send("GET", path, allowed)
        shape("TeamMembership", membership)
        assert (status, membership["state"]) == (200, state)
    for path in ("teams/none", "teams/platform/memberships/nobody"):
        assert (await send("GET", f"/orgs/acme/{path}", allowed))[0] == 404
    assert (await send("GET", "/orgs/other/teams/platform", allowed))[0] == 404
    status, found = await send("GET", "/orgs/acme/installation", app_jwt())
    assert (status, found["id"]) == (200, installation.id)
    assert (await send("GET", "/orgs/other/installation", app_jwt()))[0] == 404
    del installation.permissions["members"]
    assert (await send("GET", "/orgs/acme/teams/platform", await token()))[0] == 403

"""Repositories, their commits and the permissions of users, over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Any

from gidgethub.aiohttp import GitHubAPI

from sandbox.github.model import Installation
from sandbox.github.server import GitHub

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]
PATH = "/repos/acme/web"


async def test_a_repository_has_githubs_shape(
    installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    installation.repositories[0].default_branch = "trunk"
    _, document = await send("GET", PATH, token)
    shape("FullRepository", document)
    assert document["default_branch"] == "trunk"
    assert document["id"] == installation.repositories[0].id


async def test_an_installation_lists_its_repositories(
    installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    status, document = await send("GET", "/installation/repositories?per_page=1&page=2", token)
    [repository] = document["repositories"]
    shape("Repository", repository)
    assert (status, document["total_count"], repository["full_name"]) == (200, 2, "acme/api")


async def test_commits_are_compared_in_every_direction(
    github: GitHub, installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    github.add_user("octocat", name="Mona")
    web = github.repository("acme/web")
    first = web.push("First\n\nWith a body")
    second = web.push("Second", "Jane Doe")
    topic = web.push("Topic", ref="feature/a")
    third = web.push("Third")

    async def numbers(basehead: str) -> tuple[Any, ...]:
        status, document = await send("GET", f"{PATH}/compare/{basehead}", token)
        assert status == 200
        shape("CommitComparison", document)
        names = ("status", "ahead_by", "behind_by", "total_commits")
        shas = [commit["sha"] for commit in document["commits"]]
        return *(document[name] for name in names), shas, document["merge_base_commit"]["sha"]

    assert await numbers(f"{first}...{third}") == ("ahead", 2, 0, 2, [second, third], first)
    assert await numbers(f"{third}...{first}") == ("behind", 0, 2, 0, [], first)
    assert await numbers(f"{first[:7]}...{first}") == ("identical", 0, 0, 0, [], first)
    diverged = ("diverged", 1, 1, 1, [topic], second)
    for ref in ("feature%2Fa", "feature/a", "refs%2Fheads%2Ffeature%2Fa", topic):
        assert await numbers(f"main...{ref}") == diverged
    assert [commit.sha for commit in web.history] == [first, second, third]
    assert web.sha("main") == third


async def test_an_author_is_a_user_only_where_the_address_is_one_s(
    github: GitHub, installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    web = github.repository("acme/web")
    github.add_user("Octocat", name="Mona")
    known, unknown = web.push("One"), web.push("Two", "Jane Doe")
    _, commit = await send("GET", f"{PATH}/commits/{known}", token)
    shape("Commit", commit)
    assert commit["author"]["login"] == "Octocat"
    assert commit["commit"]["author"]["name"] == "Mona"
    assert commit["html_url"] == f"{github.url}/acme/web/commit/{known}"
    _, commit = await send("GET", f"{PATH}/commits/main", token)
    assert (commit["sha"], commit["author"]) == (unknown, None)
    assert commit["commit"]["author"]["name"] == "Jane Doe"
    assert commit["parents"][0]["sha"] == known


async def test_a_long_comparison_comes_in_pages_with_the_files_on_the_first(
    github: GitHub, installation: Installation, client: GitHubAPI, token: str
) -> None:
    web = github.repository("acme/web")
    base, *shas = [web.push(f"Commit {number}") for number in range(301)]
    path = f"{PATH}/compare/{base}...main"

    async def page(query: str) -> tuple[list[str], bool]:
        found = await client.getitem(path + query, oauth_token=token)
        assert found["total_commits"] == found["ahead_by"] == 300
        return [commit["sha"] for commit in found["commits"]], "files" in found

    assert await page("") == (shas[-250:], True)
    assert await page("?per_page=200") == (shas[:100], True)
    assert await page("?per_page=7&page=43") == (shas[-6:], False)
    assert await page("?page=11") == ([], False)
    every = client.getiter(f"{path}?per_page=100", oauth_token=token, iterable_key="commits")
    assert [commit["sha"] async for commit in every] == shas


async def test_a_commit_that_was_not_pushed_is_not_found(
    github: GitHub, installation: Installation, send: Send, token: str
) -> None:
    web = github.repository("acme/web")
    main, other = web.push("One"), "f" * 40
    web.git.commit("A root of its own", "octocat", "orphan", [], None)
    for basehead in (f"{main}...{other}", f"{other}...{main}", "main...nowhere", "main", "..."):
        assert (await send("GET", f"{PATH}/compare/{basehead}", token))[0] == 404
    _, rejected = await send("GET", f"{PATH}/compare/main...orphan", token)
    assert rejected["message"] == "No common ancestor between main and orphan."
    for ref in (other, "nowhere", "gone"):
        web.missing_refs.add("gone")
        status, rejected = await send("GET", f"{PATH}/commits/{ref}", token)
        assert (status, rejected["message"]) == (422, f"No commit found for SHA: {ref}")


async def test_commits_need_the_permission_for_contents(
    github: GitHub, installation: Installation, send: Send, app_jwt: Callable[..., str]
) -> None:
    github.repository("acme/web").push("One")
    tokens = f"/app/installations/{installation.id}/access_tokens"
    body = {"permissions": {"deployments": "write"}}
    _, narrow = await send("POST", tokens, app_jwt(), body)
    for path in ("compare/main...main", "commits/main"):
        status, rejected = await send("GET", f"{PATH}/{path}", narrow["token"])
        assert (status, rejected["message"]) == (403, "Resource not accessible by integration")
    assert (await send("GET", f"{PATH}/collaborators/x/permission", narrow["token"]))[0] == 404


async def test_a_role_has_its_legacy_permission(
    github: GitHub, installation: Installation, send: Send, token: str, shape: Shape
) -> None:
    github.add_user("octocat")
    for role in ("admin", "maintain", "write", "triage", "read", "none"):
        github.add_collaborator("acme/web", role.title(), role)
    github.add_collaborator("acme/web", "deployer", "deployers", "write")

    async def role_of(login: str, repository: str = "acme/web") -> tuple[str, str]:
        path = f"/repos/{repository}/collaborators/{login}/permission"
        status, document = await send("GET", path, token)
        assert status == 200
        shape("RepositoryCollaboratorPermission", document)
        assert document["user"]["permissions"]["push"] == (
            document["permission"] in ("admin", "write")
        )
        return document["permission"], document["role_name"]

    assert await role_of("octocat") == ("write", "write")
    assert await role_of("ADMIN") == ("admin", "admin")
    assert await role_of("maintain") == ("write", "maintain")
    assert await role_of("triage") == ("read", "triage")
    assert await role_of("none") == ("none", "none")
    assert await role_of("deployer") == ("write", "deployers")
    assert await role_of("none", "acme/api") == ("write", "write")
    github.default_role = "none"
    assert await role_of("octocat") == ("none", "none")
    github.repository("acme/web").private = False
    assert await role_of("octocat") == ("read", "read")
    status, rejected = await send("GET", f"{PATH}/collaborators/nobody/permission", token)
    assert (status, rejected["message"]) == (404, "nobody is not a user")


async def test_an_owner_is_an_admin(github: GitHub, send: Send) -> None:
    alice = github.add_user("alice")
    github.add_repository("Alice/web")
    path = "/repos/alice/web/collaborators/alice/permission"
    assert (await send("GET", path, alice.token))[1]["permission"] == "admin"


async def test_a_renamed_repository_redirects_until_another_takes_its_name(
    github: GitHub, installation: Installation, send: Send, token: str
) -> None:
    web = github.repository("acme/web")
    github.rename_repository("acme/web", "acme/shop")
    _, document = await send("GET", PATH, token)
    assert (document["id"], document["full_name"]) == (web.id, "acme/shop")
    status, created = await send("POST", f"{PATH}/deployments", token, {"ref": "main"})
    assert (status, created["url"].rpartition("/repos/")[2]) == (
        201,
        f"acme/shop/deployments/{created['id']}",
    )
    by_id = f"/repositories/{web.id}/deployments/{created['id']}"
    assert (await send("GET", by_id, token))[1]["id"] == created["id"]
    assert [(c.path, c.status) for c in github.calls[-2:]] == [
        ("/repos/acme/shop/deployments", 201),
        (f"/repos/acme/shop/deployments/{created['id']}", 200),
    ]
    assert github.called("POST", f"{PATH}/deployments")[0].status == 307
    other = github.add_repository("acme/web")
    assert (await send("GET", PATH, token))[0] == 404
    installation.repositories.append(other)
    assert (await send("GET", PATH, token))[1]["id"] == other.id
    assert (await send("GET", "/repositories/1", token))[0] == 404

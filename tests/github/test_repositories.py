"""A repository and its people, as the App sees them on GitHub."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sandbox.faults import Fault
from tests.github.github_app import OPEN, REPO, OnGitHub, on_github
from webhook.errors import Forbidden, RetryAt, UnknownOutcome
from webhook.github.repositories import Access, Repository, access_of, installed_at, repository
from webhook.github.users import email_of, login_of

# Time-outs are the same for all; the comparison tests them.
AT_ONCE = {name: fault for name, fault in OPEN.items() if "hangs" not in name}
METADATA = [{"metadata": "read"}]


@pytest.fixture
async def world() -> AsyncIterator[OnGitHub]:
    async with on_github() as world:
        yield world


async def test_a_permission_is_github_s_legacy_one(world: OnGitHub) -> None:
    for role in ("admin", "maintain", "write", "triage", "read", "none"):
        world.there.add_collaborator(REPO, role, role)
    expected = {"admin": "admin", "maintain": "write", "WRITE": "write"}
    expected |= {"triage": "read", "read": "read", "none": "none", "nobody": "none"}
    for login, level in expected.items():
        found = await access_of(world.github, world.scope, login)
        known = world.there.world.user(login)
        assert found == Access(level, known.account.id if known else 0), login
    assert world.granted() == METADATA


async def test_a_text_that_cannot_be_a_login_causes_no_call(world: OnGitHub) -> None:
    for login in ("", "..", "a/b", "a b", "a?b", "%2e", "octocat\n", "é"):
        assert await access_of(world.github, world.scope, login) == Access("none")
        assert await email_of(world.github, world.scope, login) == ""
    assert world.there.calls == []


async def test_a_repository_is_found_by_its_name(world: OnGitHub) -> None:
    world.site.default_branch = "trunk"
    assert await installed_at(world.github, "Acme/Site") == world.installation.id
    url = f"{world.there.url}/{REPO}"
    expected = Repository(world.site.id, "trunk", REPO, url)
    assert await repository(world.github, world.scope) == expected
    assert world.granted() == METADATA


async def test_the_error_explains_that_the_app_is_not_installed(world: OnGitHub) -> None:
    world.there.add_repository("acme/other")
    for repo in ("acme/other", "acme/none"):
        with pytest.raises(Forbidden, match=f"^the App is not installed in {repo}$"):
            await installed_at(world.github, repo)
    calls = len(world.there.calls)
    for repo in ("acme", "acme/..", "../site", "acme/site/../x", "acme/si te", "acme/site?", ""):
        with pytest.raises(Forbidden, match="the App is not installed in"):
            await installed_at(world.github, repo)
    assert len(world.there.calls) == calls


async def test_an_address_finds_the_one_person_who_shows_it(world: OnGitHub) -> None:
    for login, email in {
        "mona": "Mona@acme.test",
        "monalisa": "mona@acme.test.example",
        "one": "two@acme.test",
        "two": "two@acme.test",
        "plus": "plus+tag@acme.test",
    }.items():
        world.there.add_user(login, email=email)
    world.there.add_user("liar", name="shy@acme.test")
    logins = {
        "mona@ACME.test": "mona",
        "plus+tag@acme.test": "plus",
        "two@acme.test": "",
        "shy@acme.test": "",
        "acme.test": "",
        "mona@acme.test user:mona": "",
        '"mona"@acme.test': "",
        "": "",
    }
    for email, login in logins.items():
        assert await login_of(world.github, world.scope, email) == login, email
    assert await email_of(world.github, world.scope, "MONA") == "Mona@acme.test"
    for login in ("liar", "nobody", "acme", "gitploy-relay[bot]"):
        assert await email_of(world.github, world.scope, login) == ""
    assert world.granted() == METADATA


async def test_an_address_with_many_hits_finds_nobody(world: OnGitHub) -> None:
    for number in range(6):
        world.there.add_user(f"u{number}", email=f"a@b.test{number or ''}")
    assert await login_of(world.github, world.scope, "a@b.test") == ""
    assert len(world.there.calls) == 2  # the token, the search


async def test_other_calls_work_when_the_search_is_rate_limited(world: OnGitHub) -> None:
    world.there.rate_limits.searches_per_minute = 0
    for _ in range(2):
        with pytest.raises(RetryAt):
            await login_of(world.github, world.scope, "a@b.test")
    assert len(world.there.called("GET", "/search/users")) == 1
    assert await access_of(world.github, world.scope, "nobody") == Access("none")


Lookup = Callable[[OnGitHub], Awaitable[object]]
LOOKUPS: dict[str, tuple[str, Lookup]] = {
    "permission": ("GET */permission", lambda w: access_of(w.github, w.scope, "mona")),
    "installation": ("GET */installation", lambda w: installed_at(w.github, REPO)),
    "repository": ("GET /repos/acme/site", lambda w: repository(w.github, w.scope)),
    "profile": ("GET /users/*", lambda w: email_of(w.github, w.scope, "mona")),
    "search": ("GET /search/*", lambda w: login_of(w.github, w.scope, "m@acme.test")),
}


@pytest.mark.parametrize(("match", "lookup"), LOOKUPS.values(), ids=LOOKUPS)
async def test_each_failure_has_its_error(world: OnGitHub, match: str, lookup: Lookup) -> None:
    world.there.add_user("mona", email="m@acme.test")
    for name, fault in AT_ONCE.items():
        world.there.faults.add(match, fault, times=2)  # a GET that is cut off is sent again
        with pytest.raises(UnknownOutcome):
            pytest.fail(f"{name}: {await lookup(world)}")
        world.there.faults.clear()
    assert await lookup(world)
    world.there.faults.add(match, Fault.rate_limited(60))
    with pytest.raises(RetryAt):
        await lookup(world)


async def test_a_suspended_installation_is_forbidden(world: OnGitHub) -> None:
    world.installation.suspended = True
    with pytest.raises(Forbidden, match="suspended"):
        await access_of(world.github, world.scope, "mona")

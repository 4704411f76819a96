"""The changelog, by GitHub's comparison of two commits."""

from collections.abc import AsyncIterator

import pytest

from sandbox.faults import Fault
from tests.github.github_app import OPEN, REPO, OnGitHub, on_github
from webhook.deployments.changelog import Changelog, Commit
from webhook.errors import Forbidden, RetryAt, UnknownOutcome
from webhook.github.compare import LONGEST_NAME, compare, comparison
from webhook.github.tokens import Scope

COMPARE = "GET /repos/acme/site/compare/*"


@pytest.fixture
async def world() -> AsyncIterator[OnGitHub]:
    async with on_github() as world:
        yield world


async def test_the_newest_commits_come_first_with_title_author_and_link(world: OnGitHub) -> None:
    world.there.add_user("octocat")
    base = world.site.push("Before")
    first = world.site.push("  Fix <b>& *that*\x00\r\n\r\nbecause", "Jane Doe")
    head = world.site.push("", "octocat")
    changelog = await compare(world.github, world.scope, base, head)
    url = f"{world.there.url}/{REPO}/commit"
    assert changelog == Changelog(
        since=base,
        total=2,
        behind=0,
        commits=(
            Commit(head, "", "octocat", f"{url}/{head}"),
            Commit(first, "Fix <b>& *that*", "Jane Doe", f"{url}/{first}"),
        ),
    )
    assert world.granted() == [{"contents": "read", "deployments": "write", "metadata": "read"}]


async def test_of_any_number_the_newest_five_are_named_after_one_call(world: OnGitHub) -> None:
    shas = [world.site.push(f"Commit {number}") for number in range(318)]
    head = shas[-1]
    for total in (1, 4, 5, 6, 7, 9, 10, 11, 12, 99, 100, 101, 251, 300, 317):
        world.requested.clear()
        base = shas[-1 - total]
        changelog = await compare(world.github, world.scope, base, head)
        assert changelog is not None
        assert (changelog.since, changelog.total, changelog.behind) == (base, total, 0)
        named = [commit.sha for commit in changelog.commits]
        assert named == shas[-min(total, 5) :][::-1], total
        assert changelog.more == max(0, total - 5)
        assert len([url for url in world.requested if base in url.path]) == 1


async def test_a_rollback_goes_back_and_a_branch_goes_both_ways(world: OnGitHub) -> None:
    old = world.site.push("Old")
    topic = world.site.push("Topic", ref="feature/a%b?c#d")
    new = [world.site.push("New") for _ in range(3)][-1]
    rollback = await compare(world.github, world.scope, new, old)
    assert rollback == Changelog(since=new, total=0, behind=3, commits=())
    branch = await compare(world.github, world.scope, "main", "feature/a%b?c#d")
    assert branch is not None
    assert (branch.total, branch.behind) == (1, 3)
    assert branch.commits[0].sha == topic
    calls = len(world.there.calls)
    assert await compare(world.github, world.scope, new, new) == Changelog(new, 0, 0, ())
    assert len(world.there.calls) == calls


async def test_an_unknown_commit_has_no_changelog(world: OnGitHub) -> None:
    main = world.site.push("Main")
    world.site.git.commit("Another root", "octocat", "orphan", [], None)
    for base, head in (("f" * 40, main), (main, "f" * 40), (main, "orphan"), ("", main)):
        assert await compare(world.github, world.scope, base, head) is None


async def test_a_comparison_has_the_committer_date_of_every_commit(world: OnGitHub) -> None:
    base = world.site.push("Before")
    shas = [world.site.push(f"Commit {number}") for number in range(7)]
    found = await comparison(world.github, world.scope, base, shas[-1])
    assert found is not None
    assert found.committed_at == tuple(
        world.site.git.commits[sha].at.replace(microsecond=0) for sha in reversed(shas)
    )


async def test_a_long_title_is_cut(world: OnGitHub) -> None:
    base, head = world.site.push("Before"), world.site.push("word " * 9999)
    changelog = await compare(world.github, world.scope, base, head)
    assert changelog is not None
    assert len(changelog.commits[0].title) == LONGEST_NAME


async def test_the_error_names_the_missing_permission_contents(world: OnGitHub) -> None:
    world.site.push("Main")
    del world.installation.permissions["contents"]
    with pytest.raises(Forbidden, match=f"lacks a permission for {REPO}: give it contents: read"):
        await compare(world.github, world.scope, "main", "other")


@pytest.mark.slow
async def test_an_unclear_response_is_an_unknown_outcome(world: OnGitHub) -> None:
    base, head = world.site.push("Before"), world.site.push("After")
    for name, fault in OPEN.items():
        world.there.faults.add(COMPARE, fault, times=2)  # a GET that is cut off is sent again
        with pytest.raises(UnknownOutcome):
            pytest.fail(f"{name}: {await compare(world.client(fault), world.scope, base, head)}")
        world.there.faults.clear()
    assert await compare(world.github, world.scope, base, head)


async def test_a_rate_limit_means_retry_later(world: OnGitHub) -> None:
    world.there.faults.add(COMPARE, Fault.rate_limited(60))
    for _ in range(2):
        with pytest.raises(RetryAt):
            await compare(world.github, world.scope, "a", "b")
    assert len(world.there.called("GET", "a...b")) == 1


async def test_if_only_the_name_is_known_the_token_is_for_that_name(world: OnGitHub) -> None:
    base, head = world.site.push("Before"), world.site.push("After")
    world.installation.repositories.append(world.there.add_repository("acme/other"))
    scope = Scope(world.installation.id, REPO, 0)
    assert await compare(world.github, scope, base, head)
    [token] = world.there.world.tokens.values()
    assert token.repositories == frozenset({world.site.id})

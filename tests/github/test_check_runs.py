"""Check runs of the App, and what they are about: pull requests."""

from collections.abc import AsyncIterator

import pytest

from sandbox.faults import Fault
from tests.github.github_app import OnGitHub, on_github
from webhook.errors import LACKS_PERMISSION, Forbidden, UnknownOutcome
from webhook.github.check_runs import (
    Annotation,
    NewCheckRun,
    add_annotations,
    create_check_run,
    find_check_run,
    require_access,
)
from webhook.github.compare import merge_base
from webhook.github.pull_requests import PullRequest, pull_request

RUNS = "POST /repos/acme/site/check-runs"


@pytest.fixture
async def world() -> AsyncIterator[OnGitHub]:
    async with on_github() as world:
        granted = {"checks": "write", "pull_requests": "read"}
        world.installation.permissions.update(granted)
        yield world


def check_run(sha: str, annotations: int) -> NewCheckRun:
    return NewCheckRun(
        name="deploy.yml",
        head_sha=sha,
        external_id="one of a kind",
        conclusion="failure",
        title="Errors",
        summary="Some.",
        annotations=tuple(
            Annotation(path="deploy.yml", line=number, level="failure", message="wrong")
            for number in range(1, annotations + 1)
        ),
    )


async def test_a_run_is_found_again_and_gets_the_annotations_that_it_lacks(world: OnGitHub) -> None:
    github, scope = world.github, world.scope
    new = check_run(world.site.push("One"), annotations=120)
    assert await find_check_run(github, scope, new) is None
    world.there.faults.add(RUNS, Fault.drop_after())
    with pytest.raises(UnknownOutcome):
        await create_check_run(github, scope, new)
    written = await find_check_run(github, scope, new)
    assert written is not None
    assert written.annotations == 50
    for expected in (100, 120):
        written = await add_annotations(github, scope, new, written)
        assert written.annotations == expected
    assert await find_check_run(github, scope, new) == written
    [suite] = world.site.suites
    [run] = suite.runs
    assert [one["start_line"] for one in run.annotations] == list(range(1, 121))
    assert (run.status, run.conclusion, run.output["title"]) == ("completed", "failure", "Errors")


async def test_a_pull_request_is_read_as_it_is_now(world: OnGitHub) -> None:
    github, scope, site = world.github, world.scope, world.site
    mona = world.there.add_user("mona").account
    base = site.push("One")
    first = site.push("Two", ref="topic")
    pull = world.there.pull_requests.open(site, "topic", mona)
    newer = site.push("Three")
    assert await merge_base(github, scope, "main", first) == base
    assert await merge_base(github, scope, "main", "f" * 40) is None
    pushed = site.push("Four", ref="topic")
    world.there.pull_requests.synchronize(pull, mona)
    assert await pull_request(github, scope, 1) == PullRequest(
        is_open=True, head_sha=pushed, base="main", base_sha=newer, default_branch="main"
    )
    assert await pull_request(github, scope, 2) is None


async def test_an_installation_without_checks_grants_no_run(world: OnGitHub) -> None:
    del world.installation.permissions["checks"]
    with pytest.raises(Forbidden) as denied:
        await require_access(world.github, world.scope)
    assert denied.value.code == LACKS_PERMISSION

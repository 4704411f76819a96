"""What GitHub says of a commit's checks: its statuses and its check runs together."""

from collections.abc import AsyncIterator

import pytest

from sandbox.faults import Fault
from sandbox.github.model import CheckApp
from tests.github.github_app import REPO, OnGitHub, on_github
from webhook.errors import UnknownOutcome
from webhook.github.checks import contexts_of

OTHER = CheckApp(77, "other")
ENDED = {
    "success": "success",
    "neutral": "success",
    "skipped": "failure",
    "stale": "failure",
    "cancelled": "failure",
    "action_required": "failure",
}


@pytest.fixture
async def world() -> AsyncIterator[OnGitHub]:
    async with on_github() as world:
        world.installation.permissions |= {"checks": "read", "statuses": "read"}
        yield world


async def test_of_each_context_the_newest_counts_and_of_two_of_a_name_both(
    world: OnGitHub,
) -> None:
    sha, there = world.site.push("One"), world.there
    for conclusion in ENDED:
        run = there.report_check(REPO, sha, conclusion, conclusion="success")
        run.conclusion = conclusion  # "stale" is GitHub's own
    there.report_check(REPO, sha, "again", conclusion="failure")
    there.report_check(REPO, sha, "again", status="queued")
    there.report_check(REPO, sha, "two apps", conclusion="success")
    there.report_check(REPO, sha, "two apps", app=OTHER, conclusion="failure")
    there.report_check(REPO, sha, "both", conclusion="success")
    for state in ("failure", "pending"):
        there.report_status(REPO, sha, "both", state)
    # More than GitHub lists at once, of either kind.
    for number in range(100):
        there.report_check(REPO, sha, f"run {number}", conclusion="success")
        there.report_status(REPO, sha, f"status {number}", "success")
    there.report_status(REPO, sha, "error", "error")
    found = await contexts_of(world.github, world.scope, sha)
    others = {"again": "pending", "two apps": "failure", "both": "pending", "error": "failure"}
    assert found.items() >= {**ENDED, **others}.items()
    assert len(found) == len(ENDED) + len(others) + 200
    assert await contexts_of(world.github, world.scope, world.site.push("Two")) == {}


@pytest.mark.parametrize("runs", [[{"id": None, "name": "build"}], [{"id": 1}], [7], {"a": 1}])
async def test_what_is_no_list_of_checks_is_unclear(world: OnGitHub, runs: object) -> None:
    sha = world.site.push("One")
    call = f"GET /repos/{REPO}/commits/{sha}/check-runs"
    world.there.faults.add(call, Fault(status_code=200, body={"check_runs": runs}))
    with pytest.raises(UnknownOutcome):
        await contexts_of(world.github, world.scope, sha)

"""Pull requests that change the repository's own deploy.yml: a check run says what is wrong in it,
and what it loosens."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.faults import Fault
from sandbox.github.model import CheckRun, Repository
from sandbox.github.pull_requests import PullRequest
from sandbox.github.server import EVENTS, PERMISSIONS, GitHub
from sandbox.sandbox import REPOSITORY, Sandbox
from tests.world import World, live

RELAY_YML = """
envs:
  - name: production
    handler: command
    serialization: false
    repository_file: tighten
    review: {enabled: true, reviewers: [mona, hubot]}
    with: {run: ["true"]}
  - name: staging
    handler: command
    serialization: false
    with: {run: ["true"]}
"""
BEFORE = """
envs:
  - name: production
    deployable_ref: ^main$
    serialization: true
    review: {enabled: true, reviewers: [mona]}
"""
GRANTED = {**PERMISSIONS, "checks": "write", "pull_requests": "read"}


@dataclass
class Pulls:
    """What people do in the repository, and the check runs that the relay has written there."""

    world: World

    @property
    def site(self) -> Repository:
        found: Repository = self.world.github.repository(REPOSITORY)
        return found

    @property
    def runs(self) -> list[CheckRun]:
        return [run for suite in self.site.suites for run in suite.runs if run.name == "deploy.yml"]

    def run_of(self, sha: str) -> CheckRun:
        [found] = [run for run in self.runs if run.head_sha == sha]
        return found

    async def open(self, text: str | None, branch: str = "topic", **fields: Any) -> PullRequest:
        self.site.push("Change it", "octocat", branch, files={"deploy.yml": text})
        by = self.world.sandbox.user.account
        pulls = self.world.sandbox.github.pull_requests
        pull = pulls.open(self.site, branch, by, **fields)
        await self.world.idle()
        return pull

    async def push(self, pull: PullRequest, text: str, path: str = "deploy.yml") -> str:
        source = pull.head_repository or self.site
        source.push("Change it again", "octocat", pull.head, files={path: text})
        self.world.github.pull_requests.synchronize(pull, self.world.sandbox.user.account)
        await self.world.idle()
        return pull.head_sha


@pytest.fixture
async def pulls(store_url: str, tmp_path: Path) -> AsyncIterator[Pulls]:
    github = GitHub(permissions=GRANTED, events=[*EVENTS, "pull_request"])
    async with live(store_url, tmp_path, RELAY_YML, sandbox=Sandbox(github)) as world:
        found = Pulls(world)
        found.site.push("First", files={"deploy.yml": BEFORE})
        yield found


async def test_each_head_that_changes_the_file_is_checked_once(pulls: Pulls) -> None:
    world, by = pulls.world, pulls.world.sandbox.user.account
    other = await pulls.open(None, "other")
    other_run = pulls.run_of(other.head_sha)
    assert (other_run.status, other_run.conclusion) == ("completed", "success")
    world.github.faults.add("POST /repos/acme/site/check-runs", Fault.drop_after())
    pull = await pulls.open(BEFORE.replace("main", "release"))
    first = pull.head_sha
    await world.github.redeliver(world.github.deliveries[-1].guid)
    world.github.pull_requests.rename(pull, "Better", by)
    world.github.pull_requests.set_state(pull, "closed", by)
    world.github.pull_requests.set_state(pull, "open", by)
    await world.idle()
    assert len(pulls.runs) == 2
    assert pulls.run_of(first).external_id != other_run.external_id

    unchanged = await pulls.push(pull, "Read me", path="README.md")
    pulls.site.push("Somebody else's", files={"deploy.yml": BEFORE.replace("main", "other")})
    await world.stop_workers()
    superseded = pulls.site.push("Too early", "octocat", "topic", files={"deploy.yml": ""})
    world.github.pull_requests.synchronize(pull, by)
    newest = pulls.site.push("At last", "octocat", "topic", files={"deploy.yml": "envs: []"})
    world.github.pull_requests.synchronize(pull, by)
    await world.github.settled()
    world.start_worker()
    await world.idle()
    heads = {run.head_sha for run in pulls.runs}
    assert {other.head_sha, first, unchanged, newest} == heads
    assert superseded not in heads
    pulls.site.push("Released", "octocat", "release")
    world.github.pull_requests.retarget(pull, "release", by)
    await world.idle()
    assert [run.head_sha for run in pulls.runs].count(newest) == 2, "another branch, another change"


async def test_pull_requests_that_leave_the_file_alone_get_no_check(pulls: Pulls) -> None:
    behind = pulls.site.push("Behind", "octocat", "behind", files={"README.md": "Read me"})
    pulls.site.push("Ahead", files={"deploy.yml": BEFORE.replace("main", "release")})
    await pulls.open(BEFORE, "behind")
    head = pulls.site.git.find("behind")
    assert head
    assert head.parents == (behind,)
    assert not pulls.runs, "what the base branch has got since is not its change"


async def test_forks_are_checked_and_an_app_without_the_permission_writes_nothing(
    pulls: Pulls,
) -> None:
    world, granted = pulls.world, pulls.world.sandbox.installation.permissions
    del granted["checks"]
    fork = world.github.add_repository("mallory/site")
    fork.git.commits.update(pulls.site.git.commits)
    fork.git.refs["main"] = pulls.site.git.refs["main"]
    fork.push("Theirs", "mallory", "topic", files={"deploy.yml": BEFORE.replace("mona", "mallory")})
    mallory = world.github.add_user("mallory").account
    pull = world.github.pull_requests.open(pulls.site, "topic", mallory, fork=fork)
    await world.idle()
    assert not pulls.runs
    assert world.delivery_outcomes() == {"done": ["pull request 1"]}
    granted["checks"] = "write"
    world.github.pull_requests.set_state(pull, "closed", mallory)
    world.github.pull_requests.set_state(pull, "open", mallory)
    await world.idle()
    assert pulls.run_of(pull.head_sha).status == "completed"

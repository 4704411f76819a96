"""Pull requests that change the repository's own deploy.yml: a check run says what is wrong in it,
and what it loosens."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
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
  - {name: "hidden-${PLACE}", handler: command, with: {run: ["true"]}}
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

    async def rerequest(self, run: CheckRun) -> None:
        """As "Re-run" on its page."""
        user, site = self.world.sandbox.user, self.site
        headers = {"X-GitHub-Api-Version": "2022-11-28"}
        url = f"{self.world.github.api_url}/repos/{site.full_name}/check-runs/{run.id}/rerequest"
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {user.token}"}) as session,
            session.post(url, headers=headers, skip_auto_headers=["Content-Type"]) as response,
        ):
            assert response.status == 201
        await self.world.idle()


@pytest.fixture
async def pulls(store_url: str, tmp_path: Path) -> AsyncIterator[Pulls]:
    github = GitHub(permissions=GRANTED, events=[*EVENTS, "pull_request", "check_run"])
    environ = {"PLACE": "a-secret-place"}
    async with live(
        store_url, tmp_path, RELAY_YML, sandbox=Sandbox(github), environ=environ
    ) as world:
        found = Pulls(world)
        found.site.push("First", files={"deploy.yml": BEFORE})
        yield found


async def test_each_head_that_changes_the_file_is_checked_once(pulls: Pulls) -> None:
    world, by = pulls.world, pulls.world.sandbox.user.account
    other = await pulls.open(None, "other")
    other_run = pulls.run_of(other.head_sha)
    assert (other_run.status, other_run.conclusion) == ("completed", "neutral"), "it loosens gates"
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
    runs = [run for run in pulls.runs if run.head_sha == newest]
    assert len(runs) == 2, "another branch, another change"
    await pulls.rerequest(runs[0])
    again = [run for run in pulls.runs if run.head_sha == newest]
    assert len({run.external_id for run in again}) == 3


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


async def test_reviewers_see_what_is_wrong_and_what_a_change_loosens(pulls: Pulls) -> None:
    loosens = BEFORE.replace("deployable_ref: ^main$", "reqired_contexts: [a]")
    loosens = loosens.replace("[mona]", "[mona, hubot]")
    pull = await pulls.open(f"{loosens}  - name: '~~~ `@everyone` <b>'\n")
    run = pulls.run_of(pull.head_sha)
    assert run.conclusion == "neutral"
    assert run.output["title"] == "Loosens 2 gates: production: review: hubot may approve, too"
    marks = {(one["start_line"], one["annotation_level"]) for one in run.annotations}
    assert marks == {(3, "warning"), (4, "warning"), (6, "warning"), (7, "notice")}
    summary = run.output["summary"]
    assert "3: production: deployable_ref: refs that ^main$ does not match may be" in summary
    assert "4:5: envs[0].reqired_contexts: is not a key, and does nothing; did you mean" in summary
    assert "known here: production, staging, hidden-***" in summary
    outside = "".join(summary.split("~~~text\n")[::2])
    assert "everyone" not in re.sub(r"~~~text\n.*?\n~~~(?:\n|$)", "", summary, flags=re.S)
    assert outside.startswith("### Loosened by this change")

    await pulls.push(pull, BEFORE.replace("^main$", "'('").replace("[mona]", "[rob]"))
    run = pulls.run_of(pull.head_sha)
    assert run.conclusion == "failure"
    assert run.output["title"].startswith("1 error: envs[0].deployable_ref: '(' is not a pattern")
    assert [one["annotation_level"] for one in run.annotations] == ["failure"]
    await pulls.push(pull, BEFORE.replace("[mona]", "[rob]"))
    run = pulls.run_of(pull.head_sha)
    assert run.conclusion == "failure", "nobody could approve by both files"
    assert "and nobody may give one by both" in run.output["title"]

    await pulls.push(pull, BEFORE.replace(": true\n", ": ${GITPLOY_DEPLOY_TASK/deploy/true}\n"))
    title = pulls.run_of(pull.head_sha).output["title"]
    assert title.startswith("Loosens 1 gate: Rollbacks: production: serialization: several")

    gone = await pulls.open(None, "gone")
    run = pulls.run_of(gone.head_sha)
    assert (run.conclusion, run.annotations) == ("neutral", [])
    held = run.output["summary"].partition("as the operator's deploy.yml says it\n")[2]
    assert held.startswith("~~~text\nproduction: review: no approval is needed any more\n~~~")
    unknown = "".join(f"    unknown{number}: 1\n" for number in range(120))
    pulls.world.github.faults.add("PATCH /repos/acme/site/check-runs/*", Fault.drop_after())
    many = await pulls.open(BEFORE + unknown, "many")
    run = pulls.run_of(many.head_sha)
    assert (run.conclusion, len(run.annotations)) == ("success", 120)
    assert len({one["start_line"] for one in run.annotations}) == 120, "each once"
    assert "and 70 more" in run.output["summary"]

"""`github-actions`, `mode: watch`: several workflows, and several deployments of one commit."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from handlers.contract import State
from sandbox.github_actions.model import Job
from sandbox.sandbox import REPOSITORY
from tests.handlers.github_actions_runs import OnGitHub, ended, opened
from tests.handlers.runs import eventually

UNTITLED = {"run_name": ""}


@pytest.fixture
async def on_github(tmp_path: Path) -> AsyncIterator[OnGitHub]:
    async with opened(tmp_path) as on_github:
        yield on_github


@pytest.fixture
async def held(on_github: OnGitHub) -> OnGitHub:
    """Runs do nothing until the test advances them."""
    on_github.actions.runs.paused = True
    return on_github


async def test_a_workflow_that_skips_itself_does_not_count_beside_one_that_deploys(
    on_github: OnGitHub,
) -> None:
    on_github.workflow("staging.yml", Job(only="staging"), name="Staging")
    on_github.workflow("production.yml", Job(only="production"), name="Production")
    deployment = await on_github.deployment("production")
    run = await ended(on_github.handler(), deployment)
    [skipped, deployed] = on_github.runs_of(deployment)
    assert skipped.conclusion == "skipped"
    assert run.state is State.SUCCESS
    assert run.url.endswith(str(deployed.id))
    assert run.id == f"{skipped.id} {deployed.id}"


async def test_of_several_workflows_all_must_end_and_the_one_that_failed_is_linked(
    held: OnGitHub,
) -> None:
    held.workflow("a.yml", Job(outcome="failure"), name="A", **UNTITLED)
    held.workflow("b.yml", name="B", **UNTITLED)
    handler, deployment = held.handler(), await held.deployment()
    failed, other = held.runs_of(deployment)
    for run in (failed, other):
        held.actions.runs.begin(run)
    held.actions.runs.finish(failed)
    shown = await handler.find(deployment)
    assert shown is not None
    assert (shown.state, shown.url[-7:]) == (State.IN_PROGRESS, str(other.id))
    held.actions.runs.finish(other)
    shown = await handler.check(deployment, shown)
    assert (shown.state, shown.url[-7:]) == (State.FAILURE, str(failed.id))


async def test_only_the_workflow_that_is_named_is_followed(on_github: OnGitHub) -> None:
    on_github.workflow("deploy.yml")
    on_github.workflow("lint.yml", Job(outcome="failure"))
    deployment = await on_github.deployment()
    assert (await ended(on_github.handler(workflow="deploy.yml"), deployment)).state is (
        State.SUCCESS
    )
    assert (await ended(on_github.handler(), deployment)).state is State.FAILURE


async def test_two_deployments_of_one_commit_each_get_their_own_run(held: OnGitHub) -> None:
    held.workflow(**UNTITLED)
    handler = held.handler()
    deployments = [await held.deployment(name) for name in ("staging", "production")]
    for deployment in deployments:
        found = await handler.find(deployment)
        assert found is not None
        assert found.id == str(held.runs_of(deployment)[0].id)


async def test_a_number_in_a_commits_title_is_no_deployments_id(held: OnGitHub) -> None:
    """Without `run-name` a run has the title of its commit, and so have all others of it."""
    held.workflow(**UNTITLED)
    first, second = await held.deployment("staging"), await held.deployment("production")
    for run in (*held.runs_of(first), *held.runs_of(second)):
        run.title = f"Merge pull request #{first.id}"
    for deployment in (first, second):
        found = await held.handler().find(deployment)
        assert found is not None
        assert found.id == str(held.runs_of(deployment)[0].id)


async def test_deployments_created_by_a_workflow_claim_no_run(held: OnGitHub) -> None:
    held.workflow(**UNTITLED)
    github = held.sandbox.github
    by_job = await github.create_deployment(REPOSITORY, workflow_run={})
    by_job.creator = replace(by_job.creator, login="github-actions[bot]")
    deployment = await held.deployment()
    found = await held.handler().find(deployment)
    assert found is not None
    assert found.id == str(held.runs_of(deployment)[0].id)


async def test_each_open_run_of_the_deployment_is_cancelled(held: OnGitHub) -> None:
    for file in ("a.yml", "b.yml", "c.yml"):
        held.workflow(file)
    handler, deployment = held.handler(), await held.deployment()
    other = await held.deployment("staging")
    done, *open_ = held.runs_of(deployment)
    held.actions.runs.finish(done)
    run = await handler.find(deployment)
    assert run is not None
    await handler.cancel(deployment, run)
    await eventually(lambda: all(one.status == "completed" for one in open_))
    assert [one.conclusion for one in held.runs_of(deployment)] == [
        "success",
        "cancelled",
        "cancelled",
    ]
    assert {one.status for one in held.runs_of(other)} == {"queued"}
    assert held.calls("POST", "/cancel") == 2
    await handler.cancel(deployment, run)
    cancelled = await handler.check(deployment, run)
    assert (cancelled.state, cancelled.description) == (
        State.ERROR,
        "Workflow 'Deploy' was cancelled",
    )


async def test_checks_at_the_same_time_disturb_nobody(on_github: OnGitHub) -> None:
    on_github.workflow(**UNTITLED)
    handler = on_github.handler()
    deployments = [await on_github.deployment(ref=f"v{n}") for n in range(3)]
    runs = await asyncio.gather(*(ended(handler, one) for one in deployments))
    assert [run.id for run in runs] == [str(on_github.runs_of(d)[0].id) for d in deployments]

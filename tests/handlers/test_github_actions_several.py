"""`github-actions`, `mode: watch`: several workflows, and several deployments of one commit."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from handlers.contract import Deployment, State
from handlers.errors import Rejected
from handlers.github_actions.watch import UNCLEAR
from sandbox.faults import Fault
from sandbox.github_actions.model import Job
from sandbox.sandbox import REPOSITORY
from tests.handlers.github_actions_runs import OnGitHub, earlier, ended, opened
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


async def test_a_workflow_that_github_does_not_know_once_is_no_end(held: OnGitHub) -> None:
    """Neither is the success of another workflow, which may be all that GitHub shows."""
    for file in ("a.yml", "b.yml"):
        held.workflow(file)
    handler, deployment = held.handler(), await held.deployment()
    open_, done = held.runs_of(deployment)
    run = await handler.find(deployment)
    assert run is not None
    not_found = Fault.status(404, {"message": "Not Found"})
    held.sandbox.github.faults.add(f"GET */actions/runs/{open_.id}", not_found, times=2)
    run = await handler.check(deployment, run)
    assert (run.state, run.id) == (State.QUEUED, f"{open_.id} {done.id}")
    held.actions.runs.finish(done, "success")
    with pytest.raises(Rejected, match="was deleted"):
        await handler.check(deployment, run)
    assert not (await handler.check(deployment, run)).state.final
    held.actions.runs.finish(open_, "failure")
    assert (await handler.check(deployment, run)).state is State.FAILURE


async def test_a_workflow_whose_run_is_listed_late_counts(held: OnGitHub) -> None:
    for file in ("a.yml", "b.yml"):
        held.workflow(file)
    handler, deployment = held.handler(), await held.deployment()
    late, done = held.runs_of(deployment)
    path = f"/repos/{REPOSITORY}/actions/runs"
    listed = await held.api.get(deployment, {"actions": "read"}, path)
    listed["workflow_runs"] = [one for one in listed["workflow_runs"] if one["id"] == done.id]
    held.sandbox.github.faults.add("GET */actions/runs", Fault.status(200, listed))
    run = await handler.find(deployment)
    assert run is not None
    assert run.id == str(done.id)
    held.actions.runs.finish(done, "success")
    run = await handler.check(deployment, run)
    assert (run.state.final, run.id) == (False, f"{late.id} {done.id}")


async def test_only_the_workflow_that_is_named_is_followed(on_github: OnGitHub) -> None:
    on_github.workflow("deploy.yml")
    on_github.workflow("lint.yml", Job(outcome="failure"))
    deployment = await on_github.deployment()
    assert (await ended(on_github.handler(workflow="deploy.yml"), deployment)).state is (
        State.SUCCESS
    )
    assert (await ended(on_github.handler(), deployment)).state is State.FAILURE


async def two_at_once(held: OnGitHub) -> list[Deployment]:
    """Of one commit, in one second: without titles it is unclear whose run is whose."""
    while True:
        found = [await held.deployment(name) for name in ("staging", "production")]
        if found[0].created_at == found[1].created_at:
            return found


@pytest.mark.parametrize("title", ["Deploy", "Merge pull request #{}"])
async def test_where_it_is_unclear_whose_run_is_whose_nothing_is_guessed(
    held: OnGitHub, title: str
) -> None:
    """Without `run-name` a run has the title of its commit, and so have all others of it."""
    held.workflow(**UNTITLED)
    handler, deployments = held.handler(), await two_at_once(held)
    runs = [held.runs_of(deployment)[0] for deployment in deployments]
    shown = {}
    for run in runs:
        run.title = title.format(deployments[0].id)
    for deployment in deployments:
        found = await handler.find(deployment)
        assert found is not None
        assert (found.state, found.url) == (State.QUEUED, "")
        shown[deployment.id] = found
    held.actions.runs.finish(runs[0], "success")
    for deployment in deployments:
        now = await handler.check(deployment, shown[deployment.id])
        assert not now.state.final
    held.actions.runs.finish(runs[1], "failure")
    for deployment in deployments:
        now = await handler.check(deployment, shown[deployment.id])
        assert (now.state, now.description) == (State.ERROR, UNCLEAR)
        assert len(UNCLEAR) <= 140


async def test_runs_that_are_unclear_but_ended_alike_count(held: OnGitHub) -> None:
    held.workflow(**UNTITLED)
    handler, deployments = held.handler(), await two_at_once(held)
    for deployment in deployments:
        held.actions.runs.finish(held.runs_of(deployment)[0], "success")
    for deployment in deployments:
        run = await handler.find(deployment)
        assert run is not None
        assert (run.state, run.url) == (State.SUCCESS, "")


async def test_a_success_does_not_count_while_another_deployments_run_may_be_it(
    held: OnGitHub,
) -> None:
    held.workflow(**UNTITLED)
    deployments = await two_at_once(held)
    mine, other = (held.runs_of(deployment)[0] for deployment in deployments)
    held.actions.runs.finish(mine, "success")
    held.actions.runs.delete(other)  # or it has not begun yet
    run = await held.handler().find(deployments[1])
    assert run is not None
    assert run.state is State.QUEUED
    run = await held.handler(start_within="59s").check(earlier(deployments[1], 60), run)
    assert (run.state, run.description) == (State.ERROR, UNCLEAR)


async def test_runs_that_are_unclear_are_not_cancelled(held: OnGitHub) -> None:
    held.workflow(**UNTITLED)
    handler, [deployment, _] = held.handler(), await two_at_once(held)
    run = await handler.find(deployment)
    assert run is not None
    with pytest.raises(Rejected, match="whose run is whose is unclear"):
        await handler.cancel(deployment, run)


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

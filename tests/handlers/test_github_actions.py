"""`github-actions`, `mode: watch`: a repository's workflows `on: deployment` are followed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from handlers.contract import Deployment, Run, State
from handlers.errors import Rejected
from sandbox.faults import Fault
from sandbox.github_actions.model import Job
from sandbox.sandbox import REPOSITORY
from tests.handlers.github_actions_runs import OnGitHub, earlier, ended, followed, opened
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


async def test_a_workflow_deploys_and_its_run_is_linked(on_github: OnGitHub) -> None:
    on_github.workflow()
    deployment = await on_github.deployment()
    run = await ended(on_github.handler(), deployment)
    [started] = on_github.runs_of(deployment)
    assert (run.state, run.description) == (State.SUCCESS, "")
    assert run.id == str(started.id)
    assert run.url.endswith(f"/{REPOSITORY}/actions/runs/{started.id}")


@pytest.mark.parametrize("more", [{}, UNTITLED], ids=["with its id in the title", "without"])
async def test_a_run_is_followed_from_queued_to_its_end(
    held: OnGitHub, more: dict[str, str]
) -> None:
    held.workflow(
        "deploy.yml", Job("build"), Job("deploy", outcome="failure", step="Smoke"), **more
    )
    handler, deployment = held.handler(), await held.deployment()
    [started] = held.runs_of(deployment)
    run = await handler.find(deployment)
    assert run is not None
    assert (run.state, run.description) == (
        State.QUEUED,
        "Workflow 'Deploy' is queued on GitHub",
    )
    held.actions.runs.begin(started)
    run = await handler.check(deployment, run)
    assert (run.state, run.description) == (
        State.IN_PROGRESS,
        "Workflow 'Deploy' is running on GitHub",
    )
    held.actions.runs.finish(started)
    run = await handler.check(deployment, run)
    assert (run.state, run.description) == (
        State.FAILURE,
        "job 'deploy' failed at step 'Smoke'",
    )


async def test_where_no_workflow_starts_the_deployment_ends_with_a_question(
    on_github: OnGitHub,
) -> None:
    workflow = on_github.workflow()
    workflow.missing_at.add("v0")
    handler, deployment = on_github.handler(start_within="1m"), await on_github.deployment(ref="v0")
    assert await handler.find(deployment) is None
    run = await handler.start(deployment)
    assert (run.id, run.state) == ("", State.QUEUED)
    assert run.description == "Waiting for a workflow to start on GitHub"
    assert await handler.check(earlier(deployment, 55), run) == run
    run = await handler.check(earlier(deployment, 65), run)
    assert (run.state, run.description) == (
        State.ERROR,
        f"No workflow of {REPOSITORY} started for this deployment; is there one with"
        f" `on: deployment` at {deployment.sha[:7]}?",
    )


async def test_a_workflow_that_starts_late_is_found(held: OnGitHub) -> None:
    workflow = held.workflow()
    workflow.missing_at.add("main")
    handler, deployment = held.handler(), await held.deployment()
    run = await handler.start(deployment)
    run = await handler.check(deployment, run)
    workflow.missing_at.clear()
    held.actions.trigger(held.sandbox.github.deployments[deployment.id])
    run = await handler.check(deployment, run)
    assert run.id == str(held.runs_of(deployment)[0].id)


async def test_a_workflows_own_deployment_starts_no_workflow_so_it_is_rejected(
    on_github: OnGitHub,
) -> None:
    deployment = replace(await on_github.deployment(), creator="github-actions[bot]")
    with pytest.raises(Rejected, match="starts no workflow for a deployment made with") as caught:
        await on_github.handler().start(deployment)
    assert len(str(caught.value)) <= 140


@pytest.mark.parametrize("skipped_as", ["skipped", "success"])
async def test_a_run_without_a_job_for_the_environment_is_no_success(
    on_github: OnGitHub, skipped_as: str
) -> None:
    workflow = on_github.workflow("deploy.yml", Job(only="staging"), Job("smoke", only="staging"))
    workflow.skipped_as = skipped_as
    run = await ended(on_github.handler(), await on_github.deployment("production"))
    assert run.state is State.ERROR
    assert run.description == (
        "skipped: no job of workflow 'Deploy' ran; does an `if:` leave out 'production'?"
    )
    assert (await ended(on_github.handler(), await on_github.deployment("staging"))).state is (
        State.SUCCESS
    )


async def test_a_run_is_not_final_until_the_workflow_had_time_for_its_own_status(
    on_github: OnGitHub,
) -> None:
    on_github.workflow("deploy.yml", Job(states=("in_progress", "success")))
    handler, deployment = on_github.handler(status_within="1m"), await on_github.deployment()
    [started] = on_github.runs_of(deployment)
    await eventually(lambda: started.status == "completed")
    before = Run(str(started.id), State.IN_PROGRESS, description="Workflow 'Deploy' is running")
    run = await handler.check(deployment, before)
    assert (run.id, run.state, run.description) == (before.id, State.IN_PROGRESS, "")
    assert on_github.sandbox.github.states(deployment.id) == ["in_progress", "success"]
    run = await on_github.handler(status_within="0s").check(deployment, run)
    assert run.state is State.SUCCESS


async def test_a_run_that_waits_for_approval_is_reported_so(on_github: OnGitHub) -> None:
    on_github.workflow("deploy.yml", Job(approval=True))
    handler, deployment = on_github.handler(), await on_github.deployment()
    [started] = on_github.runs_of(deployment)
    await eventually(lambda: started.status == "waiting")
    run = await handler.find(deployment)
    assert run is not None
    assert (run.state, run.description) == (
        State.QUEUED,
        "Waiting for approval on GitHub (workflow 'Deploy')",
    )
    assert run.url.endswith(f"/actions/runs/{started.id}")
    on_github.actions.runs.approve(started)
    assert (await followed(handler, deployment, run)).state is State.SUCCESS


async def test_a_run_that_is_done_again_in_time_counts_as_it_ends_then(held: OnGitHub) -> None:
    held.workflow("deploy.yml", Job(outcome="failure"))
    handler, deployment = held.handler(status_within="1m"), await held.deployment()
    [started] = held.runs_of(deployment)
    held.actions.runs.begin(started)
    held.actions.runs.finish(started)
    run = await handler.find(deployment)
    assert run is not None
    held.actions.runs.rerun(started)
    run = await handler.check(deployment, run)
    assert (run.id, run.description) == (
        str(started.id),
        "Workflow 'Deploy' is queued on GitHub",
    )
    held.actions.runs.begin(started)
    held.actions.runs.finish(started, "success")
    assert (await held.handler().check(deployment, run)).state is State.SUCCESS


async def test_a_run_that_githubs_index_does_not_have_yet_is_found_all_the_same(
    held: OnGitHub,
) -> None:
    held.actions.index_lag = 60
    held.workflow(**UNTITLED)
    handler, deployment = held.handler(), await held.deployment()
    [started] = held.runs_of(deployment)
    run = await handler.find(deployment)
    assert run is not None
    assert run.id == str(started.id)
    held.actions.runs.begin(started)
    held.actions.runs.finish(started)
    assert (await handler.check(deployment, run)).state is State.SUCCESS


async def test_only_lists_are_requested_in_pages(held: OnGitHub) -> None:
    held.workflow(**UNTITLED)
    handler, deployment = held.handler(), await held.deployment()
    run = await handler.find(deployment)
    assert run is not None
    held.actions.runs.finish(held.runs_of(deployment)[0])
    await handler.check(deployment, run)
    requested = {
        call.path.rpartition("/")[2]: call.query
        for call in held.sandbox.github.calls
        if call.method == "GET"
    }
    assert requested[run.id] == ""
    assert {"runs", "jobs", "deployments"} <= requested.keys()
    assert requested["jobs"] == requested["runs"] == "per_page=100"


async def as_listed(held: OnGitHub, deployment: Deployment) -> Fault:
    """A snapshot of GitHub's lists, to return it later."""
    path = f"/repos/{REPOSITORY}/actions/runs"
    return Fault(status_code=200, body=await held.api.get(deployment, {"actions": "read"}, path))


async def test_githubs_index_of_runs_may_be_out_of_date(held: OnGitHub) -> None:
    held.workflow()
    handler, deployment = held.handler(), await held.deployment()
    [started] = held.runs_of(deployment)
    run = await handler.find(deployment)
    assert run is not None
    stale = await as_listed(held, deployment)
    held.actions.runs.finish(started)
    held.sandbox.github.faults.add("GET */actions/runs", stale)
    assert (await handler.check(deployment, run)).state is State.SUCCESS
    held.actions.runs.delete(started)
    held.sandbox.github.faults.add("GET */actions/runs", stale)
    with pytest.raises(Rejected, match="was deleted"):
        await handler.check(deployment, run)


async def test_a_run_that_is_deleted_is_rejected_which_counts_once_it_lasts(held: OnGitHub) -> None:
    held.workflow()
    handler, deployment = held.handler(), await held.deployment()
    run = await handler.find(deployment)
    assert run is not None
    held.actions.runs.delete(held.runs_of(deployment)[0])
    with pytest.raises(Rejected) as gone:
        await handler.check(deployment, run)
    assert (str(gone.value), gone.value.status, gone.value.certain) == (
        "The workflow run was deleted on GitHub before the relay saw how it ended",
        404,
        False,
    )


async def test_the_token_is_good_for_reading_and_cancelling_only(held: OnGitHub) -> None:
    held.workflow(**UNTITLED)
    handler, deployment = held.handler(), await held.deployment()
    run = await handler.find(deployment)
    assert run is not None
    received = [token.permissions for token in held.sandbox.github.world.tokens.values()]
    assert received == [{"actions": "read", "deployments": "read", "metadata": "read"}]
    held.sandbox.installation.permissions["actions"] = "read"
    with pytest.raises(Rejected, match="actions: write"):
        await handler.cancel(deployment, run)

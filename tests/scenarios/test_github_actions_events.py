"""GitHub Actions is followed by the events that GitHub sends, and seldom polled."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from handlers.github_actions.watch import UNCLEAR
from sandbox.github.model import Deployment
from sandbox.github_actions.model import Job, WorkflowRun
from sandbox.sandbox import REPOSITORY
from tests.scenarios.all_tools import ENVIRONMENTS, relay_with_tools
from tests.world import World, live, until

DEPLOY_YML = """
envs:
  - name: watched
    handler: github-actions
    with: {workflow: deploy.yml, status_within: 0s}
  - name: several
    handler: github-actions
    with: {status_within: 0s}
  - name: guarded
    handler: github-actions
    with: {workflow: guarded.yml}
  - name: dispatched
    handler: github-actions
    with: {mode: dispatch, workflow: release.yml}
"""
# Seconds in which a deployment that has just begun is polled at least once.
A_WHILE = 0.5
# A deployment that began so long ago is polled every 30 seconds, and its next poll is far away.
BEGAN_EARLIER = (
    "update deployments set started_at = started_at - interval '5 minutes',"
    " deadline = deadline - interval '5 minutes' where id = %s and run is not null returning 1"
)
NEXT_POLL_IS_FAR = (
    "select 1 from schedule where task = 'advance' and claimed_by is null"
    " and subject = %s and due_at > now() + interval '15 seconds'"
)
SOON = (
    "select 1 from schedule where claimed_by is not null or due_at < now() + interval '15 seconds'"
)


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        actions = world.github.actions
        actions.runs.paused = True
        actions.add_workflow(
            REPOSITORY, run_name="Deploy ${{ github.event.deployment.environment }}"
        )
        actions.add_workflow(
            REPOSITORY,
            "release.yml",
            on=["workflow_dispatch"],
            inputs={"deployment_id": True},
            run_name="Release ${{ inputs.deployment_id }}",
        )
        yield world


async def under_way(world: World, environment: str) -> tuple[Deployment, WorkflowRun]:
    """It has begun, and the relay does not poll it for a while."""
    deployment = await world.deploy(environment)
    event = "deployment" if environment == "watched" else "workflow_dispatch"
    runs = world.github.actions.runs

    def moved_back() -> bool | None:
        with psycopg.connect(world.store_url) as connection:
            return bool(connection.execute(BEGAN_EARLIER, [deployment.id]).fetchone()) or None

    await until(moved_back)
    [run] = [run for run in runs.by_id.values() if run.event == event]
    await until(lambda: world.rows(NEXT_POLL_IS_FAR, deployment.id) or None)
    await world.github.settled()
    await until(lambda: not world.rows(SOON) or None)  # the events of its beginning are past
    return deployment, run


def polls(world: World) -> int:
    """How often GitHub was called for runs, for one run, or for its jobs."""
    return sum("/actions/" in call.path for call in world.github.calls if call.method == "GET")


@pytest.mark.parametrize("environment", ["watched", "dispatched"])
async def test_events_of_the_run_change_its_state_at_once(world: World, environment: str) -> None:
    deployment, run = await under_way(world, environment)
    world.github.actions.runs.begin(run)
    await world.github.wait_for(deployment.id, "in_progress", within=6)
    await until(lambda: world.rows(NEXT_POLL_IS_FAR, deployment.id) or None)
    world.github.actions.runs.finish(run)
    await world.github.wait_for(deployment.id, "success", within=6)


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["watched", "dispatched"])
async def test_without_events_nothing_is_polled_and_with_them_little(
    world: World, environment: str
) -> None:
    deployment, run = await under_way(world, environment)
    before = polls(world)
    await asyncio.sleep(A_WHILE)
    assert polls(world) == before
    world.github.actions.runs.begin(run)
    world.github.actions.runs.finish(run)
    await world.github.wait_for(deployment.id, "success", within=6)
    await world.github.settled()
    # Four events, and at most the lists, the run and its jobs for each.
    assert polls(world) - before <= 4 * 3


async def delivered_again(world: World, run: WorkflowRun, action: str) -> None:
    """GitHub's event with that action, once more and late, as a delivery of its own."""
    bodies = [json.loads(d.body) for d in world.github.deliveries if d.event == "workflow_run"]
    [first] = [
        body for body in bodies if (body["action"], body["workflow_run"]["id"]) == (action, run.id)
    ]
    await world.github.deliver("workflow_run", first)
    await world.github.settled()
    await until(lambda: not world.rows(SOON) or None)


@pytest.mark.parametrize("environment", ["watched", "dispatched"])
async def test_an_event_that_comes_late_changes_nothing_back(
    world: World, environment: str
) -> None:
    deployment, run = await under_way(world, environment)
    world.github.actions.runs.begin(run)
    await world.github.wait_for(deployment.id, "in_progress", within=6)
    before = world.rows("select run from deployments where id = %s", deployment.id)
    await delivered_again(world, run, "requested")
    assert world.rows("select run from deployments where id = %s", deployment.id) == before
    world.github.actions.runs.finish(run)
    await world.github.wait_for(deployment.id, "success", within=6)


async def test_a_wait_for_approval_is_shown_by_the_event_of_its_job(world: World) -> None:
    actions = world.github.actions
    actions.add_workflow(REPOSITORY, "guarded.yml", jobs=[Job(approval=True)])
    deployment = await world.deploy("guarded")
    [run] = [one for one in actions.runs_of(deployment) if one.workflow.file == "guarded.yml"]
    await until(lambda: _run_of(world, deployment).get("id") or None)
    actions.runs.begin(run)
    await until(lambda: _run_of(world, deployment).get("held") or None)
    actions.runs.approve(run)
    await world.github.wait_for(deployment.id, "in_progress", within=6)
    assert not _run_of(world, deployment)["held"]


async def test_an_approved_job_waits_for_a_runner_and_not_for_a_person(world: World) -> None:
    actions = world.github.actions
    actions.add_workflow(REPOSITORY, "guarded.yml", jobs=[Job(approval=True)])
    deployment = await world.deploy("guarded")
    [run] = [one for one in actions.runs_of(deployment) if one.workflow.file == "guarded.yml"]
    await until(lambda: _run_of(world, deployment).get("id") or None)
    await world.github.settled()
    actions.runs.begin(run)
    await until(lambda: _run_of(world, deployment).get("held") or None)
    await world.stop_workers()
    began = world.clock()
    world.start_worker()  # which polls first
    polled = "select 1 from deployments where polled_at > %s"
    await until(lambda: world.rows(polled, began) or None)
    actions.runs.approve(run, for_runner=True)
    await until(lambda: not _run_of(world, deployment)["held"] or None)


def _run_of(world: World, deployment: Deployment) -> dict[str, Any]:
    rows = world.rows("select run from deployments where id = %s", deployment.id)
    return rows[0]["run"] or {} if rows else {}


async def test_the_event_of_a_run_may_come_before_that_of_its_deployment(world: World) -> None:
    async with world.timed(first_event_within=timedelta(minutes=1)):  # no poll finds it
        url, world.github.webhook_url = world.github.webhook_url, ""
        deployment = await world.deploy("watched")
        world.github.webhook_url = url
        run = _watched_run(world, deployment)
        assert run is not None
        body = {
            "action": "requested",
            "workflow_run": world.github.actions.documents.run(run),
            **world.github.events.common_fields(run.repository, run.actor),
        }
        await world.github.deliver("workflow_run", body)
        await world.github.settled()
        await until(lambda: world.rows("select 1 from tool_events") or None)
        await world.github.deliver("deployment", world.github.events.deployment(deployment))
        await until(lambda: _run_of(world, deployment).get("id") == str(run.id) or None)


@pytest.mark.parametrize("environment", ["watched", "dispatched"])
async def test_where_events_are_lost_the_run_is_polled_after_a_silence(
    world: World, environment: str
) -> None:
    soon = timedelta(seconds=0.5)
    async with world.timed(event_polls_at_least=soon, event_polls_at_most=soon):
        deployment, run = await started(world, environment)
        world.github.webhook_url = ""  # as if the relay had not taken what GitHub sends from now on
        world.github.actions.runs.begin(run)
        world.github.actions.runs.finish(run)
        await world.github.wait_for(deployment.id, "success", within=6)


async def test_a_run_whose_events_are_lost_is_no_less_the_deployments(world: World) -> None:
    """Of two workflows one has ended well; no event came of the other."""
    actions, titled = world.github.actions, "Deploy #${{ github.event.deployment.id }}"
    actions.workflows.clear()
    actions.add_workflow(REPOSITORY, "first.yml", run_name=titled)
    second = actions.add_workflow(REPOSITORY, "second.yml", on=["push"])
    deployment = await world.deploy("several")
    [first] = actions.runs_of(deployment)
    url, world.github.webhook_url = world.github.webhook_url, ""
    lost = actions.runs.start(
        second,
        "deployment",
        sha=deployment.sha,
        branch=None,
        actor=deployment.creator,
        title=f"Deploy #{deployment.id}",
        deployment=deployment,
        environment="several",
    )
    world.github.webhook_url = url
    actions.runs.begin(first)
    await world.github.wait_for(deployment.id, "in_progress", within=6)
    actions.runs.finish(first)
    await until(lambda: str(lost.id) in _run_of(world, deployment).get("id", "") or None)
    assert _run_of(world, deployment)["state"] == "in_progress"
    before = polls(world)
    await asyncio.sleep(A_WHILE)
    assert polls(world) == before  # it is polled no more often for that
    actions.runs.finish(lost, "failure")
    await world.github.wait_for(deployment.id, "failure", within=6)
    assert "success" not in world.github.states(deployment.id)


async def test_a_new_worker_polls_what_it_may_have_missed(world: World) -> None:
    deployment, run = await started(world, "watched")
    world.github.webhook_url = ""
    world.github.actions.runs.begin(run)
    world.github.actions.runs.finish(run)
    await world.stop_workers()
    world.start_worker()
    await world.github.wait_for(deployment.id, "success", within=6)


async def test_results_are_not_swapped_where_it_is_unclear_whose_run_is_whose(
    world: World,
) -> None:
    """Two environments, one commit, at once, and no ID in `run-name`."""
    runs = world.github.actions.runs
    one, other = await _two_in_one_second(world)
    ours = [await until(partial(_watched_run, world, each)) for each in (one, other)]
    for run in ours:
        runs.begin(run)
    for deployment in (one, other):
        await world.github.wait_for(deployment.id, "in_progress", within=6)
    runs.finish(ours[0], "success")
    runs.finish(ours[1], "failure")
    for deployment in (one, other):
        status = await world.github.wait_for(deployment.id, "success", "failure", "error", within=6)
        assert (status.state, status.description) == ("error", UNCLEAR)


async def _two_in_one_second(world: World) -> list[Deployment]:
    while True:
        found = [await world.deploy("watched") for _ in range(2)]
        if len({one.created_at.replace(microsecond=0) for one in found}) == 1:
            return found


def _watched_run(world: World, deployment: Deployment) -> WorkflowRun | None:
    runs = world.github.actions.runs_of(deployment)
    return next((run for run in runs if run.event == "deployment"), None)


async def started(world: World, environment: str) -> tuple[Deployment, WorkflowRun]:
    """The relay knows its run, from an event."""
    deployment = await world.deploy(environment)
    event = "deployment" if environment == "watched" else "workflow_dispatch"

    def known() -> WorkflowRun | None:
        runs = world.github.actions.runs.by_id.values()
        run = next((run for run in runs if run.event == event), None)
        seen = "select 1 from tool_events where subject = %s"
        return run if run and world.rows(seen, run.id) else None

    run: WorkflowRun = await until(known)
    await until(lambda: str(run.id) in _run_of(world, deployment).get("id", "") or None)
    return deployment, run


async def test_a_workflow_that_is_disabled_is_named_as_such(world: World) -> None:
    [workflow] = [one for one in world.github.actions.workflows if one.file == "release.yml"]
    workflow.state = "disabled_manually"
    deployment = await world.deployed("dispatched")
    status = world.github.statuses(deployment.id)[-1]
    assert (status.state, status.description) == (
        "error",
        "'release.yml' is disabled in acme/site; enable it there: Actions, 'release.yml',"
        ' "Enable workflow"',
    )


def outcome_of(world: World, guid: str | None) -> str | None:
    rows = world.rows("select outcome from deliveries where guid = %s", guid)
    return rows[0]["outcome"] if rows else None


async def test_events_of_other_runs_of_the_same_commit_are_ignored(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_tools(store_url, tmp_path) as (world, tools):
        tools.actions.runs.paused = True
        deployment = await world.deploy(ENVIRONMENTS["github-actions"], ref="v1")
        await world.phase(deployment.id, "queued", "in_progress")
        about = world.github.events.common_fields(deployment.repository, deployment.creator)
        job = {"id": 77, "run_id": 999_999_999, "head_sha": deployment.sha, "status": "queued"}
        run = {"id": 999_999_999, "head_sha": deployment.sha, "event": "push"}
        for event, part in (("workflow_job", job), ("workflow_run", run)):
            action = {"action": "queued" if event == "workflow_job" else "requested"}
            guid = await world.github.deliver(event, {**action, event: part, **about})
            outcome = await until(partial(outcome_of, world, guid))
            assert outcome == "ignored", event

"""GitHub Actions is followed by the events that GitHub sends, and seldom polled."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from sandbox.github.model import Deployment
from sandbox.github_actions.model import WorkflowRun
from sandbox.sandbox import REPOSITORY
from tests.scenarios.all_tools import ENVIRONMENTS, relay_with_tools
from tests.world import World, live, until

DEPLOY_YML = """
envs:
  - name: watched
    handler: github-actions
    with: {workflow: deploy.yml, status_within: 0s}
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
    "select 1 from procrastinate_jobs where task_name = 'advance' and status = 'todo'"
    " and (args->>'deployment_id')::bigint = %s and scheduled_at > now() + interval '15 seconds'"
)
SOON = (
    "select 1 from procrastinate_jobs where status in ('todo', 'doing')"
    " and coalesce(scheduled_at, now()) < now() + interval '15 seconds'"
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
    assert world.rows(NEXT_POLL_IS_FAR, deployment.id)
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

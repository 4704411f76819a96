"""What a deployment by GitHub Actions costs in calls of GitHub's API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.github.model import Deployment
from sandbox.github_actions.model import Job, WorkflowRun
from sandbox.sandbox import REPOSITORY
from tests.world import QUICK, World, live, until
from webhook.timing import DEFAULT_TIMING

DEPLOY_YML = """
envs:
  - name: watched
    handler: github-actions
    with: {status_within: 0s}
  - name: dispatched
    handler: github-actions
    with: {mode: dispatch, workflow: release.yml}
"""
# As the relay waits in production: the events come sooner.
TIMING = replace(
    QUICK,
    first_event_within=DEFAULT_TIMING.first_event_within,
    first_poll_at_most=DEFAULT_TIMING.first_poll_at_most,
)
# The statuses queued, in_progress and success are among them. Tokens are not: they last an hour.
# Nor is the list of deliveries: it is compared every few minutes, whatever is deployed.
MOST_CALLS = 6
TITLED = "Deploy #${{ github.event.deployment.id }}"
MATRIX = [Job(f"shard {number}") for number in range(100)]


@asynccontextmanager
async def relay(
    store_url: str, tmp_path: Path, *jobs: Job, run_name: str = TITLED
) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, DEPLOY_YML, timing=TIMING) as world:
        actions, jobs = world.github.actions, jobs or (Job(),)
        actions.runs.paused = True
        actions.add_workflow(REPOSITORY, run_name=run_name, jobs=jobs)
        inputs = {"deployment_id": True}
        actions.add_workflow(
            REPOSITORY, "release.yml", on=["workflow_dispatch"], inputs=inputs, jobs=jobs
        )
        yield world


async def started(world: World, environment: str) -> tuple[Deployment, WorkflowRun]:
    deployment = await world.deploy(environment)
    event = "deployment" if environment == "watched" else "workflow_dispatch"

    def shown() -> WorkflowRun | None:
        runs = world.github.actions.runs_of(deployment)
        found = [run for run in runs if run.event == event]
        known = "select 1 from deployments where id = %s and position(%s in run->>'id') > 0"
        return found[0] if found and world.rows(known, deployment.id, str(found[0].id)) else None

    return deployment, await until(shown)


def calls(world: World) -> list[str]:
    return [
        f"{call.method} {call.path}"
        for call in world.github.calls
        if not call.path.endswith(("/access_tokens", "/app/hook/deliveries"))
    ]


async def run_through(world: World, environment: str, outcome: str = "success") -> list[str]:
    """The calls that a deployment costs whose events arrive."""
    runs = world.github.actions.runs
    deployment, run = await started(world, environment)
    runs.begin(run)
    await world.github.wait_for(deployment.id, "in_progress", within=6)
    runs.finish(run)
    await world.github.wait_for(deployment.id, outcome, within=6)
    await world.github.settled()
    return calls(world)


@pytest.mark.parametrize("environment", ["watched", "dispatched"])
async def test_a_run_whose_events_arrive_costs_at_most_six_calls(
    store_url: str, tmp_path: Path, environment: str
) -> None:
    async with relay(store_url, tmp_path) as world:
        made = await run_through(world, environment)
    assert len(made) <= MOST_CALLS, made


async def test_without_titles_it_costs_no_more(store_url: str, tmp_path: Path) -> None:
    async with relay(store_url, tmp_path, run_name="") as world:
        made = await run_through(world, "watched")
    assert len(made) <= MOST_CALLS, made


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["watched", "dispatched"])
async def test_a_hundred_jobs_cost_no_more(
    store_url: str, tmp_path: Path, environment: str
) -> None:
    async with relay(store_url, tmp_path, *MATRIX) as world:
        made = await run_through(world, environment)
    assert len(made) <= MOST_CALLS, made

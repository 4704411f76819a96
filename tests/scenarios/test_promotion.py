"""A commit goes from one environment to the next: where its newest deployment has succeeded there,
and has stayed."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.github.model import Deployment
from tests.world import World, live, until

RUN = """
    handler: command
    with: {run: ["sh", "-c", 'test "$1" != fail', sh, "{payload.outcome}"]}
"""
DEPLOY_YML = f"""
slack: {{channel: "#deploys"}}
envs:
  - name: staging{RUN}
  - name: production
    after: [STAGING]
    soak: 30m{RUN}
  - name: "eu/*"
    after: staging{RUN}
"""


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        yield world


async def says(world: World, deployment: Deployment, start: str) -> str:
    """The description of its newest status on GitHub, once it begins so."""

    def found() -> str | None:
        statuses = world.github.statuses(deployment.id)[-1:]
        return next(
            (one.description for one in statuses if one.description.startswith(start)), None
        )

    description: str = await until(found)
    return description


def ask_again(world: World, deployment: Deployment) -> None:
    """As time does, which a test moves."""
    world.bring_forward("task = 'advance' and subject = %s", deployment.id)


async def deploy(world: World, environment: str, ref: str, outcome: str = "ok") -> Deployment:
    return await world.deploy(environment, ref=ref, payload={"outcome": outcome})


async def test_production_waits_for_what_staging_has(world: World) -> None:
    first = await deploy(world, "production", "v1")
    assert await says(world, first, "Waits for STAGING") == (
        "Waits for STAGING: nothing has been deployed there (no known end)."
        " Deploy this commit to STAGING first"
    )
    # Asked at once when staging succeeds; and another environment that does not soak starts.
    europe = await deploy(world, "eu/1", "v1")
    staging = await deploy(world, "staging", "v1")
    await world.github.wait_for(europe.id, "success")
    soaks = await says(world, first, "Soaks in STAGING for 30m (until ")
    ended = world.rows("select ended_at from deployments where id = %s", staging.id)[0]["ended_at"]
    assert f"until {ended + timedelta(minutes=30):%H:%M} UTC" in soaks

    # What fails in staging, or is taken back there, is not promoted; nor is what was good before.
    failing = await deploy(world, "staging", "v2", "fail")
    await says(world, first, f"Waits for STAGING: {failing.sha[:7]} failed there, not this commit")
    await deploy(world, "staging", "v1")
    await says(world, first, "Soaks in STAGING")
    with world.clock.moved(timedelta(minutes=31)):
        ask_again(world, first)
        await world.github.wait_for(first.id, "success")

        # A rollback does not wait, whatever staging has.
        second = await deploy(world, "production", "v2")
        await says(world, second, f"Waits for STAGING: it has {staging.sha[:7]}, not this commit")
        await deploy(world, "staging", "v3")
        await says(world, second, "Waits for STAGING: it has ")
        back = await deploy(world, "production", "v1")
        await world.github.wait_for(back.id, "success")


async def test_jobs_of_actions_count_and_what_never_ran_does_not(world: World) -> None:
    held = await deploy(world, "eu/2", "v5")
    await says(world, held, "Waits for staging: nothing")
    job = await world.deploy("staging", ref="v5", workflow_run={})
    await world.github.create_status(job.id, "in_progress")
    await says(world, held, "Waits for staging: this commit runs there")
    # A newer one that waits, or was refused before its start, has changed nothing there.
    world.execute(
        "insert into locks (repo_id, environment, owner, reason, source)"
        " values (%s, 'staging', 'octocat', 'x', 'page')",
        job.repository.id,
    )
    newer = await deploy(world, "staging", "v6")
    await says(world, newer, "Locked by octocat")
    await world.github.create_status(job.id, "success")
    await world.github.wait_for(held.id, "success")

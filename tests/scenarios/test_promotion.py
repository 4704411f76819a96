"""A commit goes from one environment to the next: where its newest deployment has succeeded there,
and has stayed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.github.model import Deployment
from sandbox.slack.screen import render
from tests.world import World, live, until
from webhook.deployments.blockers import moment

RUN = """
    handler: command
    with: {run: ["sh", "-c", 'test "$1" != fail', sh, "{payload.outcome}"]}
    payload: {outcome: ok}
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
  - name: live
    after: staging
    soak: 30m
    promote: auto
    task: deploy:live{RUN}
  - name: copy
    after: [staging, live]
    promote: auto{RUN}
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
    assert f"until {moment(ended + timedelta(minutes=30), world.clock())}" in soaks

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


def created(world: World, environment: str) -> list[Deployment]:
    """By the relay."""
    every = world.github.deployments.values()
    return [one for one in every if one.environment == environment and one.by_app]


async def proposed(world: World, environment: str, *states: str) -> dict[str, Any]:
    """The newest automatic deployment there, once it is in one of these states."""
    query = "select * from automatic_deployments where environment = %s order by id desc limit 1"

    def found() -> dict[str, Any] | None:
        rows = world.rows(query, environment)
        return rows[0] if rows and rows[0]["state"] in states else None

    row: dict[str, Any] = await until(found)
    return row


async def test_what_has_soaked_goes_on_by_itself(world: World) -> None:
    sha = world.github.repository("acme/site").push("One", ref="release")
    staging = await deploy(world, "staging", "release")
    waiting = await proposed(world, "live", "waiting")
    ended = world.rows("select ended_at from deployments where id = %s", staging.id)[0]["ended_at"]
    assert waiting["due_at"] == ended + timedelta(minutes=30)
    assert not world.rows("select 1 from automatic_deployments where environment = 'copy'")
    with world.clock.moved(timedelta(minutes=31)):
        world.bring_forward("task = 'deploy_automatically'")
        # To the end of the chain, each with its own task, of the commit and by its name.
        await proposed(world, "copy", "created")
        [live], [copy] = created(world, "live"), created(world, "copy")
        assert [(one.sha, one.task) for one in (live, copy)] == [
            (sha, "deploy:live"),
            (sha, "deploy"),
        ]
        await world.github.wait_for(copy.id, "success")
        await world.idle()
    message = next(one for one in world.messages() if f"/{live.id}?" in str(one.blocks))
    shown = render(message)
    assert "promoted from staging" in shown
    assert "release" in shown
    assert "promoted automatically, requested by octocat" in shown
    entries = "select actor, description from timeline where deployment_id = %s and state = %s"
    assert {"actor": "octocat", "description": "Promoted to live automatically"} in world.rows(
        entries, staging.id, "requested"
    )
    assert "promoted from staging" in await world.page(live.id)

    # What staging does not have any more is not promoted, nor is what somebody went back to.
    second = await deploy(world, "staging", "v8")
    await proposed(world, "live", "waiting")
    failed = await deploy(world, "staging", "v9", "fail")
    await world.github.wait_for(failed.id, "failure")
    world.bring_forward("task = 'deploy_automatically'")
    with world.clock.moved(timedelta(minutes=31)):
        world.bring_forward("task = 'deploy_automatically'")
        ended = await proposed(world, "live", "superseded")
    assert ended["sha"] == second.sha
    assert ended["reason"] == (f"Waits for staging: {failed.sha[:7]} failed there, not this commit")
    back = await deploy(world, "staging", "release")
    await world.github.wait_for(back.id, "success")
    await world.idle()
    assert len(world.rows("select 1 from automatic_deployments")) == 3

    # However it was deployed there.
    for count in (1, 0):
        await asyncio.to_thread(world.execute, "delete from automatic_deployments")
        job = await world.deploy("staging", ref="v10", workflow_run={})
        await world.github.create_status(job.id, "success")
        await world.idle()
        assert len(world.rows("select 1 from automatic_deployments")) == count

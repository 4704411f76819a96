"""Nothing starts in a frozen window; people hear of it before, and what waits goes on after it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.slack.screen import render
from tests.world import QUICK, World, live, until
from webhook.timing import utc_now

# A window of two hours that begins on the day after tomorrow.
BEGIN = (utc_now() + timedelta(days=2)).replace(hour=12, minute=0, second=0, microsecond=0)
END = BEGIN + timedelta(hours=2)
DEPLOY_YML = f"""
slack: {{channel: "#deploys"}}
frozen_windows:
  - from: {BEGIN:%Y-%m-%dT%H:%M}
    to: {END:%Y-%m-%dT%H:%M}
    reason: quarter end
    repos: ["ACME/*"]
    environments: ["PROD*"]
    lets: [rollbacks]
    announce: true
envs:
  - name: production
    handler: command
    with: {{run: ["true"]}}
  - name: staging
    handler: command
    with: {{run: ["true"]}}
    slack: {{channel: "#oncall"}}
"""
TIMING = replace(
    QUICK,
    gates_asked_again_after=timedelta(seconds=0.2),
    freezes_announced_every=timedelta(seconds=0.1),
)


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, DEPLOY_YML, timing=TIMING, workers=2) as world:
        yield world


def move_to(world: World, at: datetime) -> None:
    world.clock.ahead = at - utc_now()


def frozen(world: World, deployment_id: int) -> str | None:
    """What GitHub says of it."""
    descriptions: list[str] = [one.description for one in world.github.statuses(deployment_id)]
    return next((one for one in descriptions[-1:] if one.startswith("Frozen: ")), None)


async def test_a_freeze_holds_what_it_covers_until_its_end(world: World) -> None:
    before = await world.deployed(ref="v1.0")
    move_to(world, BEGIN)
    # The commit that ran there before is a rollback; and another environment is open.
    rollback, staging = await world.deploy(ref="v1.0"), await world.deploy("staging")
    await world.phase(rollback.id, "success", "inactive")
    await world.phase(staging.id, "success")
    held = await world.deploy(ref="v1.1")
    waiting = "select 1 from deployments where id = %s and waiting"
    await until(lambda: world.rows(waiting, held.id) or None)
    description = await until(lambda: frozen(world, held.id))
    window = f"{BEGIN:%Y-%m-%d %H:%M} to {END:%Y-%m-%d %H:%M}"
    assert description.startswith(f"Frozen: quarter end ({window})")
    assert f"until {END:%H:%M} UTC" in description
    assert rollback.sha == before.sha != held.sha
    move_to(world, END - timedelta(seconds=30))
    assert (await world.phase(held.id, "queued"))["waiting"]
    assert {status.state for status in world.github.statuses(held.id)} == {"queued"}
    move_to(world, END)
    await world.github.wait_for(held.id, "success")
    # A clock that jumps back makes it frozen again.
    move_to(world, END - timedelta(minutes=1))
    late = await world.deploy(ref="main")
    await until(lambda: world.rows(waiting, late.id) or None)


async def test_it_is_announced_an_hour_before_where_people_deployed_lately(world: World) -> None:
    def announced() -> Any:
        return [render(one) for one in world.messages() if "frozen" in render(one)] or None

    move_to(world, BEGIN - timedelta(minutes=50))
    await world.deployed("staging")
    known = "select 1 from announcements"
    assert not world.rows(known)
    move_to(world, BEGIN - timedelta(minutes=61))
    await world.deployed()
    assert not world.rows(known)
    move_to(world, BEGIN - timedelta(minutes=59))
    [text] = await until(announced)
    await world.idle()
    assert announced() == [text]
    first, second = text.splitlines()
    assert first.startswith("\N{SNOWFLAKE} PROD")
    assert f" will be frozen from {BEGIN:%H:%M} UTC until " in first
    assert f"{END:%H:%M} UTC: quarter end (" in first
    assert second == "What has not started by then waits; rollbacks pass."
    assert not [one for one in world.messages("#oncall") if "frozen" in render(one)]

"""Of an environment one deployment runs at a time; the others wait, and the newest goes next."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.github.model import Deployment
from tests.world import World, live, until

DEPLOY_YML = """
slack: {channel: "#deploys"}
envs:
  - name: production
    handler: command
    wait_limit: 2h
    with: {run: ["sh", "-c", 'while ! test -e "$1"; do sleep 0.05; done', sh, "{payload.gate}"]}
  - name: long
    handler: command
    wait_limit: 2h
    timeout: 3h
    with: {run: ["sh", "-c", 'while ! test -e "$1"; do sleep 0.05; done', sh, "{payload.gate}"]}
  - name: free
    handler: command
    serialization: false
    with: {run: ["sh", "-c", 'while ! test -e "$1"; do sleep 0.05; done', sh, "{payload.gate}"]}
"""


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        yield world


async def deploy(
    world: World, gate: Path, environment: str = "production", **fields: Any
) -> Deployment:
    """A deployment whose command runs until there is a file at `gate`."""
    return await world.deploy(environment, payload={"gate": str(gate)}, **fields)


async def running(world: World, gate: Path, environment: str = "production") -> Deployment:
    deployment = await deploy(world, gate, environment)
    await world.phase(deployment.id, "in_progress")
    return deployment


async def held(world: World, deployment: Deployment) -> str:
    """Once it waits: the description of its newest status."""

    def waits() -> bool | None:
        rows = world.rows("select 1 from deployments where id = %s and waiting", deployment.id)
        return bool(rows) or None

    await until(waits)
    await until(lambda: len(world.github.statuses(deployment.id)) > 1 or None)
    return str(world.github.statuses(deployment.id)[-1].description)


async def test_the_newest_that_waits_goes_next_and_supersedes_the_others(
    world: World, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first = await running(world, gate)
    second = await deploy(world, gate, ref="v2")
    assert await held(world, second) == (
        f"Waits for deployment {first.id} (main) to end (no known end)."
        " Cancel that one to go on now"
    )
    third = await deploy(world, gate, environment="PRODUCTION", ref="v3")
    await world.phase(second.id, "superseded")
    assert world.rows("select started_at from deployments where id = %s", third.id)[0] == {
        "started_at": None
    }

    gate.touch()
    await world.github.wait_for(third.id, "success")
    await world.idle()
    assert world.github.states(first.id) == ["queued", "in_progress", "success"]
    assert world.github.states(second.id) == ["queued", "queued", "inactive"]
    assert world.github.states(third.id) == ["queued", "queued", "in_progress", "success"]
    assert world.github.statuses(second.id)[-1].description == (
        f"Superseded by deployment {third.id} (v3)"
    )
    message = next(one for one in world.messages() if "superseded" in one.text)
    assert f"Superseded by deployment {third.id} (v3)" in message.text


async def test_without_serialization_deployments_run_beside_each_other(
    world: World, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first = await running(world, gate, "free")
    second = await running(world, gate, "free")
    gate.touch()
    for deployment in (first, second):
        await world.github.wait_for(deployment.id, "success")


async def test_another_environment_and_another_repository_do_not_wait(
    world: World, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    await running(world, gate)
    world.github.add_repository("newco/shop")
    world.github.add_installation("newco", ["newco/shop"])
    other = await world.github.create_deployment(
        "newco/shop", environment="production", required_contexts=[], payload={"gate": str(gate)}
    )
    await world.phase(other.id, "in_progress")
    gate.touch()


async def test_what_others_report_does_not_end_a_wait(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    await running(world, gate)
    waiting = await deploy(world, gate)
    await held(world, waiting)
    await world.github.create_status(waiting.id, "success")
    await until(lambda: world.github.states(waiting.id)[-1:] == ["queued"] or None)
    assert world.rows("select phase, waiting from deployments where id = %s", waiting.id) == [
        {"phase": "queued", "waiting": True}
    ]
    assert "Succeeded" in await world.page(waiting.id)
    gate.touch()
    await world.github.wait_for(waiting.id, "in_progress")


async def test_a_cancelled_one_does_not_hold_the_others_once_its_run_has_ended(
    world: World, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first = await running(world, gate)
    second = await deploy(world, tmp_path / "second")
    await held(world, second)
    world.execute(
        "update deployments set cancel_requested_by = 'octocat', version = version + 1"
        " where id = %s",
        first.id,
    )
    world.bring_forward("subject = %s", first.id)
    await world.github.wait_for(first.id, "error")
    await world.phase(second.id, "in_progress")
    (tmp_path / "second").touch()


async def test_a_wait_ends_at_its_limit_in_plain_text(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = await running(world, gate, "long")
    second = await deploy(world, gate, "long")
    await held(world, second)
    with world.clock.moved(timedelta(hours=2, minutes=1)):
        world.bring_forward("subject = %s", second.id)
        status = await world.github.wait_for(second.id, "error")
    assert status.description == (
        f"Gave up after waiting 2h: Waits for deployment {first.id} (main) to end (no known end)."
        " Cancel that one to go on now"
    )
    gate.touch()


async def test_the_time_of_a_run_begins_with_its_start(world: World, tmp_path: Path) -> None:
    gate, second_gate = tmp_path / "gate", tmp_path / "second"
    await running(world, gate)
    second = await deploy(world, second_gate)
    await held(world, second)
    with world.clock.moved(timedelta(minutes=25)):
        gate.touch()
        row = await world.phase(second.id, "in_progress")
        assert row["deadline"] - row["started_at"] == timedelta(minutes=30)
        assert row["started_at"] - row["requested_at"] > timedelta(minutes=24)
        second_gate.touch()
        await world.github.wait_for(second.id, "success")


async def test_two_workers_start_only_one(store_url: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with live(store_url, tmp_path, DEPLOY_YML, workers=2) as world:
        deployments = [await deploy(world, gate, ref=f"v{n}") for n in range(8)]
        ids = [deployment.id for deployment in deployments]
        await until(
            lambda: (
                world.rows(
                    "select 1 from deployments having count(*) filter (where started_at is null and"
                    " phase = 'queued') <= 1 and count(*) = 8"
                )
                or None
            )
        )
        started = world.rows("select id from deployments where started_at is not null")
        assert len(started) == 1
        gate.touch()
        await world.github.wait_for(ids[-1], "success")

"""Deployments of an installation that is unknown or suspended."""

from pathlib import Path
from typing import Any

from sandbox.sandbox import REPOSITORY
from sandbox.slack.screen import render
from tests.world import World, live, until


async def suspended(world: World, action: str) -> None:
    world.sandbox.installation.suspended = action == "suspend"
    body = {"action": action, "installation": {"id": world.sandbox.installation.id}}
    await world.github.deliver("installation", body)


def unsent(world: World) -> Any:
    query = "select 1 from outbox where kind = 'status' and state = 'waiting' and error <> ''"
    return world.rows(query) or None


async def test_an_unknown_installation_is_an_error_and_nothing_runs(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0) as world:
        deployment = await world.deploy("production")
        await world.github.settled()
        world.github.world.installations.clear()
        world.start_worker()
        row = await world.phase(deployment.id, "error")
        assert "does not know installation" in row["status_description"]
        assert row["run"] is None


async def test_a_suspended_installation_gets_its_statuses_once_it_is_back(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0) as world:
        deployment = await world.deploy("production")
        await world.github.settled()
        installation = world.sandbox.installation
        installation.suspended = True
        world.start_worker()
        row = await world.phase(deployment.id, "error")
        assert "suspended" in row["status_description"]
        waiting = "select 1 from outbox where kind = 'status' and state = 'waiting' and error <> ''"
        await until(lambda: world.rows(waiting) or None)
        installation.suspended = False
        body = {"action": "unsuspend", "installation": {"id": installation.id}}
        await world.github.deliver("installation", body)
        await world.github.wait_for(deployment.id, "error", within=20)
        # Slack is edited by another job.
        await until(lambda: "suspended" in render(world.messages()[0]) or None)


async def test_a_suspend_event_does_not_delay_the_unsuspend_event(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with live(store_url, tmp_path) as world:
        deployment = await world.deploy("slow", payload={"gate": str(gate)})
        await world.github.wait_for(deployment.id, "in_progress", within=20)
        await suspended(world, "suspend")
        gate.touch()
        await until(lambda: unsent(world))
        await suspended(world, "suspend")
        await suspended(world, "unsuspend")
        await world.github.wait_for(deployment.id, "success", within=20)


async def test_a_suspension_without_an_event_loses_no_status(
    store_url: str, tmp_path: Path
) -> None:
    """The token is still cached; GitHub rejects the call itself."""
    gate = tmp_path / "gate"
    async with live(store_url, tmp_path) as world:
        deployment = await world.deploy("slow", payload={"gate": str(gate)})
        await world.github.wait_for(deployment.id, "in_progress", within=20)
        world.sandbox.installation.suspended = True
        gate.touch()
        await until(lambda: unsent(world))
        await suspended(world, "unsuspend")
        await world.github.wait_for(deployment.id, "success", within=20)


async def test_a_run_goes_on_when_the_app_is_installed_again(world: World, tmp_path: Path) -> None:
    deployment = await world.begin_slow(tmp_path / "gate")
    world.github.world.installations.clear()
    new = world.github.add_installation("acme", [REPOSITORY])
    (tmp_path / "gate").touch()
    await world.github.wait_for(deployment.id, "success")
    rows = world.rows("select installation_id from deployments")
    assert [row["installation_id"] for row in rows] == [new.id]


async def test_a_run_goes_on_in_another_organization(world: World, tmp_path: Path) -> None:
    """The App is installed in both; the old installation gives no token for the repository."""
    deployment = await world.begin_slow(tmp_path / "gate")
    moved = world.github.rename_repository(REPOSITORY, "newco/shop")
    world.sandbox.installation.repositories.clear()
    world.github.add_installation("newco", ["newco/shop"])
    impostor = world.github.add_repository(REPOSITORY)
    world.sandbox.installation.repositories.append(impostor)
    (tmp_path / "gate").touch()
    await world.github.wait_for(deployment.id, "success")
    assert moved.full_name == "newco/shop"

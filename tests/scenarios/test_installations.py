"""Deployments of an installation that is unknown or suspended."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sandbox.faults import Fault
from sandbox.github.model import Json
from sandbox.sandbox import REPOSITORY
from sandbox.slack.screen import render
from tests.world import World, live, until
from webhook.store import schedule
from webhook.store.database import async_pool

TOKENS = "POST /app/installations/*/access_tokens"


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


WAITING = 30


@pytest.mark.slow
async def test_all_that_waits_goes_on_at_once_however_many_events_say_so(
    idle_world: World,
) -> None:
    world = idle_world
    for _ in range(WAITING):
        await world.deploy("nowhere")
    await world.github.settled()
    world.sandbox.installation.suspended = True
    world.start_worker()
    refused = "select 1 from outbox where state = 'waiting' and error <> '' having count(*) = %s"
    await until(lambda: world.rows(refused, WAITING) or None)
    await world.idle()
    before = len(world.github.calls)
    for _ in range(20):
        await suspended(world, "unsuspend")
    for id_ in world.github.deployments:
        await world.github.wait_for(id_, "error", within=5)
    await world.idle()
    # Each status, and now and then a try that came before the access was back.
    assert len(world.github.calls) - before <= 2 * WAITING


@pytest.mark.slow
async def test_what_waits_for_a_moment_does_not_wait_for_what_is_due_in_an_hour(
    idle_world: World,
) -> None:
    """The access comes back while a try is under way, whose next one would be due in an hour."""
    world = idle_world
    deployment = await world.deploy("nowhere")
    await world.github.settled()
    world.sandbox.installation.suspended = True
    world.start_worker()
    await until(lambda: unsent(world))
    await world.idle()
    message = "This installation has been suspended"
    late = Fault(delay=0.5, status_code=403, body={"message": message})
    for fault in (late, Fault.rate_limited(1)):
        world.github.faults.add(TOKENS, fault)
    await suspended(world, "unsuspend")
    await until(lambda: world.github.faults.fired or None)
    await suspended(world, "unsuspend")
    await world.github.wait_for(deployment.id, "error", within=5)
    assert len(world.github.faults.fired) == 2


async def test_events_that_come_while_nothing_can_be_done_leave_one_job(idle_world: World) -> None:
    world = idle_world
    async with async_pool(world.store_url, 4) as pool:

        async def resume(_: int) -> None:
            async with pool.connection() as connection, connection.transaction():
                key = schedule.Key("resume_installation", 7, "acme")
                await schedule.request(connection, [key])

        await asyncio.gather(*map(resume, range(20)))
    rows = "select 1 from schedule where task = 'resume_installation'"
    assert len(world.rows(rows)) == 1


@pytest.mark.parametrize(
    ("event", "action", "listed"),
    [
        ("installation", "created", "repositories"),
        ("installation_repositories", "added", "repositories_added"),
        ("installation", "created", None),  # in all repositories of the account
    ],
)
async def test_what_waits_goes_on_when_the_app_is_installed_again(
    idle_world: World, event: str, action: str, listed: str | None
) -> None:
    world = idle_world
    deployment = await world.deploy("nowhere")
    await world.github.settled()
    world.github.world.installations.clear()
    world.start_worker()
    await until(lambda: unsent(world))
    new = world.github.add_installation("acme", [REPOSITORY])
    body: Json = {"action": action, "installation": world.github.documents.installation(new)}
    if listed:
        [repository] = new.repositories
        body[listed] = [{"id": repository.id, "full_name": repository.full_name}]
    await world.github.deliver(event, body)
    await world.github.wait_for(deployment.id, "error")


async def test_what_waits_goes_on_when_the_app_is_in_the_repositorys_new_organization(
    idle_world: World,
) -> None:
    world = idle_world
    deployment = await world.deploy("nowhere")
    await world.github.settled()
    world.github.rename_repository(REPOSITORY, "newco/shop")
    world.sandbox.installation.repositories.clear()
    world.start_worker()
    await until(lambda: unsent(world))
    new = world.github.add_installation("newco", ["newco/shop"])
    [repository] = new.repositories
    body: Json = {
        "action": "added",
        "installation": world.github.documents.installation(new),
        "repositories_added": [{"id": repository.id, "full_name": repository.full_name}],
    }
    await world.github.deliver("installation_repositories", body)
    await world.github.wait_for(deployment.id, "error")


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

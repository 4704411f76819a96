"""What a delivery does that is repeated, early, malformed, unknown, or about ourselves."""

from pathlib import Path
from typing import Any

import aiohttp

from sandbox.faults import Fault
from tests.world import World, live

STATUSES = "POST /repos/*/deployments/*/statuses"

SENT = ["queued", "in_progress", "success"]


async def test_a_redelivery_starts_nothing_new(world: World) -> None:
    deployment = await world.deployed()
    for delivery in list(world.github.deliveries):
        await world.github.redeliver(delivery.guid)
    await world.idle()
    assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]
    assert len(world.messages()) == 1
    assert {row["arrivals"] for row in world.rows("select arrivals from deliveries")} == {2}


async def test_events_of_our_own_statuses_change_nothing(world: World) -> None:
    await world.deployed()
    assert world.delivery_outcomes()["ignored"] == ["a status of our own"] * 3


async def test_the_event_of_our_own_status_may_arrive_before_its_id(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path) as world:
        real = world.github.events.deployment_status

        def without_app(*arguments: Any) -> Any:
            body = real(*arguments)
            body["deployment_status"]["performed_via_github_app"] = None
            return body

        world.github.events.deployment_status = without_app
        world.github.faults.add(STATUSES, Fault.drop_after())
        deployment = await world.deploy()
        await world.github.wait_for(deployment.id, "success", within=30)
        assert world.github.states(deployment.id) == SENT


async def test_a_status_may_arrive_before_its_deployment(world: World) -> None:
    world.github.webhook_url, address = "", world.github.webhook_url
    deployment = await world.deploy("production")
    status = await world.github.create_status(deployment.id, "queued", description="first")
    world.github.webhook_url = address
    await world.github.deliver(
        "deployment_status", world.github.events.deployment_status(deployment, status)
    )
    await world.phase(deployment.id, "queued")
    await world.github.deliver("deployment", world.github.events.deployment(deployment))
    await world.github.wait_for(deployment.id, "success", within=20)


async def test_an_unknown_state_is_recorded_and_changes_nothing(world: World) -> None:
    deployment = await world.deployed()
    body = world.github.events.deployment_status(
        deployment, await world.github.create_status(deployment.id, "success")
    )
    body["deployment_status"] |= {"id": 999_999, "state": "enchanted"}
    await world.github.deliver("deployment_status", body)
    await world.idle()
    assert world.rows("select 1 from timeline where state = 'enchanted' and not counted")


async def test_a_malformed_delivery_is_kept_with_the_reason(world: World) -> None:
    for body in (b'{"action": "created"}', b'{"action": '):
        headers = world.github.delivery_headers("deployment", body)
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{world.url}/webhook", data=body, headers=headers) as response,
        ):
            assert response.status == 202
    await world.idle()
    missing, broken = world.delivery_outcomes()["failed"]
    assert "missing" in missing
    assert "not JSON" in broken


async def test_unknown_events_are_kept_as_ignored(world: World) -> None:
    await world.github.deliver("star", {"action": "created"})
    await world.github.deliver("deployment", {"action": "destroyed"})
    await world.github.ping()
    await world.idle()
    found = world.delivery_outcomes()
    assert found["done"] == ["the webhook works"]
    assert sorted(found["ignored"]) == [
        "the relay does not act on 'deployment' events with action 'destroyed'",
        "the relay does not act on 'star' events",
    ]

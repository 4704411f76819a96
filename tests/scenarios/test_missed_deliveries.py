"""Deliveries that did not arrive come back by themselves."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.github.webhooks import ARRIVES, Transit
from sandbox.sandbox import Sandbox, free_ports
from tests.world import QUICK, World, live, until

DEPLOY_YML = """
envs:
  - name: production
    handler: command
    with: {run: ["sh", "-c", "echo deploying $DEPLOYMENT_REF"]}
"""


async def compare(world: World) -> None:
    """Compare GitHub's list now, and wait until that is done."""
    compared = "select compared_at from delivery_scan"
    before = world.rows(compared)
    world.bring_forward("task = 'recover'")
    await until(lambda: world.rows(compared) != before or None)
    await world.idle()


def due_in(world: World) -> timedelta:
    """Until the list is compared again."""
    [row] = world.rows("select due_at - now() as span from schedule where task = 'recover'")
    span: timedelta = row["span"]
    return span


def missed(world: World) -> list[dict[str, Any]]:
    return world.rows("select * from missed_deliveries order by delivered_at")


async def test_what_a_proxy_swallowed_with_a_200_is_found(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML) as world:
        world.github.webhooks.large_ids = True
        lost = {"deployment": Transit(fate="swallowed")}
        world.github.webhooks.transit = lambda delivery: lost.get(delivery.event, ARRIVES)
        deployment = await world.deploy()
        await world.github.settled()
        assert world.github.deliveries[-1].status == "OK"
        await compare(world)
        await world.github.wait_for(deployment.id, "success")
        await world.idle()
        [delivery] = world.rows("select * from deliveries where way = 'pulled'")
        assert delivery["guid"] == world.github.deliveries[0].guid
        at = world.github.deliveries[0].delivered_at
        assert delivery["delivered_at"] == at.replace(microsecond=0)
        [found] = missed(world)
        assert (found["state"], found["github_id"] > 2**53) == ("recovered", True)
        await compare(world)
        assert len(missed(world)) == 1
        assert timedelta(minutes=9) < due_in(world) < timedelta(minutes=10)


async def test_in_pull_mode_deployments_run_and_nobody_calls_the_relay(
    store_url: str, tmp_path: Path
) -> None:
    sandbox, nobody = Sandbox(), f"http://127.0.0.1:{free_ports(1)[0]}/webhook"
    pull = {"GITPLOY_DELIVERIES": "pull", "GITPLOY_WEBHOOK_SECRET": ""}
    timing = replace(QUICK, deliveries_pulled_every=timedelta(seconds=0.1))
    async with live(
        store_url, tmp_path, DEPLOY_YML, sandbox=sandbox, environ=pull, timing=timing
    ) as world:
        world.github.webhook_url = nobody
        deployment = await world.deployed()
        assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]
        assert {row["way"] for row in world.rows("select way from deliveries")} == {"pulled"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{world.url}/webhook", json={}) as response,
        ):
            assert response.status == 404
            assert "it pulls them" in (await response.json())["error"]

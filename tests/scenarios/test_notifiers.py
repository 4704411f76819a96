"""Each place hears of the same deployment by its own notifier, and none waits for another."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from sandbox.discord import Discord
from sandbox.event_receiver import EventReceiver
from sandbox.faults import Fault
from tests.world import QUICK, World, live, until

DEPLOY_YML = """
slack: {channel: "#deploys"}
discord: {url: "${DISCORD}", failures: "${DISCORD_ONCALL}"}
webhook: {url: "${EVENTS}", secret: "${EVENTS_SECRET}"}
envs:
  - name: production
    handler: command
    with: {run: ["true"]}
  - name: broken
    handler: command
    with: {run: ["false"]}
  - name: quiet
    handler: command
    with: {run: ["true"]}
    discord: {only: failures}
    webhook: []
"""
POST = "POST /webhooks/*"


@dataclass
class Everywhere:
    world: World
    discord: Discord
    receiver: EventReceiver

    def types(self) -> list[str]:
        return [str(event["type"]).rpartition(".")[2] for event in self.receiver.events.values()]


@asynccontextmanager
async def everywhere(store_url: str, folder: Path) -> AsyncIterator[Everywhere]:
    timing = replace(QUICK, message_lookups_after=(timedelta(seconds=0.3),) * 2)
    async with Discord() as discord, EventReceiver() as receiver:
        environ = {
            "DISCORD": discord.add_webhook("deploys"),
            "DISCORD_ONCALL": discord.add_webhook("oncall"),
            "EVENTS": receiver.address,
            "EVENTS_SECRET": receiver.secret,
        }
        async with live(store_url, folder, DEPLOY_YML, environ=environ, timing=timing) as world:
            yield Everywhere(world, discord, receiver)


async def test_a_success_is_heard_of_in_each_place_in_its_own_way(
    store_url: str, tmp_path: Path
) -> None:
    async with everywhere(store_url, tmp_path) as there:
        deployment = await there.world.deployed()
        [shown] = there.discord.posted("deploys")
        assert "succeeded" in shown.text
        assert there.discord.posted("oncall") == []
        assert len(there.world.messages()) == 1
        assert there.types()[-1] == "success"
        entries = [
            entry["state"]
            for event in there.receiver.events.values()
            for entry in event["data"]["entries"]
        ]
        assert entries == ["queued", "in_progress", "success"]
        subjects = {event["subject"] for event in there.receiver.events.values()}
        assert subjects == {f"acme/site/deployments/{deployment.id}"}


async def test_a_failure_is_heard_of_where_failures_are(store_url: str, tmp_path: Path) -> None:
    async with everywhere(store_url, tmp_path) as there:
        await there.world.deployed("broken")
        [shown] = there.discord.posted("deploys")
        [alert] = there.discord.posted("oncall")
        assert "failed" in shown.text
        assert "failed" in alert.text
        assert there.types()[-1] == "failure"


async def test_filters_are_those_of_any_destination(store_url: str, tmp_path: Path) -> None:
    async with everywhere(store_url, tmp_path) as there:
        await there.world.deployed("quiet")
        assert there.discord.posted("deploys") == []
        assert there.types() == []
        assert len(there.world.messages()) == 1


async def test_an_endpoint_hears_of_a_change_again_under_the_same_id_where_its_answer_got_lost(
    store_url: str, tmp_path: Path
) -> None:
    async with everywhere(store_url, tmp_path) as there:
        there.receiver.faults.add("POST /events", Fault.drop_after())
        await there.world.deployed()
        assert there.types()[-1] == "success"
        assert max(there.receiver.arrivals.values()) == 2


async def test_a_place_that_limits_is_asked_later_and_others_do_not_wait(
    store_url: str, tmp_path: Path
) -> None:
    async with everywhere(store_url, tmp_path) as there:
        there.discord.faults.add(POST, there.discord.rate_limit(1.0))
        await there.world.deploy()
        await until(lambda: there.world.messages() or None, within=5)
        await until(lambda: there.discord.posted("deploys") or None, within=10)
        await there.world.idle()
        assert len(there.discord.posted("deploys")) == 1


async def test_why_a_place_rejects_a_message_is_kept(store_url: str, tmp_path: Path) -> None:
    async with everywhere(store_url, tmp_path) as there:
        there.discord.webhooks.clear()
        await there.world.deploy()
        rejected = (
            "select error from outbox where starts_with(destination, 'discord:')"
            " and state = 'rejected'"
        )
        [row] = await until(lambda: there.world.rows(rejected) or None)
        assert "deleted" in row["error"]

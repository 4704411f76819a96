"""Slack, Discord and an endpoint get each deployment once, whatever fails."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.discord import Discord, Message
from sandbox.event_receiver import EventReceiver
from sandbox.faults import Fault
from sandbox.slack.screen import render
from tests.world import World, live, until

DEPLOY_YML = """
slack: {channel: "#deploys", failures: "#oncall"}
discord: {url: "${DISCORD_WEBHOOK}", failures: "${DISCORD_FAILURES}"}
webhook: {url: "${EVENTS_URL}", secret: "${EVENTS_SECRET}"}
envs:
  - name: production
    handler: command
    with: {run: ["sh", "-c", "echo deploying"]}
  - name: broken
    handler: command
    with: {run: ["sh", "-c", "echo the disk is full; exit 3"]}
  - name: quiet
    handler: command
    with: {run: ["sh", "-c", "true"]}
    slack: []
    discord: {only: failures}
    webhook: {states: [success]}
  - name: other
    handler: command
    with: {run: ["sh", "-c", "true"]}
    discord: {repos: [other/*]}
    webhook: []
  - name: "slow*"
    handler: command
    with: {run: ["sh", "-c", 'while ! test -e "$1"; do sleep 0.05; done', sh, "{payload.gate}"]}
"""


@dataclass
class Everywhere:
    world: World
    discord: Discord
    receiver: EventReceiver

    def posted(self, channel: str = "deploys") -> list[Message]:
        return self.discord.posted(channel)

    def events(self) -> list[str]:
        return [event["type"].rpartition(".")[2] for event in self.receiver.events.values()]

    def states(self) -> list[str]:
        """Of all entries that the events are about."""
        data = [event["data"] for event in self.receiver.events.values()]
        return [entry["state"] for one in data for entry in one["entries"]]


@pytest.fixture
async def everywhere(store_url: str, tmp_path: Path) -> AsyncIterator[Everywhere]:
    async with Discord() as discord, EventReceiver() as receiver:
        environ = {
            "DISCORD_WEBHOOK": discord.add_webhook("deploys"),
            "DISCORD_FAILURES": discord.add_webhook("oncall"),
            "EVENTS_URL": receiver.address,
            "EVENTS_SECRET": receiver.secret,
        }
        async with live(store_url, tmp_path, DEPLOY_YML, environ=environ) as world:
            yield Everywhere(world, discord, receiver)


async def test_all_hear_the_same_of_a_deployment(everywhere: Everywhere) -> None:
    deployment = await everywhere.world.deployed(ref="v1.0")
    [slack] = everywhere.world.messages()
    [discord] = everywhere.posted()
    assert "✅ acme/site to production succeeded" in render(slack)
    assert "✅ acme/site to production succeeded" in discord.text
    assert discord.edits >= 1
    last = list(everywhere.receiver.events.values())[-1]
    assert (last["type"], last["data"]["label"]) == (
        "io.gitploy.relay.deployment.success",
        "succeeded",
    )
    assert last["data"]["deployment_id"] == deployment.id
    assert last["subject"] == f"acme/site/deployments/{deployment.id}"
    assert everywhere.states() == ["queued", "in_progress", "success"]
    assert set(everywhere.receiver.arrivals.values()) == {1}
    assert everywhere.posted("oncall") == []
    page = await everywhere.world.page(deployment.id)
    for sent in ("sent to #deploys", "sent to Discord (11", "sent to Webhook (127.0.0.1#"):
        assert page.count(sent) == 1


async def test_a_failure_goes_to_the_destination_for_failures(everywhere: Everywhere) -> None:
    await everywhere.world.deployed("broken")
    [message] = everywhere.posted()
    assert "❌ acme/site to broken failed" in message.text
    [alert] = everywhere.posted("oncall")
    assert "the disk is full" in alert.text
    assert everywhere.events()[-1] == "failure"
    [slack] = everywhere.world.slack.messages("#oncall")
    assert "the disk is full" in render(slack)


async def test_a_form_that_discord_rejects_becomes_text(everywhere: Everywhere) -> None:
    everywhere.discord.max_fields = 1
    deployment = await everywhere.world.deployed("broken")
    [message] = everywhere.posted()
    assert (message.embeds, "❌ acme/site to broken failed" in message.text) == ([], True)
    assert "/deployments/acme/site/" in message.text
    [alert] = everywhere.posted("oncall")
    assert "the disk is full" in alert.text
    assert "BASE_TYPE_MAX_LENGTH" in await everywhere.world.page(deployment.id)


@pytest.mark.slow
async def test_each_destination_gets_only_what_its_filters_match(everywhere: Everywhere) -> None:
    await everywhere.world.deployed("quiet")
    assert everywhere.events() == ["success"]
    await everywhere.world.deployed("other")
    assert everywhere.posted() == []
    assert everywhere.events() == ["success"]
    assert len(everywhere.world.messages()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [Fault.status(503), Fault.drop_before(), Fault.drop_after(), Fault.status(500, acts=True)],
)
async def test_an_event_without_a_clear_response_is_sent_again_under_its_id(
    everywhere: Everywhere, fault: Fault
) -> None:
    everywhere.receiver.faults.add("POST /events", fault)
    await everywhere.world.deployed()
    assert everywhere.events()[-1] == "success"
    repeated = [n for n in everywhere.receiver.arrivals.values() if n > 1]
    assert len(repeated) == (1 if fault.acts else 0)


async def test_a_rate_limit_of_discords_is_waited_for(everywhere: Everywhere) -> None:
    everywhere.discord.faults.add("POST /webhooks/*", Discord.rate_limit(0.6), times=2)
    await everywhere.world.deployed()
    assert len(everywhere.world.messages()) == 1
    [message] = everywhere.posted()
    assert "succeeded" in message.text
    codes = [call.status for call in everywhere.discord.calls if call.method == "POST"]
    assert codes == [429, 429, 200]


async def test_a_destination_that_limits_lets_others_go_ahead(everywhere: Everywhere) -> None:
    wait = 5.0
    everywhere.discord.faults.add("POST /webhooks/*", Discord.rate_limit(wait))
    await everywhere.world.deploy()
    await until(lambda: everywhere.posted() or None, within=15)
    await everywhere.world.idle()
    assert len(everywhere.posted()) == 1
    slack = everywhere.world.slack.called("POST", "/chat.postMessage")[0]
    [limited, accepted] = [c for c in everywhere.discord.calls if c.method == "POST"]
    assert (limited.status, accepted.status) == (429, 200)
    assert max(slack.time, everywhere.receiver.calls[0].time) < limited.time + wait


async def test_why_a_destination_rejects_a_message_is_stored(everywhere: Everywhere) -> None:
    everywhere.discord.webhooks.clear()
    await everywhere.world.deploy()
    rejected = (
        "select error from outbox where starts_with(destination, 'discord:') and state = 'rejected'"
    )
    [row] = await until(lambda: everywhere.world.rows(rejected) or None)
    assert "deleted" in row["error"]


async def test_a_message_that_somebody_deletes_is_posted_again(
    everywhere: Everywhere, tmp_path: Path
) -> None:
    deployment = await everywhere.world.begin_slow(tmp_path / "gate")
    await until(lambda: [m for m in everywhere.posted() if "in progress" in m.text] or None)
    everywhere.discord.messages.clear()
    (tmp_path / "gate").touch()
    await everywhere.world.phase(deployment.id, "success")
    await everywhere.world.idle()
    [message] = everywhere.posted()
    assert "succeeded" in message.text


@pytest.mark.slow
@pytest.mark.parametrize(("gone", "retried"), [(True, 0), (False, 1)])
async def test_an_endpoint_that_is_gone_is_not_called_again(
    everywhere: Everywhere, gone: bool, retried: int
) -> None:
    everywhere.receiver.gone = gone
    everywhere.receiver.faults.add("POST /events", Fault.status(404), times=0 if gone else 99)
    deployment = await everywhere.world.deployed()
    page = await everywhere.world.page(deployment.id)
    assert ("accepts no more events" if gone else "does not accept the event") in page
    postponed = "select 1 from schedule where task = 'notify'"
    assert len(everywhere.world.rows(postponed)) == retried


async def test_the_page_shows_what_discord_rejects_and_not_its_url(everywhere: Everywhere) -> None:
    hook = next(one for one in everywhere.discord.webhooks.values() if one.channel == "deploys")
    token, hook.token = hook.token, "another"
    deployment = await everywhere.world.deployed()
    page = await everywhere.world.page(deployment.id)
    assert "Discord: not sent to" in page
    assert "the webhook&#39;s URL is not right" in page
    assert token not in page
    assert len(everywhere.world.messages()) == 1


async def test_workers_that_stop_in_between_send_nothing_twice(
    everywhere: Everywhere, tmp_path: Path
) -> None:
    world = everywhere.world
    deployment = await world.begin_slow(tmp_path / "gate")
    await world.stop_workers()
    (tmp_path / "gate").touch()
    for _ in range(2):
        world.start_worker()
    await world.phase(deployment.id, "success")
    await world.idle()
    assert len(everywhere.posted()) == len(world.messages()) == 1
    assert set(everywhere.receiver.arrivals.values()) == {1}
    assert all(one.startswith(f"{deployment.id}:main:") for one in everywhere.receiver.events)

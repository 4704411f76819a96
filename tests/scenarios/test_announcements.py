"""Announcements reach each destination once, whatever fails, and not for ever."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from sandbox.discord import Discord
from sandbox.event_receiver import EventReceiver
from sandbox.faults import Fault
from sandbox.sandbox import Sandbox
from sandbox.slack.screen import render
from tests.world import RECURRING, World, live, until
from webhook.deployments.announcement import Announcement
from webhook.store import announcements, database, outbox
from webhook.store.outbox import FailedMessage

DEPLOY_YML = """
slack: {{channel: "{channel}"}}
discord: {{url: "${{DISCORD_WEBHOOK}}"}}
webhook: {{url: "${{EVENTS_URL}}", secret: "${{EVENTS_SECRET}}"}}
slack_users: {{mona: {mona}}}
envs:
  - name: production
    handler: command
    with: {{run: ["true"]}}
  - name: elsewhere
    handler: command
    with: {{run: ["true"]}}
    slack: {{channel: "{oncall}"}}
"""
TAKEN = Announcement(
    key="lock:7:taken",
    text="production was locked by mona, now by hubot\nReason: <!channel> *all* @here & more",
    mentions=("Mona", "octocat", "eve"),
    lock_id=7,
)
NEUTRAL = str.maketrans({"*": "\N{ASTERISK OPERATOR}", "@": "@\N{WORD JOINER}"})


@dataclass
class Everywhere:
    world: World
    discord: Discord
    receiver: EventReceiver

    def names(self) -> list[str]:
        """Of the destinations of main messages."""
        config = self.world.setup.config
        found = [one for env in config.envs for one in env.destinations()]
        return [f"{kind}:{one.name(one.address(main=True) or '')}" for kind, one in found]

    async def announce(self, announcement: Announcement, *names: str) -> None:
        async with await database.connect_async(self.world.store_url) as connection:
            await announcements.add(connection, announcement, {*names} or {*self.names()})

    def lately_failed(self) -> list[FailedMessage]:
        """As `check` shows them."""
        with psycopg.connect(self.world.store_url, row_factory=dict_row) as connection:
            return outbox.lately_failed(connection)


@pytest.fixture
async def everywhere(store_url: str, tmp_path: Path) -> AsyncIterator[Everywhere]:
    async with Discord() as discord, EventReceiver() as receiver:
        environ = {
            "DISCORD_WEBHOOK": discord.add_webhook("deploys"),
            "EVENTS_URL": receiver.address,
            "EVENTS_SECRET": receiver.secret,
        }
        sandbox = Sandbox(interactive=True)
        mona = sandbox.slack.add_user("Mona").id
        # Known by an address that both have verified.
        sandbox.slack.scopes |= {"users:read", "users:read.email"}
        sandbox.slack.add_user("Eve", "eve@acme.io")
        sandbox.github.add_user("eve", email="eve@acme.io")
        oncall = sandbox.slack.channel("#oncall").id
        text = DEPLOY_YML.format(channel=sandbox.deploys.id, oncall=oncall, mona=mona)
        async with live(
            store_url, tmp_path, text, sandbox=sandbox, environ=environ, workers=2
        ) as world:
            yield Everywhere(world, discord, receiver)


async def test_all_destinations_hear_of_it_once(everywhere: Everywhere) -> None:
    world = everywhere.world
    await world.deployed("elsewhere")
    # They are posted, and the responses are lost.
    world.slack.faults.add("POST /chat.postMessage", Fault.drop_after(), times=2)
    for _ in range(2):
        await everywhere.announce(TAKEN)
    await world.idle()
    [message] = world.messages(world.sandbox.deploys.name)
    assert render(message, world.slack.workspace.names).splitlines() == [
        "production was locked by mona, now by hubot · @Mona octocat @Eve",
        "Reason: <!channel> *all* @here & more".translate(NEUTRAL),
        "[Unlock]",
    ]
    [button] = message.blocks[-1]["elements"]
    assert (button["action_id"], button["value"]) == ("unlock_lock", "7")
    assert len(world.messages("#oncall")) == 2
    posted = everywhere.discord.posted("deploys")[-1]
    first, second = posted.text.splitlines()
    assert first == "production was locked by mona, now by hubot"
    assert "\\<!channel> \\*all\\* \\@here" in second
    *_, event = everywhere.receiver.events.values()
    assert (event["type"], event["subject"]) == ("io.gitploy.relay.announcement", TAKEN.key)
    assert event["data"] == {
        "text": TAKEN.text,
        "mentions": list(TAKEN.mentions),
        "lock_id": 7,
    }
    assert set(everywhere.receiver.arrivals.values()) == {1}


async def test_what_cannot_be_sent_ends_and_is_deleted_in_time(everywhere: Everywhere) -> None:
    world = everywhere.world
    channel = world.slack.channel("#oncall")
    oncall = f"slack:{channel.id}"
    channel.archived = True
    await everywhere.announce(TAKEN, oncall, "slack:#former")
    entries = "select destination, state, error from outbox"

    def rejected() -> Any:
        return [row for row in world.rows(entries) if row["state"] == "rejected"] or None

    [row] = await until(rejected)
    assert row["destination"] == oncall
    assert "archived" in row["error"]
    [failed] = everywhere.lately_failed()
    assert (failed.destination, failed.error) == (oncall, row["error"])
    # Neither is tried any longer; the next one is.
    with world.clock.moved(timedelta(days=2)):
        world.bring_forward("true")
        left = f"select 1 from schedule where not {RECURRING}"
        await until(lambda: not world.rows(left) or None)
    assert rejected()
    channel.archived = False
    other = Announcement(key="lock:8:made", text="production is locked")
    await everywhere.announce(other, oncall)
    await world.idle()
    assert [render(one) for one in world.messages("#oncall")] == ["production is locked"]
    with world.clock.moved(timedelta(days=366)):
        async with world.timed(retention_interval=timedelta(milliseconds=50)):
            await until(lambda: not world.rows("select 1 from announcements") or None)
    assert not world.rows(entries)

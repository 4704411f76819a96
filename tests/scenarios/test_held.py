"""A deployment that has to wait says so everywhere, and what went instead of it."""

import asyncio
import json
import os
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from sandbox.event_receiver import EventReceiver
from sandbox.sandbox import Sandbox
from sandbox.slack.screen import render
from tests.world import QUICK, World, live, until
from webhook.__main__ import main
from webhook.timing import utc_now

DEPLOY_YML = """
slack: {channel: "#deploys"}
envs:
  - name: production
    handler: command
    with:
      run:
        - sh
        - -c
        - 'while ! test -e "$1"; do sleep 0.05; done; exit "$2"'
        - sh
        - "{payload.gate}"
        - "{payload.code}"
    webhook: {url: "${EVENTS_URL}", secret: "${EVENTS_SECRET}", states: [success]}
"""


def live_with(
    receiver: EventReceiver, store_url: str, tmp_path: Path
) -> AbstractAsyncContextManager[World]:
    environ = {"EVENTS_URL": receiver.address, "EVENTS_SECRET": receiver.secret}
    return live(store_url, tmp_path, DEPLOY_YML, environ=environ)


async def deliveries(world: World, deployment_id: int) -> dict[str, Any]:
    environ = {**world.setup.environ, "GITPLOY_STORE_SOURCE": world.store_url}
    runner = CliRunner(env={name: None for name in os.environ if name.startswith("GITPLOY_")})
    command = ["deliveries", "--json", "--deployment", str(deployment_id)]
    result = await asyncio.to_thread(runner.invoke, main, command, env=environ)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    [row] = [row for row in rows if row["event"] == "deployment"]
    return dict(row)


def shown(world: World, ref: str) -> list[str]:
    """The lines of the message about it."""
    [lines] = [lines for m in world.messages() if f"{ref} @" in (lines := render(m))]
    return lines.splitlines()


async def test_it_waits_for_the_running_one_and_a_newer_one_supersedes_it(
    store_url: str, tmp_path: Path
) -> None:
    gate = str(tmp_path / "gate")
    async with EventReceiver() as receiver, live_with(receiver, store_url, tmp_path) as world:
        running = await world.deploy(payload={"gate": gate, "code": "1"})
        await world.phase(running.id, "in_progress")
        held = await world.deploy(ref="v1", payload={"gate": gate, "code": "0"})
        await until(lambda: is_shown_on_hold(world, held.id) or None)
        reason = f"Waits for deployment {running.id} (main) to end"
        states = [(one.state, one.description) for one in world.github.statuses(held.id)]
        way_out = "Cancel that one to go on now"
        assert states[1:] == [("queued", f"{reason} (no known end). {way_out}")]
        first, second, *_ = shown(world, "v1")
        assert first.startswith("⏸️ acme/site to production on hold")
        assert second == f"• {reason}  ·  no known end  ·  {way_out}"
        page = await world.page(held.id)
        assert reason in page
        assert "1st of 1" in page
        assert "it ends with an error" in page
        row = await deliveries(world, held.id)
        assert (row["state"], row["reason"]) == ("queued", f"{reason} (no known end). {way_out}")

        newer = await world.deploy(ref="v2", payload={"gate": gate, "code": "0"})
        await world.github.wait_for(held.id, "inactive")
        Path(gate).touch()
        await world.github.wait_for(newer.id, "success")
        await world.idle()
        lines = shown(world, "v1")
        assert lines[0] == "⏭️ acme/site to production superseded"
        assert lines[1] == f"Superseded by deployment {newer.id} (v2)"
        assert any(f"Deployment {newer.id}" in line for line in lines)
        assert f"/{newer.id}?key=" in await world.page(held.id)
        assert "superseded" in (await deliveries(world, held.id))["state"]
        # It has not succeeded; and what came before it counts, since it never ran.
        [event] = receiver.events.values()
        assert (event["data"]["ref"], event["data"]["recovered"]) == ("v2", True)
        assert not any("•" in line for line in shown(world, "v2"))


def is_shown_on_hold(world: World, deployment_id: int) -> bool:
    if len(world.github.statuses(deployment_id)) < 2:
        return False
    return any("on hold" in render(message) for message in world.messages())


BEGIN = (utc_now() + timedelta(days=2)).replace(second=0, microsecond=0)
FROZEN = f"""
slack: {{channel: "#deploys"}}
envs:
  - name: production
    handler: command
    with: {{run: ["true"]}}
    frozen_windows:
      - {{from: {BEGIN:%Y-%m-%dT%H:%M}, to: {BEGIN + timedelta(hours=2):%Y-%m-%dT%H:%M}}}
"""


async def test_what_is_live_can_be_rolled_back_while_a_newer_one_waits(
    store_url: str, tmp_path: Path
) -> None:
    sandbox = Sandbox(interactive=True)
    soon = replace(QUICK, gates_asked_again_after=timedelta(seconds=0.2))
    async with live(store_url, tmp_path, FROZEN, sandbox=sandbox, timing=soon) as world:
        for ref in ("v1", "v2"):
            await world.deployed(ref=ref)
        assert "[Roll back]" in shown(world, "v2")[-1]
        world.clock.ahead = BEGIN - utc_now()
        held = await world.deploy(ref="v3")
        await until(lambda: is_shown_on_hold(world, held.id) or None)
        await until(lambda: "[Roll back]" in shown(world, "v2")[-1] or None)
        assert "[Roll back]" not in shown(world, "v3")[-1]
        world.clock.ahead = BEGIN + timedelta(hours=2) - utc_now()
        await world.github.wait_for(held.id, "success")
        await until(lambda: "[Roll back]" in shown(world, "v3")[-1] or None)
        await until(lambda: "[Roll back]" not in shown(world, "v2")[-1] or None)

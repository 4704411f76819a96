"""Deployments that began before deploy.yml was read again: they keep their environment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.github.model import Deployment
from sandbox.slack.screen import render
from sandbox.tooling import Mode, Tooling
from tests.world import World, live, until
from webhook import startup
from webhook.check import Finding
from webhook.check.store import Stored, check_store
from webhook.config.environments import Config
from webhook.settings import Settings

TOKEN = "0f-the-tool-alone"
# The variable's name does not say that it is a secret.
POLLED = """
  - name: polled
    handler: endpoint
    serialization: false
    with: {url: "${TOOL}/deploy", headers: {Authorization: "Bearer ${TOOL_ENTRY}"}}
    timeout: 20m
"""
COMMANDED = """
  - name: commanded
    handler: command
    serialization: false
    with:
      run: ["sh", "-c", 'while ! test -e "$1"; do sleep 0.05; done; exit 3', sh, "{payload.gate}"]
"""
OLD = f"""
slack: {{channel: "#deploys", failures: "#oncall"}}
envs:
{POLLED}
{COMMANDED}
"""
ELSEWHERE = """
slack: {channel: "#elsewhere", failures: "#nobody"}
envs:
  - name: polled
    handler: command
    with: {run: ["true"]}
    timeout: 10s
"""


@dataclass
class Reloading:
    """A relay that reads another deploy.yml in the middle of things."""

    world: World
    tool: Tooling
    folder: Path

    async def begin(self, environment: str, **fields: Any) -> Deployment:
        deployment = await self.world.deploy(environment, **fields)
        begun = "select 1 from deployments where id = %s and run is not null"
        await until(lambda: self.world.rows(begun, deployment.id) or None)
        return deployment

    async def read_again(self, text: str, *unset: str) -> None:
        """Without some variables."""
        world = self.world
        await world.stop_workers()
        (self.folder / "deploy.yml").write_text(text)
        environ = {name: one for name, one in world.setup.environ.items() if name not in unset}
        config = startup.read_config(environ)
        # A process knows those secrets only which its own file names.
        secrets = world.setup.secrets - {TOKEN}
        world.setup = replace(world.setup, config=config, environ=environ, secrets=secrets)
        world.start_worker()


@contextlib.asynccontextmanager
async def reloading(store_url: str, folder: Path) -> AsyncIterator[Reloading]:
    async with Tooling(token=TOKEN, mode=Mode.POLLED, takes=None) as tool:
        environ = {"TOOL": tool.url, "TOOL_ENTRY": TOKEN}
        async with live(store_url, folder, OLD, environ=environ) as world:
            world.slack.add_channel("elsewhere")
            yield Reloading(world, tool, folder)


async def test_what_runs_keeps_its_tool_its_timeout_and_its_channels(
    store_url: str, tmp_path: Path
) -> None:
    async with reloading(store_url, tmp_path) as relay:
        world, gate = relay.world, tmp_path / "gate"
        polled = await relay.begin("polled")
        commanded = await relay.begin("commanded", payload={"gate": str(gate)})
        await until(lambda: len(world.messages()) == 2 or None)
        await relay.read_again(ELSEWHERE)
        await relay.tool.set_state(polled.id, "failure", f"{TOKEN} is not enough")
        gate.touch()
        ends = [await world.github.wait_for(one.id, "failure") for one in (polled, commanded)]
        assert ends[1].description == "exit code 3"
        assert ends[0].description == "*** is not enough"
        # What begins now follows the present file.
        removed = await world.deploy("commanded", payload={"gate": str(gate)})
        status = await world.github.wait_for(removed.id, "error")
        assert status.description == (
            "No route for environment 'commanded' in this relay; known here: polled"
        )
        moved = await world.deploy("polled")
        await world.github.wait_for(moved.id, "success")
        await world.idle()
        assert len(relay.tool.jobs) == 1
        assert all(" failed after" in render(one) for one in world.messages())
        assert len(world.messages("#oncall")) == 2
        assert len(world.messages("#elsewhere")) == 1
        kept = world.rows("select text from configs")
        assert len(kept) == 2
        assert not any(b"polled" in row["text"] for row in kept)


async def test_without_its_variables_it_follows_the_present_file_or_ends_in_words(
    store_url: str, tmp_path: Path
) -> None:
    async with reloading(store_url, tmp_path) as relay:
        world, gate = relay.world, tmp_path / "gate"
        polled = await relay.begin("polled")
        commanded = await relay.begin("commanded", payload={"gate": str(gate)})
        here = POLLED.replace("${TOOL}", relay.tool.url).replace("${TOOL_ENTRY}", TOKEN)
        await relay.read_again(f"envs:\n{here}", "TOOL_ENTRY")
        status = await world.github.wait_for(commanded.id, "error")
        assert status.description == (
            "No route for environment 'commanded' in this relay; known here: polled"
        )
        await relay.tool.set_state(polled.id, "success")
        await world.github.wait_for(polled.id, "success")
        gate.touch()


async def test_a_text_is_deleted_some_days_after_its_last_use(
    store_url: str, tmp_path: Path
) -> None:
    async with reloading(store_url, tmp_path) as relay:
        world = relay.world
        await relay.begin("polled")
        await relay.read_again(ELSEWHERE)
        old = "select 1 from configs where digest = (select config_digest from deployments)"
        with world.clock.moved(timedelta(days=8)):
            async with world.timed(retention_interval=timedelta(milliseconds=50)):
                swept = "select 1 from configs where used_at > %s"
                [before] = world.rows("select now()")
                await until(lambda: world.rows(swept, before["now"]) or None)
                assert world.rows(old)
                world.execute(
                    "update deployments set ended_at = now(), starting = false, run = null"
                )
                await until(lambda: not world.rows(old) or None)
        assert len(world.rows("select 1 from configs")) == 1


async def test_workers_of_one_machine_that_read_different_files_are_named(
    store_url: str, tmp_path: Path
) -> None:
    environ = {"TOOL": "http://127.0.0.1:9", "TOOL_ENTRY": TOKEN, "GITPLOY_STORE_SOURCE": store_url}
    async with live(store_url, tmp_path, OLD, environ=environ) as world:
        await until(lambda: world.rows("select 1 from workers") or None)
        (tmp_path / "deploy.yml").write_text(ELSEWHERE)
        world.setup = replace(world.setup, config=startup.read_config(world.setup.environ))
        assert (await _findings(world))["config"] == "ok"
        world.start_worker()
        both = "select 1 from workers having count(*) = 2"
        await until(lambda: world.rows(both) or None)
        found = await _findings(world)
        assert found["config"].endswith("if that lasts, run there: python -m webhook reload")
        assert found["ready"] is True
        settings, config = world.setup.settings, world.setup.config
        lines = [one.line() for one in await asyncio.to_thread(check_store_of, settings, config)]
        assert [line for line in lines if "1 runs since" in line and "another deploy.yml" in line]
        assert [line for line in lines if "those of one machine have read different" in line]


def check_store_of(settings: Settings, config: Config) -> list[Finding]:
    return list(check_store(settings, config, Stored()))


async def _findings(world: World) -> Any:
    url = f"{world.url}/readyz?verbose"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.json()

"""Every tool behind one relay: each environment its own, all at once, and what kills leave."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

import pytest

from handlers import HANDLERS
from tests.tools_world import ENVIRONMENTS, at_work
from tests.world import World, until
from webhook.sandbox.faults import Fault
from webhook.sandbox.tools import SECRETS

ROOT = Path(__file__).parents[1]
# The call with which each tool starts; a workflow that is only watched is not started by us.
STARTS = {
    "drone": "POST /repos/*/promote",
    "endpoint": "POST /deploy",
    "spinnaker": "POST /webhooks/webhook/*",
    "woodpecker": "POST /repos/*/pipelines/*",
}


def test_every_handler_has_its_part_here() -> None:
    assert {*ENVIRONMENTS, "command"} == set(HANDLERS)


async def test_each_environment_has_its_own_tool_and_all_work_at_once(
    store_url: str, tmp_path: Path
) -> None:
    async with at_work(store_url, tmp_path, workers=2) as (world, tools):
        asked = []
        for ref in ("v1", "v2"):
            tools.build(ref)
            for name in (*ENVIRONMENTS.values(), f"preview/{ref}"):
                asked.append(await world.deploy(name, ref=ref))
        for deployment in asked:
            status = await world.github.wait_for(
                deployment.id, "success", "failure", "error", within=60
            )
            assert status.state == "success", (deployment.environment, status.description)
        await world.idle()
        for deployment in asked:
            states = [state for state in world.github.states(deployment.id) if state != "inactive"]
            assert states[-1] == "success", deployment.environment
            if deployment.environment == "staging":  # its workflow writes statuses as well
                assert "queued" not in states[1:]
            else:
                assert states == ["queued", "in_progress", "success"], deployment.environment
        assert {name: tools.started(name) for name in ENVIRONMENTS} == {
            "drone": 2,
            "endpoint": 2,
            "github-actions": len(asked),  # every deployment starts it; its `if:` skips the others
            "spinnaker": 2,
            "woodpecker": 2,
        }
        assert len(world.slack.messages("#deploys")) == len(asked)
        assert not any(secret in str(world.slack.messages("#deploys")) for secret in SECRETS)


async def started_worker(world: World, environ: dict[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "webhook", "worker"),
        env={"PATH": os.environ["PATH"], **environ, **SECRETS},
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


@pytest.mark.timeout(180)
async def test_a_kill_between_the_tools_answer_and_our_record_starts_nothing_twice(
    store_url: str, tmp_path: Path
) -> None:
    async with at_work(store_url, tmp_path, workers=0) as (world, tools):
        settings = world.setup.settings
        config = tmp_path / "deploy.yml"
        environ = world.sandbox.environ(settings.data_dir, config, settings.port)
        environ["GITPLOY_STORE_SOURCE"] = store_url
        world.github.webhook_url = f"{settings.server_url}/webhook"
        tools.build("v1")
        for name, call in STARTS.items():
            tools.servers[name].faults.add(call, Fault.hang_after(60))
        asked = {name: await world.deploy(ENVIRONMENTS[name], ref="v1") for name in STARTS}
        worker = await started_worker(world, environ)
        await until(lambda: all(tools.started(name) == 1 for name in STARTS) or None, within=40)
        os.kill(worker.pid, signal.SIGKILL)
        await worker.wait()
        assert world.rows("select 1 from deployments where run is not null") == []
        worker = await started_worker(world, environ)
        try:
            for name, deployment in asked.items():
                status = await world.github.wait_for(
                    deployment.id, "success", "failure", "error", within=90
                )
                assert status.state == "success", (name, status.description)
        finally:
            worker.terminate()
            await worker.wait()
        assert {name: tools.started(name) for name in STARTS} == dict.fromkeys(STARTS, 1)

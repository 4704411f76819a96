"""Every tool behind one relay: all at once, and after a kill."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from itertools import groupby
from pathlib import Path

import pytest

from handlers import HANDLERS
from sandbox.demo.tools import SECRETS, Tools
from sandbox.faults import Fault
from tests.scenarios.all_tools import DISPATCHED, ENVIRONMENTS, relay_with_tools
from tests.world import World, until

ROOT = Path(__file__).parents[2]
# The call with which each tool starts; a workflow that is only watched is not started by us.
STARTS = {
    "drone": "POST /repos/*/promote",
    "endpoint": "POST /deploy",
    "github-actions": "POST /repos/*/dispatches",
    "spinnaker": "POST /webhooks/webhook/*",
    "woodpecker": "POST /repos/*/pipelines/*",
}
STARTED = ENVIRONMENTS | {"github-actions": DISPATCHED}
# The call succeeded before the kill, but Drone acts late: longer after the call than another
# worker needs to continue a dead one's work.
ACTS_AT_ONCE, ACTS_LATE = Fault.hang_after(60), Fault(delay=6, acts=True)


def test_every_handler_is_covered_here() -> None:
    assert {*ENVIRONMENTS, "command"} == set(HANDLERS)


@pytest.mark.slow
async def test_each_environment_has_its_own_tool_and_all_work_at_once(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_tools(store_url, tmp_path, workers=2) as (world, tools):
        # Or the workflow writes that it runs before the relay has written that it is queued.
        tools.actions.runs.delay = 2
        requested = []
        for ref in ("v1", "v2"):
            tools.build(ref)
            for name in (*ENVIRONMENTS.values(), f"preview/{ref}"):
                requested.append(await world.deploy(name, ref=ref))
        for deployment in requested:
            status = await world.github.wait_for(
                deployment.id, "success", "failure", "error", within=60
            )
            assert status.state == "success", (deployment.environment, status.description)
        await world.idle()
        for deployment in requested:
            states = [state for state in world.github.states(deployment.id) if state != "inactive"]
            assert states[-1] == "success", deployment.environment
            if deployment.environment == "staging":
                continue  # its workflow writes statuses too; one that ours hide is written again
            # While it runs it may have several descriptions.
            in_order = [state for state, _ in groupby(states)]
            assert in_order == ["queued", "in_progress", "success"], deployment.environment
            assert states.count("success") == 1
        assert {name: tools.started(name) for name in ENVIRONMENTS} == {
            "drone": 2,
            "endpoint": 2,
            "github-actions": len(
                requested
            ),  # every deployment starts it; its `if:` skips the others
            "spinnaker": 2,
            "woodpecker": 2,
        }
        assert len(world.messages()) == len(requested)
        shown = str(world.messages())
        assert not any(secret in shown for secret in SECRETS.values())


def created_for(tools: Tools, name: str) -> int:
    """How many starts have reached the tool, which may execute them later."""
    match name:
        case "drone":
            return len(tools.drone.called("POST", "/promote"))
        case "github-actions":
            return sum(
                run.event == "workflow_dispatch" for run in tools.actions.runs.by_id.values()
            )
    return tools.started(name)


@contextlib.asynccontextmanager
async def a_worker(world: World, store_url: str, config: Path) -> AsyncIterator[Process]:
    """In a process of its own, which can be killed."""
    settings = world.setup.settings
    environ = world.sandbox.environ(settings.data_dir, config, settings.port)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "webhook", "worker"),
        env={"PATH": os.environ["PATH"], **environ, "GITPLOY_STORE_SOURCE": store_url, **SECRETS},
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield worker
    finally:
        if worker.returncode is None:
            worker.terminate()
        await worker.wait()


@pytest.mark.slow
async def test_a_kill_between_the_tools_response_and_our_record_starts_nothing_twice(
    store_url: str, tmp_path: Path
) -> None:
    config = tmp_path / "deploy.yml"
    async with relay_with_tools(store_url, tmp_path, workers=0) as (world, tools):
        world.github.webhook_url = f"{world.url}/webhook"
        tools.build("v1")
        for name, call in STARTS.items():
            fault = ACTS_LATE if name == "drone" else ACTS_AT_ONCE
            tools.servers[name].faults.add(call, fault)
        requested = {name: await world.deploy(STARTED[name], ref="v1") for name in STARTS}
        async with a_worker(world, store_url, config) as worker:
            every = dict.fromkeys(STARTS, 1)
            await until(
                lambda: {name: created_for(tools, name) for name in STARTS} == every or None,
                within=40,
            )
            worker.kill()
        assert world.rows("select 1 from deployments where run is not null") == []
        lookups = len(tools.drone.called("GET", "/builds"))
        # As if its claims had ended by now.
        world.execute("update schedule set due_at = now() where claimed_by is not null")
        world.start_worker()
        for name, deployment in requested.items():
            status = await world.github.wait_for(
                deployment.id, "success", "failure", "error", within=60
            )
            assert status.state == "success", (name, status.description)
        assert {name: created_for(tools, name) for name in STARTS} == every
        [promoted] = tools.drone.called("POST", "/promote")
        looked_up = tools.drone.called("GET", "/builds")
        assert looked_up[lookups].time < promoted.time + ACTS_LATE.delay, (
            "too late to prove anything"
        )
        assert tools.started("drone") == 1

"""How often a tool over HTTP is started that may have run, and what it says about it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from sandbox.faults import Fault
from sandbox.hook_server import HookServer
from tests.world import World, live, until

DEPLOY_YML = """
slack: {channel: "#deploys"}
envs:
  - name: hook
    handler: endpoint
    serialization: false
    with: {url: "${HOOKS}/hooks/deploy"}
  - {name: safe, handler: endpoint, with: {url: "${HOOKS}/hooks/deploy", restart: safe}}
"""
HELD = "Started 3 times, may have run: check there, then Cancel and Retry. "


@contextlib.asynccontextmanager
async def relay_with_hooks(store_url: str, folder: Path) -> AsyncIterator[tuple[World, HookServer]]:
    async with HookServer() as hooks:
        environ = {"HOOKS": hooks.url}
        async with live(store_url, folder, DEPLOY_YML, environ=environ) as world:
            yield world, hooks


def held(world: World, deployment_id: int, begins: str = HELD) -> str | None:
    """The description with which the deployment waits for a person, on GitHub too."""
    query = "select description from timeline where deployment_id = %s and held"
    rows = world.rows(query, deployment_id)
    written = [status.description for status in world.github.statuses(deployment_id)]
    return rows[0]["description"] if rows and written[-1].startswith(begins) else None


async def time_is_up(world: World) -> None:
    # In a thread: the worker that may hold the row needs this one.
    over = "deadline = now(), start_claimed_until = now(), version = version + 1"
    await asyncio.to_thread(world.execute, f"update deployments set {over}")
    await work_again(world)


async def work_again(world: World) -> None:
    due = "update schedule set due_at = now() where task = 'advance' and claimed_by is null"
    await asyncio.to_thread(world.execute, due)


@pytest.mark.slow
async def test_a_start_that_may_have_run_is_repeated_twice_and_then_held(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_hooks(store_url, tmp_path) as (world, hooks):
        hooks.output = None
        hooks.faults.add("*", Fault.drop_after())
        deployment = await world.deploy("hook")
        description = await until(lambda: held(world, deployment.id))
        assert description.startswith(f"{HELD}the tool at ")
        assert "returned 500: Error occurred while executing the hook's" in description
        await until(lambda: [it for it in world.replies() if "Cancel and Retry" in it.text] or None)
        cancelled = await world.deploy("hook")
        await until(lambda: held(world, cancelled.id))
        await asyncio.to_thread(
            world.execute,
            "update deployments set version = version + 1, cancel_requested_by = 'octocat'"
            f" where id = {cancelled.id}",
        )
        await work_again(world)
        status = await world.github.wait_for(cancelled.id, "error")
        assert status.description.startswith("Cancelled by octocat; an earlier start may have got")
        await time_is_up(world)
        status = await world.github.wait_for(deployment.id, "error")
        assert status.description.startswith(f"Gave up after 30m: {HELD}")
        assert len(hooks.executions) == 6


async def test_a_last_start_of_a_worker_that_was_killed_is_held(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_hooks(store_url, tmp_path) as (world, hooks):
        hooks.output = None
        async with world.timed(restarts_after=(timedelta(hours=1),)):
            deployment = await world.deploy("hook")
            failed = "select 1 from deployments where tool_error <> ''"
            await until(lambda: world.rows(failed) or None)
            # As a worker leaves it that claims the second start, calls the tool and is killed.
            claim = "possible_starts = 2, start_claimed_until = now(), version = version + 1"
            await asyncio.to_thread(world.execute, f"update deployments set {claim}")
            await work_again(world)
            description = await until(lambda: held(world, deployment.id, "Started 2 times, "))
        assert "returned 500: Error occurred" in description
        assert len(hooks.executions) == 1


@pytest.mark.slow
async def test_a_tool_that_knows_the_key_is_started_until_it_answers(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_hooks(store_url, tmp_path) as (world, hooks):
        hooks.faults.add("*", Fault.status(500, acts=True), times=4)
        hooks.output = "deploying"
        deployment = await world.deploy("safe")
        status = await world.github.wait_for(deployment.id, "in_progress", within=20)
        assert status.description == "the tool says 'deploying'; waiting for its reports"
        assert len(hooks.executions) == 5


async def test_a_tool_that_reports_after_an_unclear_start_is_not_started_again(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_hooks(store_url, tmp_path) as (world, hooks):
        hooks.faults.add("*", Fault.drop_after())
        async with world.timed(restarts_after=(timedelta(seconds=1),)):
            deployment = await world.deploy("hook")
            [body] = await until(lambda: hooks.executions or None)
            report = json.loads(body)["report"]
            headers = {"Authorization": f"Bearer {report['token']}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                await session.post(report["url"], json={"state": "in_progress"})
                recorded = "select 1 from deployments where run is not null"
                await until(lambda: world.rows(recorded) or None)
                await session.post(report["url"], json={"state": "success"})
            await world.github.wait_for(deployment.id, "success")
        assert len(hooks.executions) == 1


async def test_a_no_with_200_and_long_headers_is_shown(store_url: str, tmp_path: Path) -> None:
    async with relay_with_hooks(store_url, tmp_path) as (world, hooks):
        hooks.satisfied = False
        hooks.headers = {"Content-Security-Policy": "x" * 20_000}
        deployment = await world.deploy("hook")
        status = await world.github.wait_for(deployment.id, "in_progress")
        said = "the tool says 'Hook rules were not satisfied.'; waiting for its reports"
        assert status.description == said
        assert hooks.executions == []

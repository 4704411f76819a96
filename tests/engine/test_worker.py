"""Dead workers, lost jobs, runs that end badly."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from handlers.command import Command
from handlers.contract import Deployment, Run
from tests.world import DEPLOY_YML, World, live, until
from webhook import startup
from webhook.timing import Timing

PRODUCT = Timing()  # worlds have a quicker one
ODD_YML = """
slack: {channel: "#deploys"}
envs:
  - {name: missing, handler: command, with: {run: ["./not-there"]}}
  - {name: loud, handler: command, with: {run: ["head", "-c", "100000000", "/dev/zero"]}}
  - {name: endless, handler: command, with: {run: ["sleep", "60"]}, timeout: 10s}
"""


@pytest.fixture
async def idle_world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, workers=0) as world:
        yield world


def execute(world: World, query: str, *values: Any) -> None:
    with psycopg.connect(world.store_url) as connection:
        connection.execute(query, values)


async def test_the_jobs_of_a_dead_worker_are_taken_over_within_30_s(idle_world: World) -> None:
    assert PRODUCT.worker_stalled_after + PRODUCT.rescue_interval < timedelta(seconds=30)
    world = idle_world
    deployment = await world.deploy("production")
    await world.github.settled()
    execute(
        world,
        "insert into procrastinate_workers (last_heartbeat)"
        " values (now() - %s * interval '1 second')",
        PRODUCT.worker_stalled_after.total_seconds() - 2,
    )
    execute(
        world,
        "update procrastinate_jobs set status = 'doing',"
        " worker_id = (select id from procrastinate_workers)",
    )
    world.start_worker()
    await until(lambda: world.rows("select 1 from procrastinate_workers offset 1") or None)
    assert world.github.states(deployment.id) == []  # it may live
    await world.github.wait_for(deployment.id, "success", within=15)


async def test_a_deployment_that_lost_its_job_is_taken_up(
    idle_world: World, tmp_path: Path
) -> None:
    world = idle_world
    world.start_worker()
    gate = tmp_path / "gate"
    deployment = await world.begin_slow(gate)
    await world.stop_workers()
    execute(world, "delete from procrastinate_jobs")
    execute(world, "update deployments set asked_at = now() - interval '2 minutes'")
    gate.touch()
    world.start_worker()
    await world.github.wait_for(deployment.id, "success", within=20)


async def test_a_run_of_a_machine_that_is_gone_is_lost_and_not_started_again(
    idle_world: World, tmp_path: Path
) -> None:
    world = idle_world
    world.start_worker()
    gate = tmp_path / "gate"
    deployment = await world.begin_slow(gate)
    await world.stop_workers()
    execute(world, "update places set seen_at = now() - interval '2 minutes'")
    execute(
        world, "insert into places (place, since) values ('another disk', now() - interval '5 min')"
    )
    world.setup = replace(world.setup, place="another disk")
    world.start_worker()
    status = await world.github.wait_for(deployment.id, "error", within=20)
    assert status.description.startswith("lost: the machine that ran it is gone")
    gate.touch()
    await world.idle()
    assert world.github.states(deployment.id) == ["queued", "in_progress", "error"]


async def test_workers_on_two_machines_leave_each_other_their_runs(
    idle_world: World, tmp_path: Path
) -> None:
    world = idle_world
    gate = tmp_path / "gate"
    world.start_worker()
    asked = [await world.deploy("slow", payload={"gate": str(gate)}) for _ in range(6)]
    for deployment in asked:
        await world.phase(deployment.id, "in_progress")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    settings = world.setup.settings.model_copy(update={"data_dir": folder})
    world.setup = replace(world.setup, place="elsewhere", settings=settings)
    world.start_worker()
    await until(lambda: world.rows("select 1 from places where place = 'elsewhere'") or None)
    # While both look after everything, another one comes and goes at whichever place is free.
    another = await world.deploy("production")
    await world.github.wait_for(another.id, "success", within=40)
    gate.touch()
    for deployment in asked:
        await world.github.wait_for(deployment.id, "success", within=40)


async def test_a_route_that_is_gone_ends_its_deployments_once(
    idle_world: World, tmp_path: Path
) -> None:
    world = idle_world
    world.start_worker()
    gate = tmp_path / "gate"
    deployment = await world.begin_slow(gate)
    await world.stop_workers()
    file = tmp_path / "deploy.yml"
    file.write_text(DEPLOY_YML[: DEPLOY_YML.index('  - name: "slow*"')])
    config = startup.read_config(world.setup.environ)
    world.setup = replace(world.setup, config=config)
    world.start_worker()
    await world.github.wait_for(deployment.id, "error", within=20)
    await world.github.create_status(deployment.id, "in_progress")
    gate.touch()
    await world.idle()
    assert world.github.states(deployment.id).count("error") == 1


async def test_a_command_that_is_not_there_is_an_error_in_words(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, ODD_YML) as world:
        deployment = await world.deploy("missing")
        status = await world.github.wait_for(deployment.id, "error", within=20)
        assert status.description == "the command './not-there' is not there"


async def test_100_mb_of_output_are_kept_in_part(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, ODD_YML) as world:
        deployment = await world.deploy("loud")
        await world.github.wait_for(deployment.id, "success", within=30)
        await world.idle()
        [row] = world.rows("select sum(length(chunk)) as size from output")
        assert 1_000_000 < row["size"] < 1_200_000
        [notice] = world.rows("select 1 as found from output where chunk like '%%left out%%'")
        assert notice["found"]


async def test_a_run_that_takes_too_long_is_ended_in_words(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, ODD_YML, workers=0) as world:
        config = world.setup.config
        # Shorter than deploy.yml may say.
        envs = tuple(e.model_copy(update={"timeout": timedelta(seconds=1)}) for e in config.envs)
        world.setup = replace(world.setup, config=replace(config, envs=envs))
        world.start_worker()
        deployment = await world.deploy("endless")
        status = await world.github.wait_for(deployment.id, "error", within=12)
        assert status.description == "timed out after 1s"


class Faulty(Command):
    """A handler with a bug in it."""

    async def check(self, deployment: Deployment, run: Run) -> Run:
        raise ZeroDivisionError


async def test_a_fault_of_ours_ends_in_an_answer(store_url: str, tmp_path: Path) -> None:
    handlers = {"command": Faulty}
    async with live(store_url, tmp_path, ODD_YML, handlers=handlers) as world:
        deployment = await world.deploy("endless")
        await world.phase(deployment.id, "in_progress")
        over = "update deployments set deadline = now() - interval '1 minute'"
        # In a thread: a job in the way, which this waits for, goes on in this one.
        await asyncio.to_thread(execute, world, over)
        status = await world.github.wait_for(deployment.id, "error", within=40)
        assert "The relay itself failed" in status.description


async def test_old_bodies_are_dropped_and_young_ones_kept(idle_world: World) -> None:
    world = idle_world
    for _ in range(2):
        await world.github.ping()
    await world.github.settled()
    execute(world, "update deliveries set outcome = 'done'")
    execute(
        world,
        "update deliveries set received_at = now() - interval '31 days'"
        " where id = (select min(id) from deliveries)",
    )
    execute(
        world,
        "insert into procrastinate_jobs (queue_name, task_name, args)"
        " values ('default', 'prune', '{\"timestamp\": 0}')",
    )
    world.start_worker()
    await until(lambda: world.rows("select 1 from deliveries where body = ''") or None)
    sizes = world.rows("select length(body) > 0 as kept from deliveries order by id")
    assert [row["kept"] for row in sizes] == [False, True]

"""Dead workers, lost jobs, machines that are gone, connections that break."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from sandbox.faults import Fault
from tests.world import World, live, until
from webhook.timing import Timing

PRODUCT = Timing()  # worlds have a quicker one


@pytest.mark.slow
async def test_what_a_dead_worker_did_is_done_again_within_30_s(idle_world: World) -> None:
    assert PRODUCT.worker_stalled_after < timedelta(seconds=30)
    world = idle_world
    deployment = await world.deploy("production")
    await world.github.settled()
    world.execute("update schedule set claimed_by = 'dead', due_at = now() + interval '2 seconds'")
    world.start_worker()
    await until(lambda: world.rows("select 1 from workers") or None)
    assert world.github.states(deployment.id) == []  # that worker may be alive
    await world.github.wait_for(deployment.id, "success", within=15)


async def test_a_deployment_that_nobody_follows_is_followed_again(
    idle_world: World, tmp_path: Path
) -> None:
    world = idle_world
    world.start_worker()
    gate = tmp_path / "gate"
    deployment = await world.begin_slow(gate)
    await world.stop_workers()
    world.execute("delete from schedule")
    world.execute("update deployments set requested_at = now() - interval '2 minutes'")
    gate.touch()
    world.start_worker()
    await world.github.wait_for(deployment.id, "success", within=20)


# PostgreSQL ends the connection in which the end of the first check is recorded. A sequence counts
# on although its transaction is lost.
BREAK_ONCE = """
create sequence recorded;
create function break_once() returns trigger language plpgsql as $$
begin
    if nextval('recorded') = 1 then
        perform pg_terminate_backend(pg_backend_pid());
        perform pg_sleep(1);
    end if;
    return new;
end $$;
create trigger break_once before update on schedule for each row
    when (old.task = 'advance' and old.claimed_by is not null and new.claimed_by is null)
    execute function break_once();
"""


@pytest.mark.slow
async def test_what_was_not_recorded_is_recorded_again(idle_world: World) -> None:
    """The connection breaks between the check and its record."""
    world = idle_world
    world.execute(BREAK_ONCE)
    world.start_worker()
    gate = world.setup.settings.data_dir / "gate"
    deployment = await world.begin_slow(gate)
    gate.touch()
    await world.github.wait_for(deployment.id, "success", within=30)
    [counted] = world.rows("select last_value from recorded")
    assert counted["last_value"] > 1


async def test_a_run_of_a_machine_that_is_gone_is_lost_and_not_started_again(
    idle_world: World, tmp_path: Path
) -> None:
    world = idle_world
    world.start_worker()
    gate = tmp_path / "gate"
    deployment = await world.begin_slow(gate)
    await world.stop_workers()
    world.execute("update machines set seen_at = now() - interval '2 minutes'")
    world.execute(
        "insert into machines (id, since) values ('another disk', now() - interval '5 min')"
    )
    world.setup = replace(world.setup, machine_id="another disk")
    world.start_worker()
    status = await world.github.wait_for(deployment.id, "error", within=20)
    assert status.description.startswith("lost: the machine that ran it is gone")
    gate.touch()
    await world.idle()
    assert world.github.states(deployment.id) == ["queued", "in_progress", "error"]


async def test_a_machine_is_known_before_a_command_starts_on_it(
    idle_world: World, tmp_path: Path
) -> None:
    """Whatever has become of its worker's heartbeat, as after the machine was suspended."""
    world = idle_world
    world.timing = replace(world.timing, rescue_interval=timedelta(minutes=1))
    world.start_worker()
    await until(lambda: world.rows("select 1 from workers") or None)
    world.execute("update machines set seen_at = now() - interval '2 minutes'")
    deployment = await world.begin_slow(tmp_path / "gate")
    assert world.rows("select 1 from machines where seen_at > now() - interval '1 minute'")
    (tmp_path / "gate").touch()
    await world.github.wait_for(deployment.id, "success")


@pytest.mark.slow
async def test_workers_on_two_machines_leave_each_other_their_runs(
    idle_world: World, tmp_path: Path
) -> None:
    world = idle_world
    gate = tmp_path / "gate"
    world.start_worker()
    requested = [await world.deploy("slow", payload={"gate": str(gate)}) for _ in range(6)]
    for deployment in requested:
        await world.phase(deployment.id, "in_progress")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    settings = world.setup.settings.model_copy(update={"data_dir": folder})
    world.setup = replace(world.setup, machine_id="elsewhere", settings=settings)
    world.start_worker()
    await until(lambda: world.rows("select 1 from machines where id = 'elsewhere'") or None)
    # While both follow all of them, the one with a free slot runs the next job.
    another = await world.deploy("production")
    await world.github.wait_for(another.id, "success", within=40)
    gate.touch()
    for deployment in requested:
        await world.github.wait_for(deployment.id, "success", within=40)


@pytest.mark.slow
async def test_a_worker_survives_lost_connections_to_the_store(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path) as world:
        await until(lambda: world.rows("select 1 from workers") or None)
        with psycopg.connect(store_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        deployment = await world.deploy()
        await world.github.settled()
        for delivery in list(world.github.deliveries):
            await world.github.redeliver(delivery.guid)
        await world.github.wait_for(deployment.id, "success", within=40)
        assert not world.workers[0][0].done()


@pytest.mark.slow
async def test_a_github_that_hangs_does_not_block_other_work(
    store_url: str, tmp_path: Path
) -> None:
    """What needs no GitHub continues: deliveries are routed, Slack gets its messages."""
    async with live(store_url, tmp_path) as world:
        world.github.faults.add("POST /app/installations/*", Fault.hang(30), times=1000)
        for _ in range(24):
            await world.deploy()
        await world.github.settled()
        waiting = "select 1 from deliveries where outcome is null"
        await until(lambda: None if world.rows(waiting) else True, within=25)
        await until(lambda: True if len(world.messages()) == 24 else None, 25)
        await world.github.stop()  # or the worker waits for it when it stops

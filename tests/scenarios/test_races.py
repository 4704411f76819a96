"""What happens seldom, and must not end in silence, twice, or backwards."""

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from procrastinate.manager import JobManager

from handlers.command import Command
from handlers.contract import Deployment, Run
from sandbox.demo.screen import render
from sandbox.faults import Fault
from tests.world import DEPLOY_YML, World, live, until
from webhook.store import jobs, machines
from webhook.store.database import async_pool

STATUSES = "POST /repos/*/deployments/*/statuses"
SENT = ["queued", "in_progress", "success"]


async def suspended(world: World, action: str) -> None:
    world.sandbox.installation.suspended = action == "suspend"
    body = {"action": action, "installation": {"id": world.sandbox.installation.id}}
    await world.github.deliver("installation", body)


def unsent(world: World) -> Any:
    query = "select 1 from outbox where kind = 'status' and state = 'waiting' and error <> ''"
    return world.rows(query) or None


async def test_a_job_whose_end_could_not_be_recorded_is_taken_up_again(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection went away in the moment between the job and its record."""
    real = JobManager.retry_job
    failed: list[Job] = []

    async def broken_once(self: JobManager, job: Job, **more: Any) -> None:
        if job.task_name == "advance" and not failed:
            failed.append(job)
            raise ConnectorException("server closed the connection")
        await real(self, job, **more)

    monkeypatch.setattr(JobManager, "retry_job", broken_once)
    deploy_yml = DEPLOY_YML.replace("echo deploying", "sleep 1; echo deploying")
    async with live(store_url, tmp_path, deploy_yml) as world:
        deployment = await world.deploy()
        await world.github.wait_for(deployment.id, "success", within=30)
        assert failed


async def test_ours_do_not_cover_an_end_that_somebody_else_reported(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with live(store_url, tmp_path) as world:
        world.github.faults.add(STATUSES, Fault.rate_limited(1), times=1000)
        deployment = await world.begin_slow(gate)
        await world.github.create_status(deployment.id, "success")
        await world.phase(deployment.id, "success")
        world.github.faults.clear()
        gate.touch()
        await world.idle()
        assert world.github.states(deployment.id) == ["success"]


async def test_our_own_status_may_come_back_before_we_know_its_id(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path) as world:
        real = world.github.events.deployment_status

        def without_app(*arguments: Any) -> Any:
            body = real(*arguments)
            body["deployment_status"]["performed_via_github_app"] = None
            return body

        world.github.events.deployment_status = without_app
        world.github.faults.add(STATUSES, Fault.drop_after())
        deployment = await world.deploy()
        await world.github.wait_for(deployment.id, "success", within=30)
        assert world.github.states(deployment.id) == SENT


async def test_a_suspend_event_does_not_hold_back_the_unsuspend_one(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with live(store_url, tmp_path) as world:
        deployment = await world.deploy("slow", payload={"gate": str(gate)})
        await world.github.wait_for(deployment.id, "in_progress", within=20)
        await suspended(world, "suspend")
        gate.touch()
        await until(lambda: unsent(world))
        await suspended(world, "suspend")
        await suspended(world, "unsuspend")
        await world.github.wait_for(deployment.id, "success", within=20)


async def test_a_suspension_that_we_were_not_told_of_loses_no_status(
    store_url: str, tmp_path: Path
) -> None:
    """The token is still in our cache; GitHub refuses the call itself."""
    gate = tmp_path / "gate"
    async with live(store_url, tmp_path) as world:
        deployment = await world.deploy("slow", payload={"gate": str(gate)})
        await world.github.wait_for(deployment.id, "in_progress", within=20)
        world.sandbox.installation.suspended = True
        gate.touch()
        await until(lambda: unsent(world))
        await suspended(world, "unsuspend")
        await world.github.wait_for(deployment.id, "success", within=20)


async def test_an_environment_url_that_github_refuses_costs_only_itself(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    deploy_yml = DEPLOY_YML.rstrip().removesuffix("}") + ', environment_url: "https://odd"}'
    async with live(store_url, tmp_path, deploy_yml) as world:
        deployment = await world.deploy("slow", payload={"gate": str(gate)})
        await world.github.wait_for(deployment.id, "in_progress", within=20)
        refusal = {"message": "Validation Failed", "errors": ["environment_url is odd"]}
        world.github.faults.add(STATUSES, Fault.status(422, refusal))
        gate.touch()
        status = await world.github.wait_for(deployment.id, "success", within=20)
        assert status.environment_url == ""


async def test_a_secret_of_deploy_yml_is_hidden_in_what_goes_out(
    store_url: str, tmp_path: Path
) -> None:
    deploy_yml = """
slack: {channel: "#deploys"}
envs:
  - name: production
    handler: command
    with: {run: ["echo", "{payload.user}:${DEPLOY_WORD}"]}
"""
    secret = {"DEPLOY_WORD": "hunter2-very-secret"}
    async with live(store_url, tmp_path, deploy_yml, environ=secret) as world:
        deployment = await world.deploy(payload={"user": "-x"})
        status = await world.github.wait_for(deployment.id, "error", within=20)
        await world.idle()
        shown = status.description + "".join(map(render, world.told()))
        assert "***" in shown
        assert "hunter2" not in shown


async def test_a_run_goes_on_to_be_followed_if_somebody_ends_its_deployment_at_its_start(
    store_url: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    def end_it() -> None:
        with psycopg.connect(store_url) as connection:
            connection.execute(
                "update deployments set phase = 'failure', ended_at = now(), version = version + 1"
            )

    class EndedMeanwhile(Command):
        async def start(self, deployment: Deployment) -> Run:
            run = await super().start(deployment)
            await asyncio.to_thread(end_it)
            return run

    async with live(store_url, tmp_path, handlers={"command": EndedMeanwhile}) as world:
        deployment = await world.deploy("slow", payload={"gate": str(gate)})
        await world.phase(deployment.id, "failure")
        running = "select 1 from deployments where run->>'state' = 'in_progress'"
        await until(lambda: world.rows(running) or None)
        gate.touch()
        ended = (
            "select 1 from timeline where actor = 'command' and state = 'success' and not counted"
        )
        await until(lambda: world.rows(ended) or None)


async def test_output_that_cannot_be_read_does_not_hide_how_the_run_ended(
    store_url: str, tmp_path: Path
) -> None:
    class Unreadable(Command):
        async def read_output(self, deployment: Deployment, offset: int) -> bytes:
            raise PermissionError(13, "Permission denied")

    async with live(store_url, tmp_path, handlers={"command": Unreadable}) as world:
        deployment = await world.deploy()
        await world.github.wait_for(deployment.id, "success", within=20)


async def test_after_an_outage_of_everything_nobody_is_called_gone_at_once(store_url: str) -> None:
    async with async_pool(store_url, 1) as pool, pool.connection() as connection:
        await connection.execute(
            "insert into places select name, now() - interval '1 day', now() - interval '5 min'"
            " from unnest(array['here', 'there']) as name"
        )
        await machines.seen(connection, "here")
        assert not await machines.is_gone(connection, "there", "here")
        await connection.execute(
            "update places set since = now() - interval '2 min' where place = 'here'"
        )
        assert await machines.is_gone(connection, "there", "here")
        assert not await machines.is_gone(connection, "here", "here")


async def test_jobs_of_a_machine_come_home_only_when_it_is_gone(store_url: str) -> None:
    async with async_pool(store_url, 1) as pool, pool.connection() as connection:

        async def queues() -> list[str]:
            await jobs.bring_home(connection, "here")
            cursor = await connection.execute("select queue_name from procrastinate_jobs")
            return [row["queue_name"] async for row in cursor]

        await connection.execute("insert into places values ('here', now() - interval '5 min')")
        await machines.seen(connection, "there")
        await connection.execute(
            "insert into procrastinate_jobs (queue_name, task_name) values ('at-there', 'advance')"
        )
        assert await queues() == ["at-there"]
        await connection.execute(
            "update places set seen_at = now() - interval '2 min' where place = 'there'"
        )
        assert await queues() == ["default"]


async def test_a_worker_outlives_an_outage_of_the_store(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path) as world:
        await until(lambda: world.rows("select 1 from procrastinate_workers") or None)
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


async def test_the_one_before_is_shown_as_replaced(store_url: str, tmp_path: Path) -> None:
    deploy_yml = DEPLOY_YML.replace("name: production", "name: staging")
    async with live(store_url, tmp_path, deploy_yml) as world:
        for ref in ("v1", "v2"):
            deployment = await world.deploy("staging", ref=ref)
            await world.github.wait_for(deployment.id, "success", within=20)
        await world.idle()
        first, second = world.told()
        assert ", replaced since" in render(first)
        assert "replaced" not in render(second)


async def test_a_github_that_hangs_does_not_use_up_the_worker(
    store_url: str, tmp_path: Path
) -> None:
    """What needs no GitHub goes on: deliveries are understood, Slack is told."""
    async with live(store_url, tmp_path) as world:
        world.github.faults.add("POST /app/installations/*", Fault.hang(30), times=1000)
        for _ in range(24):
            await world.deploy()
        await world.github.settled()
        waiting = "select 1 from deliveries where outcome is null"
        await until(lambda: None if world.rows(waiting) else True, within=25)
        await until(lambda: True if len(world.told()) == 24 else None, 25)
        await world.github.stop()  # or the worker waits for it at its end

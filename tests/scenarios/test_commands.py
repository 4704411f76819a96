"""Commands from beginning to end: payloads, output, time-outs, errors of the handler."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from handlers import HANDLERS
from handlers.command import Command
from handlers.contract import Deployment, Pace, Run
from handlers.supervision.output import KEPT_END
from tests.world import QUICK, World, live, until

COMMANDS_YML = """
slack: {channel: "#deploys"}
envs:
  - {name: missing, handler: command, with: {run: ["./not-there"]}}
  - {name: loud, handler: command, with: {run: ["head", "-c", "100000000", "/dev/zero"]}}
  - {name: endless, handler: command, with: {run: ["sleep", "60"]}, timeout: 10s}
  - {name: notes, handler: command, with: {run: ["true", "{payload.notes}"]}}
  - name: files
    handler: command
    with: {run: ["sh", "-c", 'echo "$(wc -c < "$DEPLOYMENT_PAYLOAD_FILE") bytes"; false']}
"""
LINKS_YML = """
envs:
  - name: "prod*"
    handler: command
    with:
      run: ["true"]
      environment_url: "https://shop.example.com/{environment}/{ref}?ref={ref}"
  - name: "preview/*"
    handler: command
    with: {run: ["true"], environment_url: "https://{environment}.example.com"}
"""
SERVICE_YML = """
envs:
  - {name: service, handler: command, with: {run: ["./deploy"], cwd: "${SERVICE}"}}
"""
DEPLOYS_A_SERVICE = """#!/bin/sh
./service &
echo started
"""
# It prints a line each 0.1 s, for longer than its output is read after the command's end.
SERVICE = """#!/bin/sh
for second in 1 2 3; do
  for line in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; echo "serving at $second.$line s"; done
done
touch survived
"""


@pytest.mark.slow
@pytest.mark.parametrize("payload", [None, "plain text", '{"inner": 1}', {"deep": {"er": [1]}}])
async def test_any_payload_is_deployed(world: World, payload: Any) -> None:
    deployment = await world.deployed(payload=payload if payload is not None else {})
    assert world.github.states(deployment.id)[-1] == "success"


async def test_a_missing_command_is_an_error_that_names_it(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, COMMANDS_YML) as world:
        deployment = await world.deploy("missing")
        status = await world.github.wait_for(deployment.id, "error", within=20)
        assert status.description == "the command './not-there' is not there"


async def test_no_deployment_is_refused_for_its_link(store_url: str, tmp_path: Path) -> None:
    links = {
        ("Prod EU", "a&b=c#d"): "/Prod%20EU/a&b=c%23d?ref=a%26b%3Dc%23d",
        ("prod ü", "feature/ünï"): "/prod%20%C3%BC/feature/%C3%BCn%C3%AF?ref=feature/%C3%BCn%C3%AF",
    }
    async with live(store_url, tmp_path, LINKS_YML) as world:
        for (environment, ref), link in links.items():
            deployment = await world.deploy(environment, ref=ref)
            status = await world.github.wait_for(deployment.id, "success", within=20)
            assert status.environment_url == f"https://shop.example.com{link}"
        deployment = await world.deploy("preview/ünï")
        status = await world.github.wait_for(deployment.id, "success", within=20)
        assert status.environment_url == ""


async def test_a_large_payload_is_handed_over_in_a_file(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, COMMANDS_YML) as world:
        payload = {"notes": "x" * 200_000}
        in_file, as_argument = [
            await world.deploy(it, payload=payload) for it in ("files", "notes")
        ]
        status = await world.github.wait_for(in_file.id, "failure", within=20)
        assert status.description == "exit code 1: 200013 bytes"
        status = await world.github.wait_for(as_argument.id, "error", within=20)
        assert "'{payload.notes}' is too long" in status.description
        assert "DEPLOYMENT_PAYLOAD_FILE" in status.description


@pytest.mark.slow
async def test_100_mb_of_output_are_stored_in_part(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, COMMANDS_YML) as world:
        deployment = await world.deploy("loud")
        await world.github.wait_for(deployment.id, "success", within=30)
        await world.idle()
        [row] = world.rows("select sum(length(chunk)) as size from output")
        assert 1_000_000 < row["size"] < 1_200_000
        [notice] = world.rows("select 1 as found from output where chunk like '%%left out%%'")
        assert notice["found"]


async def test_output_that_cannot_be_read_does_not_hide_how_the_run_ended(
    store_url: str, tmp_path: Path
) -> None:
    class Unreadable(Command):
        async def read_output(self, deployment: Deployment, offset: int) -> bytes:
            raise PermissionError(13, "Permission denied")

    async with live(store_url, tmp_path, handlers={"command": Unreadable}) as world:
        deployment = await world.deploy()
        await world.github.wait_for(deployment.id, "success", within=20)


@pytest.mark.slow
async def test_a_service_that_a_command_leaves_behind_may_go_on_printing(
    store_url: str, tmp_path: Path
) -> None:
    for name, script in (("deploy", DEPLOYS_A_SERVICE), ("service", SERVICE)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    environ = {"SERVICE": str(tmp_path)}
    async with live(store_url, tmp_path, SERVICE_YML, environ=environ) as world:
        deployment = await world.deploy("service")
        await world.github.wait_for(deployment.id, "success", within=20)
        assert not (tmp_path / "survived").exists()
        await until(lambda: (tmp_path / "survived").exists() or None, within=5)


@pytest.mark.slow
async def test_a_run_that_takes_too_long_times_out(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, COMMANDS_YML, workers=0) as world:
        config = world.setup.config
        # Shorter than deploy.yml allows.
        envs = tuple(e.model_copy(update={"timeout": timedelta(seconds=1)}) for e in config.envs)
        world.setup = replace(world.setup, config=replace(config, envs=envs))
        world.start_worker()
        deployment = await world.deploy("endless")
        status = await world.github.wait_for(deployment.id, "error", within=12)
        assert status.description == "timed out after 1s"


@pytest.mark.slow
async def test_a_run_is_followed_although_somebody_ends_its_deployment_at_its_start(
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


class Buggy(Command):
    """A handler with a bug in it."""

    async def check(self, deployment: Deployment, run: Run) -> Run:
        raise ZeroDivisionError


async def test_a_bug_in_a_handler_ends_in_an_error_status(store_url: str, tmp_path: Path) -> None:
    handlers = {"command": Buggy}
    async with live(store_url, tmp_path, COMMANDS_YML, handlers=handlers) as world:
        deployment = await world.deploy("endless")
        await world.phase(deployment.id, "in_progress")
        over = "update deployments set deadline = now() - interval '1 minute'"
        # In a thread: the job that may hold the row needs this one.
        await asyncio.to_thread(world.execute, over)
        status = await world.github.wait_for(deployment.id, "error", within=40)
        assert "The relay itself failed" in status.description


@pytest.mark.slow
async def test_many_commands_that_print_much_at_once_keep_what_the_limit_says(
    store_url: str, tmp_path: Path
) -> None:
    limit, count, printed = 65_536, 12, 3_000_000
    program = f"yes | head -c {printed}; echo the end"
    deploy_yml = f"""
envs:
  - name: production
    handler: command
    serialization: false
    with: {{run: ["sh", "-c", "{program}"], output_limit: {limit}}}
"""
    async with live(store_url, tmp_path, deploy_yml) as world:
        made = [await world.deploy() for _ in range(count)]
        for deployment in made:
            await world.github.wait_for(deployment.id, "success", within=60)
        await world.idle()
        left_out = len(f"\n[... {printed + 8 - limit - KEPT_END:,} bytes left out ...]\n")
        stored = world.rows(
            "select deployment_id, sum(length(chunk)) as size from output group by 1"
        )
        assert {row["size"] for row in stored} == {limit + left_out + KEPT_END}
        assert len(stored) == count
        assert {one.status_code for one in world.github.deliveries} == {202}


class RarelyPolled(Command):
    pace = Pace(least=60, most=60)


async def test_the_end_of_a_command_is_reported_without_a_poll(
    store_url: str, tmp_path: Path
) -> None:
    timing = replace(QUICK, first_poll_at_most=timedelta(minutes=1))
    handlers = {**HANDLERS, "command": RarelyPolled}
    async with live(store_url, tmp_path, timing=timing, handlers=handlers) as world:
        deployment = await world.begin_slow(tmp_path / "gate")
        (tmp_path / "gate").touch()
        await world.github.wait_for(deployment.id, "success", within=5)

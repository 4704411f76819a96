"""The relay's own commands as real processes: Procfile, server, check, demo."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import aiohttp
import psutil
import psycopg
import pytest
from click.testing import CliRunner

from sandbox.sandbox import REPOSITORY, Sandbox, free_ports
from tests.world import DEPLOY_YML, no_secret_in, until
from webhook.__main__ import main
from webhook.check.run import check

ROOT = Path(__file__).parents[2]
UP = f"{sys.executable} -m webhook up"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's, whose name is too long for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="relay-") as directory:
        yield Path(directory)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


def environ(sandbox: Sandbox, folder: Path, deploy_yml: str = DEPLOY_YML) -> dict[str, str]:
    config = folder / "deploy.yml"
    config.write_text(deploy_yml)
    [port] = free_ports(1)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": path, **sandbox.environ(folder / "data", config, port)}


@contextlib.asynccontextmanager
async def started(
    command: str, environ: Mapping[str, str], log: Path, *, ends_with: int = 0
) -> AsyncIterator[Process]:
    """A process in the foreground, as a person starts it, terminated at the end."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_shell(
            f"exec {command}", env=environ, cwd=ROOT, stdout=output, stderr=STDOUT
        )
    try:
        yield process
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == ends_with, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()


async def ready(environ: Mapping[str, str], log: Path) -> None:
    url = f"http://127.0.0.1:{environ['PORT']}/workz"
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(url) as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(log.read_text()) from None


async def run(command: str, environ: Mapping[str, str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_shell(
        f"exec {command}", env=environ, cwd=ROOT, stdout=PIPE, stderr=STDOUT
    )
    async with asyncio.timeout(90):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def run_here(command: str, environ: Mapping[str, str]) -> tuple[int, str]:
    """The same for a command that ends at once: without a process, which would take a second."""
    variables = {**dict.fromkeys(os.environ), **environ}
    result = await asyncio.to_thread(CliRunner().invoke, main, [command], env=variables)
    assert isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


async def test_the_commands_of_the_procfile_start_a_relay_that_is_ready(
    sandbox: Sandbox, folder: Path, postgres: str
) -> None:
    procfile = dict(
        line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line
    )
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("create database heroku")
    # As Heroku has it: a URL in DATABASE_URL with the old scheme, and an empty store.
    url = postgres.replace("postgresql://", "postgres://").replace("/postgres?", "/heroku?")
    variables = environ(sandbox, folder) | {"DATABASE_URL": url}
    log = folder / "log"
    code, output = await run(procfile["release"], variables)
    assert code == 0, output
    async with (
        started(procfile["web"], variables, log),
        started(procfile["worker"], variables, log),
    ):
        await ready(variables, log)
        deployment = await sandbox.github.create_deployment(REPOSITORY, required_contexts=[])
        await sandbox.github.wait_for(deployment.id, "success", within=20)
        await sandbox.github.settled()


async def rejects_a_second_server(variables: Mapping[str, str], log: Path) -> None:
    [port] = free_ports(1)
    code, output = await run(UP, {**variables, "PORT": str(port)})
    assert code == 1
    assert "Another relay runs with GITPLOY_DATA_DIR" in output
    await ready(variables, log)


async def test_a_running_command_survives_a_second_server_and_a_restart_of_everything(
    sandbox: Sandbox, folder: Path
) -> None:
    variables = environ(sandbox, folder)
    gate, log = folder / "gate", folder / "log"
    async with started(UP, variables, log) as process:
        await ready(variables, log)
        deployment = await sandbox.github.create_deployment(
            REPOSITORY, environment="slow", payload={"gate": str(gate)}, required_contexts=[]
        )
        await sandbox.github.wait_for(deployment.id, "in_progress", within=20)
        await sandbox.github.settled()
        await rejects_a_second_server(variables, log)
        process.send_signal(signal.SIGINT)  # Ctrl-C
        await process.wait()
    assert not (folder / "data" / "postgres" / "postmaster.pid").exists()
    gate.touch()
    async with started(UP, variables, log):
        await sandbox.github.wait_for(deployment.id, "success", within=40)
        await sandbox.github.settled()
        await ready(variables, log)  # a web server that has just begun takes long to stop
    assert sandbox.github.states(deployment.id) == ["queued", "in_progress", "success"]
    assert len([m for m in sandbox.slack.messages("#deploys") if not m.is_reply]) == 1
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    about = [line for line in lines if line["logger"].startswith("webhook.engine.")]
    assert {"delivery processed", "run started", "status written", "message sent"} <= {
        line["event"] for line in about
    }
    assert all(line["delivery"] and line["environment"] and line["deployment"] for line in about)
    no_secret_in(log.read_text(), [variables["GITPLOY_SLACK_BOT_TOKEN"], sandbox.user.token])


async def check_finds_another_file(variables: Mapping[str, str], *, found: bool) -> None:
    """Wait until `check` says, or does not, that the workers have another deploy.yml."""
    async with asyncio.timeout(20):
        while True:
            lines: list[str] = []
            await check(variables, lines.append)
            if any("with another deploy.yml than this" in line for line in lines) == found:
                return
            await asyncio.sleep(0.2)


async def test_sighup_reads_an_edited_deploy_yml_and_a_wrong_one_changes_nothing(
    sandbox: Sandbox, folder: Path, store_url: str
) -> None:
    variables = environ(sandbox, folder) | {"GITPLOY_STORE_SOURCE": store_url}
    log, config = folder / "log", folder / "deploy.yml"
    async with started(UP, variables, log) as process:
        await ready(variables, log)
        config.write_text("envs: 1")
        process.send_signal(signal.SIGHUP)
        await until(lambda: "the older one stays in use" in log.read_text() or None)
        config.write_text(DEPLOY_YML + "  - {name: canary, handler: command, with: {run: [ls]}}\n")
        await check_finds_another_file(variables, found=True)
        process.send_signal(signal.SIGHUP)
        await check_finds_another_file(variables, found=False)
        deployment = await sandbox.github.create_deployment(
            REPOSITORY, environment="canary", required_contexts=[]
        )
        await sandbox.github.wait_for(deployment.id, "success", within=20)
        await sandbox.github.settled()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert "SIGHUP: reading deploy.yml again" in events
    [refused] = [line for line in lines if "the older one stays in use" in line["event"]]
    assert "deploy.yml:1:7" in refused["errors"]
    assert "process ended, restarting it" not in events
    assert events[-1] == "stopped"


async def test_a_closed_terminal_ends_everything_with_postgresql(
    sandbox: Sandbox, folder: Path
) -> None:
    variables, log = environ(sandbox, folder), folder / "log"
    terminal, of_relay = os.openpty()
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_shell(
            f"exec {UP}", env=variables, cwd=ROOT, stdin=of_relay, stdout=output, stderr=STDOUT
        )
    os.close(of_relay)
    try:
        await ready(variables, log)
        os.close(terminal)
        process.send_signal(signal.SIGHUP)  # as the kernel does to a terminal's own processes
        async with asyncio.timeout(30):
            assert await process.wait() == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert "the terminal was closed (SIGHUP)" in events
    assert events[-1] == "stopped"
    assert not (folder / "data" / "postgres" / "postmaster.pid").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_while_postgresql_starts_leaves_nothing_running(
    sandbox: Sandbox, folder: Path, number: signal.Signals
) -> None:
    """SIGHUP: from a terminal that is closed."""
    terminal, of_relay = os.openpty()
    variables, log = environ(sandbox, folder), folder / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_shell(
            f"exec {UP}", env=variables, cwd=ROOT, stdin=of_relay, stdout=output, stderr=STDOUT
        )
    os.close(of_relay)
    try:
        await until(lambda: (folder / "data" / "postgres").exists() or None)
        os.close(terminal)
        process.send_signal(number)
        async with asyncio.timeout(30):
            assert await process.wait() == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "stopped"
    left = [p for p in psutil.process_iter(["cmdline"]) if str(folder) in str(p.info["cmdline"])]
    assert left == []


async def test_all_errors_of_the_configuration_are_listed_before_anything_starts(
    sandbox: Sandbox, folder: Path
) -> None:
    variables = environ(sandbox, folder, "envs:\n  - {name: a, handler: comand}\n")
    variables |= {"GITPLOY_WEBHOOK_SECRET": " ", "PORT": "http"}
    ended = [await run_here(command, variables) for command in ("web", "worker", "check")]
    for code, output in [await run(UP, variables), *ended]:
        assert code == 1
        assert "GITPLOY_WEBHOOK_SECRET" in output
        assert "PORT" in output
        assert "Traceback" not in output


async def test_an_error_that_an_operator_can_fix_is_one_sentence(
    sandbox: Sandbox, folder: Path, postgres: str
) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in ("empty", "unknown"):
            connection.execute(f"create database {name}")
    empty, unknown = (
        {"GITPLOY_STORE_SOURCE": postgres.replace("/postgres?", f"/{name}?")}
        for name in ("empty", "unknown")
    )
    with psycopg.connect(unknown["GITPLOY_STORE_SOURCE"]) as connection:
        connection.execute("create table alembic_version as select text 'other' as version_num")
    nowhere = {"GITPLOY_STORE_SOURCE": "postgresql://127.0.0.1:9/none"}
    variables = environ(sandbox, folder)
    with socket.create_server(("0.0.0.0", 0)) as occupied:
        cases = [
            ("deliveries", empty, "run: python -m webhook migrate"),
            ("worker", empty, "run: python -m webhook migrate"),
            ("worker", nowhere, "check GITPLOY_STORE_SOURCE"),
            ("migrate", nowhere, "check GITPLOY_STORE_SOURCE"),
            ("migrate", unknown, "by 'other'; no release of this relay made it"),
            ("up", {"GITPLOY_DATA_DIR": "/dev/null/x"}, "GITPLOY_DATA_DIR '/dev/null/x'"),
            ("check", {"GITPLOY_DATA_DIR": "/dev/null/x"}, "GITPLOY_DATA_DIR '/dev/null/x'"),
        ]
        for command, changed, error in cases:
            code, output = await run_here(command, variables | changed)
            assert code == 1
            assert error in output
        code, output = await run(UP, variables | {"PORT": str(occupied.getsockname()[1])})
        assert code == 1
        assert "Address already in use; set another" in output
        assert "Traceback" not in output

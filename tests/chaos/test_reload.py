"""deploy.yml is read again by real processes, which lose nothing by it."""

import asyncio
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import aiohttp
import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from sandbox.github.webhooks import delivery_headers
from sandbox.sandbox import REPOSITORY, Sandbox
from tests.chaos.test_processes import UP, environ, folder, ready, run, sandbox, started
from tests.chaos.test_slow_bodies import PING
from tests.web.people import Browser
from tests.world import DEPLOY_YML, World, until
from webhook import presence

__all__ = ["folder", "sandbox"]

RELOAD = f"{sys.executable} -m webhook reload"
SLOW = DEPLOY_YML.index('  - name: "slow*"')
CANARY = "  - {name: canary, handler: command, with: {run: ['true']}}\n"
FAULTY = DEPLOY_YML.replace("handler: command", "handler: comand", 1) + "unrouted: maybe\n"


async def arriving(
    variables: Mapping[str, str],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A delivery without the end of its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(variables["PORT"]))
    headers = delivery_headers("ping", PING, variables["GITPLOY_WEBHOOK_SECRET"], app_id=1)
    given = (f"{name}: {value}" for name, value in headers.items())
    head = ("POST /webhook HTTP/1.1", "Host: relay", f"Content-Length: {len(PING)}", *given)
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + PING[:-1])
    await writer.drain()
    return reader, writer


def workers_of(process: asyncio.subprocess.Process) -> list[psutil.Process]:
    return [
        one for one in psutil.Process(process.pid).children() if one.name().startswith("relay-work")
    ]


@contextmanager
def away(store_url: str) -> Iterator[None]:
    """For whoever connects to it."""
    name = str(conninfo_to_dict(store_url)["dbname"])
    with psycopg.connect(store_url, dbname="postgres", autocommit=True) as connection:
        change = sql.SQL("alter database {} allow_connections {}")
        connection.execute(change.format(sql.Identifier(name), sql.SQL("false")))
        try:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
                [name],
            )
            yield
        finally:
            connection.execute(change.format(sql.Identifier(name), sql.SQL("true")))


async def deployed(sandbox: Sandbox, environment: str) -> None:
    deployment = await sandbox.github.create_deployment(
        REPOSITORY, environment=environment, required_contexts=[]
    )
    await sandbox.github.wait_for(deployment.id, "success", within=30)


async def reloaded_from_the_page(
    sandbox: Sandbox, variables: Mapping[str, str], process_ids: list[int]
) -> None:
    """Each of these processes has the file then, and the page says so."""
    url = f"http://{variables['GITPLOY_SERVER_HOST']}"
    # All that a browser needs of it.
    relay = cast("World", SimpleNamespace(url=url, github=sandbox.github))
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        operator = Browser(session, relay)
        await operator.sign_in("octoadmin")
        page = await operator.open("/configuration")
        assert "removes canary. It counts after a reload" in page.text
        await operator.press(page, "/configuration/reload")
        async with asyncio.timeout(20):
            while "On disk as it is in use" not in page.text or "another file" in page.text:
                page = await operator.open("/configuration")
    assert all(f"(process {number}) this file" in page.text for number in process_ids)


@pytest.mark.slow
async def test_up_goes_on_through_a_faulty_file_and_a_good_one(
    sandbox: Sandbox, folder: Path, store_url: str
) -> None:
    variables = environ(sandbox, folder) | {"GITPLOY_STORE_SOURCE": store_url}
    log, config, gate = folder / "log", folder / "deploy.yml", folder / "gate"
    async with started(UP, variables, log) as process:
        await ready(variables, log)
        slow = await sandbox.github.create_deployment(
            REPOSITORY, environment="slow", payload={"gate": str(gate)}, required_contexts=[]
        )
        await sandbox.github.wait_for(slow.id, "in_progress", within=20)

        config.write_text(FAULTY)
        code, output = await run(RELOAD, variables)
        assert code == 1
        assert "deploy.yml:5:14: envs[0].handler: 'comand'" in output
        assert "deploy.yml:18:11: unrouted: " in output
        process.send_signal(signal.SIGHUP)
        await until(lambda: "the older one stays in use" in log.read_text() or None)
        [worker] = workers_of(process)
        worker.kill()  # the next one cannot read that file either, and need not
        await deployed(sandbox, "production")

        config.write_text(DEPLOY_YML[:SLOW] + CANARY)
        [worker] = workers_of(process)
        reader, writer = await arriving(variables)
        code, output = await run(RELOAD, variables)
        writer.write(PING[-1:])
        assert code == 0, output
        assert (await reader.readline()).split()[1] == b"202"
        writer.close()
        await deployed(sandbox, "canary")
        assert f"{config}: adds canary; removes slow*." in output
        assert f"In use by up (process {process.pid})." in output
        assert workers_of(process) == [worker]

        gate.touch()
        await sandbox.github.wait_for(slow.id, "success", within=20)
        await sandbox.github.settled()
    assert sandbox.github.states(slow.id) == ["queued", "in_progress", "success"]
    assert presence.running(folder / "data") == []


@pytest.mark.slow
async def test_each_process_by_itself_reads_it_again(
    sandbox: Sandbox, folder: Path, store_url: str
) -> None:
    stored = {"GITPLOY_STORE_SOURCE": store_url, "GITPLOY_ADMIN_USERS": "octoadmin"}
    variables = environ(sandbox, folder) | stored
    log, config = folder / "log", folder / "deploy.yml"
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(
                started(f"{sys.executable} -m webhook {command}", variables, log)
            )
            for command in ("web", "worker")
        ]
        await ready(variables, log)
        config.write_text(DEPLOY_YML + CANARY)
        code, output = await run(RELOAD, variables)
        assert code == 0, output
        web, worker = processes
        assert f"web (process {web.pid})" in output
        assert f"worker (process {worker.pid})" in output
        await deployed(sandbox, "canary")
        await sandbox.github.settled()
        code, output = await run(f"{sys.executable} -m webhook restore a.backup", variables)
        assert code == 1
        assert f"web (process {web.pid})" in output
        assert output.endswith("; stop it first\n")
        with away(store_url):
            worker.send_signal(signal.SIGHUP)
            await until(lambda: "does not respond, trying again" in log.read_text() or None)
        await deployed(sandbox, "canary")
        assert worker.returncode is None
        await sandbox.github.settled()
        config.write_text(DEPLOY_YML)
        await reloaded_from_the_page(sandbox, variables, [web.pid, worker.pid])
    code, output = await run(RELOAD, variables)
    assert code == 1
    assert "has no errors, but no relay runs with GITPLOY_DATA_DIR" in output

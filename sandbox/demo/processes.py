"""The processes of the demo: the relay, as its users start it, and the deployed site."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from sandbox.demo.failure import DemoError, expected
from sandbox.sandbox import Sandbox, free_ports
from sandbox.server import HOST

# Seconds. A relay that cannot start ends; one that is slow only has a slow machine.
READY_TIMEOUT = 60
# The relay's, in the folder of the demo.
LOG = "relay.log"


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[str]:
    """Serves the deployed pages: /staging/ and /production/."""

    async def page(request: web.Request) -> web.StreamResponse:
        path = folder / request.match_info["environment"] / "current" / "index.html"
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)

    app = web.Application()
    app.router.add_get("/{environment}/", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    yield f"http://{HOST}:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def relay(
    sandbox: Sandbox, folder: Path, deploy_yml: str, variables: Mapping[str, str]
) -> AsyncIterator[str]:
    """`python -m webhook up` with its own PostgreSQL, until it is ready; stops it at the end."""
    [port] = free_ports(1)
    config = folder / "deploy.yml"
    config.write_text(deploy_yml)
    # Without the settings of a real relay, and without a proxy to the stand-ins.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GITPLOY_")
        and not name.lower().endswith("_proxy")
        and name != "DATABASE_URL"
    }
    log = folder / LOG
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "webhook",
            "up",
            env={**inherited, **sandbox.environ(folder / "data", config, port), **variables},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        await _ready(f"http://{HOST}:{port}/workz", process)
        yield f"http://{HOST}:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _ready(url: str, process: Process) -> None:
    async with expected("the start of the relay", READY_TIMEOUT):
        while process.returncode is None and not await get(url):
            await asyncio.sleep(0.1)
    if process.returncode is not None:
        raise DemoError("the relay did not start")


async def get(url: str) -> str:
    """The body if the status is 200, otherwise an empty string."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text() if response.status == 200 else ""
    except aiohttp.ClientError:
        return ""

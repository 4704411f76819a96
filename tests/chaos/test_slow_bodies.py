"""Whoever floods the web processes with bodies neither stops deliveries nor fills the memory."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from sandbox.github.webhooks import delivery_headers
from sandbox.sandbox import Sandbox
from tests.chaos.test_processes import environ, sandbox, started
from tests.web.test_gateway import HEADERS, WELL_FORMED

__all__ = ["sandbox"]

LARGEST = 25 * 1024 * 1024
CHUNK = b" " * 256 * 1024
# What both processes may grow by: the memory for large bodies, and what is made of two of them.
GROWTH = 320 * 1024 * 1024
PING = b'{"zen": "Keep it logically awesome.", "hook_id": 7}'
SECRET = "a-secret-for-this-test-alone"


@pytest.fixture
async def web(store_url: str, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[tuple[int, int]]:
    """Port and process id."""
    variables = environ(sandbox, tmp_path) | {
        "GITPLOY_STORE_SOURCE": store_url,
        "GITPLOY_WEBHOOK_SECRET": SECRET,
        "WEB_CONCURRENCY": "2",
    }
    log = tmp_path / "log"
    port = int(variables["PORT"])
    command = f"{variables['PATH'].split(':')[0]}/python -m webhook web"
    async with started(command, variables, log) as process:
        await _healthy(port)
        yield port, process.pid


async def _healthy(port: int) -> None:
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/healthz"):
                    return
            await asyncio.sleep(0.05)


def _memory(pid: int) -> int:
    """Of all processes, each page once."""
    main = psutil.Process(pid)
    return sum(p.memory_full_info().pss for p in [main, *main.children(recursive=True)])


async def _post(port: int, length: int, *headers: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    head = ("POST /webhook HTTP/1.1", "Host: relay", f"Content-Length: {length}", *headers)
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n")
    return writer


async def _large(port: int, *headers: str) -> None:
    writer = await _post(port, LARGEST, *headers)
    with contextlib.suppress(ConnectionError):
        for _ in range(LARGEST // len(CHUNK)):
            writer.write(CHUNK)
            await writer.drain()
    writer.close()


async def _deliver(port: int, session: aiohttp.ClientSession) -> float:
    began = time.monotonic()
    headers = delivery_headers("ping", PING, SECRET, app_id=1)
    url = f"http://127.0.0.1:{port}/webhook"
    async with session.post(url, data=PING, headers=headers) as response:
        assert response.status == 202, await response.text()
    return time.monotonic() - began


async def test_a_thousand_unfinished_bodies_leave_deliveries_quick(web: tuple[int, int]) -> None:
    port, _ = web
    unsigned = [_post(port, 1000, *HEADERS) for _ in range(1000)]
    forged = [_post(port, 1000, WELL_FORMED, *HEADERS) for _ in range(1000)]
    writers = await asyncio.gather(*unsigned, *forged)
    async with aiohttp.ClientSession() as session:
        times = sorted([await _deliver(port, session) for _ in range(200)])
        async with session.get(f"http://127.0.0.1:{port}/healthz") as response:
            assert response.status == 200
    for writer in writers:
        writer.close()
    assert times[-2] < 1, times[-5:]


@pytest.mark.parametrize("headers", [HEADERS, (WELL_FORMED, *HEADERS)])
async def test_large_bodies_without_a_valid_signature_do_not_fill_the_memory(
    web: tuple[int, int], headers: tuple[str, ...]
) -> None:
    port, pid = web
    before = _memory(pid)
    highest = 0

    async def watch() -> None:
        nonlocal highest
        while True:
            highest = max(highest, await asyncio.to_thread(_memory, pid))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    async with aiohttp.ClientSession() as session:
        sending = asyncio.gather(*(_large(port, *headers) for _ in range(64)))
        assert await _deliver(port, session) < 2
        await sending
        await _deliver(port, session)
    watching.cancel()
    assert highest - before < GROWTH

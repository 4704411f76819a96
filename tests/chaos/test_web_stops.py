"""A web process that is stopped still responds to what it has begun to read."""

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp
import psutil
import psycopg

from sandbox.github.webhooks import delivery_headers
from tests.chaos.test_slow_bodies import PING, SECRET, sandbox, web
from tests.web.viewing import Rows
from webhook.security.signing import Links
from webhook.timing import utc_now

__all__ = ["sandbox", "web"]

LARGE = PING[:-1] + b', "x": "' + b"x" * 100_000 + b'"}'


async def _deliver(port: int, body: bytes) -> int:
    headers = delivery_headers("ping", body, SECRET, app_id=1)
    url = f"http://127.0.0.1:{port}/webhook"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers) as response,
    ):
        return response.status


async def _arriving(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A delivery without the end of its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = delivery_headers("ping", PING, SECRET, app_id=1)
    given = (f"{name}: {value}" for name, value in headers.items())
    head = ("POST /webhook HTTP/1.1", "Host: relay", f"Content-Length: {len(PING)}", *given)
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + PING[:-1])
    await writer.drain()
    return reader, writer


async def test_deliveries_under_way_are_taken(web: tuple[int, int], store_url: str) -> None:
    port, pid = web
    with psycopg.connect(store_url) as connection:
        connection.execute("lock table deliveries in access exclusive mode")
        reader, writer = await _arriving(port)
        storing = [asyncio.create_task(_deliver(port, body)) for body in (PING, LARGE)]
        await asyncio.sleep(0.5)  # until they are being stored
        os.kill(pid, signal.SIGTERM)
        await asyncio.sleep(0.5)
        writer.write(PING[-1:])
        connection.rollback()
        assert await asyncio.gather(*storing) == [202, 202]
        assert (await reader.readline()).split()[1] == b"202"
    writer.close()
    async with asyncio.timeout(15):
        while psutil.pid_exists(pid):  # a second signal would end it at once
            await asyncio.sleep(0.05)


async def test_an_open_page_does_not_hold_it_up(
    web: tuple[int, int], store_url: str, tmp_path: Path
) -> None:
    port, pid = web
    await asyncio.to_thread(Rows(store_url).deployment)
    [key] = [path.read_text().strip() for path in tmp_path.rglob("secret_key")]
    page = Links(f"http://127.0.0.1:{port}", [key], utc_now).page("acme/web", 1)
    async with (
        aiohttp.ClientSession() as session,
        session.get(page.replace("?", "/events?")) as response,
    ):
        assert response.status == 200
        while b"event: state" not in await response.content.readline():
            pass
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        await response.content.read()  # to its end, which comes as such
        async with asyncio.timeout(15):
            while psutil.pid_exists(pid):
                await asyncio.sleep(0.05)
        assert time.monotonic() - began < 4  # or it would have been killed, after five

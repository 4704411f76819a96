"""A web process that is stopped still responds to what it has begun to read."""

import asyncio
import os
import signal

import aiohttp
import psutil
import psycopg

from sandbox.github.webhooks import delivery_headers
from tests.chaos.test_slow_bodies import PING, SECRET, sandbox, web

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

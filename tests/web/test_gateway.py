"""What arrives slowly, in masses, or without a signature takes nothing from those that are real."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from tests.github.test_webhook import PING, post
from tests.world import World, live
from webhook.web.bodies import BodyBounds

WELL_FORMED = f"X-Hub-Signature-256: sha256={'0' * 64}"
LARGE = 1024 * 1024
# A body is waited for for so long that what comes before SOON did not wait for one.
BOUNDS = BodyBounds(most=8, spared_for=0.1, memory=4 * LARGE, within=30, discarded_within=2)
SOON = 10.0
SLACK = {"GITPLOY_SLACK_SIGNING_SECRET": "0123456789abcdef0123456789abcdef"}


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path, environ=SLACK, workers=0, bounds=BOUNDS) as world:
        yield world


@pytest.fixture
async def hasty(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """It soon gives up a body that does not arrive."""
    bounds = replace(BOUNDS, within=0.6)
    async with live(store_url, tmp_path, environ=SLACK, workers=0, bounds=bounds) as world:
        yield world


@pytest.fixture
async def patient(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """So does it, but not before a busy machine has read what does arrive."""
    bounds = replace(BOUNDS, within=3)
    async with live(store_url, tmp_path, environ=SLACK, workers=0, bounds=bounds) as world:
        yield world


class Client:
    """A connection on which a test writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def request(self, line: str, *headers: str, body: bytes = b"") -> None:
        head = "\r\n".join((f"{line} HTTP/1.1", "Host: relay", *headers))
        await self.send(head.encode() + b"\r\n\r\n" + body)

    async def status(self, within: float = SOON) -> int:
        """Of the next response, whose body is read."""
        async with asyncio.timeout(within):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = head.partition("content-length: ")[2].partition("\r\n")[0]
            await self.reader.readexactly(int(length or 0))
        return int(head.split()[1])


@asynccontextmanager
async def connected(world: World, count: int = 1) -> AsyncIterator[list[Client]]:
    port = int(world.url.rpartition(":")[2])
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        yield [Client(*connection) for connection in opened]
    finally:
        for _, writer in opened:
            writer.close()


HEADERS = (
    "Content-Type: application/json",
    "X-GitHub-Event: ping",
    "X-GitHub-Delivery: guid-1",
    "X-GitHub-Hook-ID: 1",
)
# Where bodies are taken, with headers by which their sender could be verified.
SIGNED = {
    "/webhook": (WELL_FORMED, *HEADERS),
    "/slack/events": (
        f"X-Slack-Signature: v0={'0' * 64}",
        "X-Slack-Request-Timestamp: 1700000000",
        "Content-Type: application/json",
    ),
    "/repos/acme/web/deployments/1/statuses": ("Authorization: token ghr_x",),
}


@pytest.mark.parametrize("path", SIGNED)
async def test_without_a_signature_the_response_does_not_wait_for_the_body(
    world: World, path: str
) -> None:
    async with connected(world) as [client]:
        headers = [header for header in HEADERS if path == "/webhook"]
        await client.request(f"POST {path}", "Content-Length: 1000", *headers)
        assert await client.status() == 401


async def test_a_malformed_signature_is_as_good_as_none(world: World) -> None:
    async with connected(world) as [client]:
        signature = "X-Hub-Signature-256: sha256=0"
        await client.request("POST /webhook", "Content-Length: 1000", signature, *HEADERS)
        assert await client.status() == 401


@pytest.mark.parametrize("path", SIGNED)
async def test_a_body_that_does_not_arrive_in_time_is_given_up(hasty: World, path: str) -> None:
    expected = 401 if "repos" in path else 408  # which tokens are real is known without it
    async with connected(hasty) as [client]:
        await client.request(f"POST {path}", "Content-Length: 1000", *SIGNED[path], body=b"{")
        assert await client.status() == expected


async def test_many_slow_bodies_end_each_other_and_not_a_delivery(world: World) -> None:
    async with connected(world, BOUNDS.most + 2) as clients:
        for client in clients[:-1]:
            await client.request("POST /webhook", "Content-Length: 1000", *SIGNED["/webhook"])
        assert await clients[0].status() == 503
        status, _ = await post(world)
        assert status == 202


async def test_large_bodies_that_do_not_come_take_no_memory_from_a_delivery(world: World) -> None:
    body = json.dumps({"zen": "x" * 64 * 1024, "hook_id": 7}).encode()
    async with connected(world, 4) as clients:
        for client in clients[:-1]:
            length = f"Content-Length: {2 * LARGE}"
            await client.request("POST /webhook", length, *SIGNED["/webhook"], body=b"{")
        headers = world.github.delivery_headers("ping", body)
        given = (f"{name}: {value}" for name, value in headers.items())
        length = f"Content-Length: {len(body)}"
        await clients[-1].request("POST /webhook", length, *given, body=body)
        assert await clients[-1].status() == 202


async def test_a_large_body_that_lies_there_is_ended_where_its_memory_is_needed(
    world: World,
) -> None:
    async with connected(world, 3) as clients:
        length = f"Content-Length: {2 * LARGE}"
        for client in clients:
            await client.request("POST /webhook", length, *SIGNED["/webhook"])
            await client.send(b" " * (2 * LARGE - 1))
        assert await clients[0].status() == 503
        for client in clients[1:]:
            await client.send(b" ")
            assert await client.status() == 401


async def test_memory_is_free_again_however_a_body_ended(patient: World) -> None:
    length = f"Content-Length: {2 * LARGE}"
    for size in (2 * LARGE, LARGE, 2 * LARGE, LARGE, 2 * LARGE):
        async with connected(patient) as [client]:
            await client.request("POST /webhook", length, *SIGNED["/webhook"])
            await client.send(b" " * size)
            if size == 2 * LARGE:
                assert await client.status() == 401
    async with connected(patient, 4) as clients:
        for client in clients:
            await client.request("POST /webhook", length, *SIGNED["/webhook"])
            await client.send(b" " * (LARGE - 1))
        for client in clients:  # there is room for all of them
            assert await client.status() == 408


async def test_what_was_announced_and_does_not_arrive_holds_up_nothing(patient: World) -> None:
    length = f"Content-Length: {2 * LARGE}"
    async with connected(patient, 3) as clients:
        for client in clients:
            await client.request("POST /webhook", length, *SIGNED["/webhook"])
        for client in clients[1:]:
            await client.send(b" " * 2 * LARGE)
        assert await clients[1].status() == 401
        assert await clients[2].status() == 401
        assert (await post(patient))[0] == 202
        assert await clients[0].status() == 408


async def test_an_unwanted_body_does_not_hide_the_response(world: World) -> None:
    """The client is still sending when the response comes, and may use the connection again."""
    async with connected(world) as [client]:
        body = b" " * 2 * LARGE
        length = f"Content-Length: {len(body)}"
        await client.request("POST /webhook", length, *HEADERS, body=body)
        assert await client.status() == 401
        await client.request("GET /healthz")
        assert await client.status() == 200


async def test_a_client_that_asks_first_is_asked_for_the_body_only_if_it_is_wanted(
    world: World,
) -> None:
    expect = ("Expect: 100-continue", f"Content-Length: {len(PING)}")
    async with connected(world, 2) as [unsigned, signed]:
        await unsigned.request("POST /webhook", *expect, *HEADERS)
        assert await unsigned.status() == 401
        headers = world.github.delivery_headers("ping", PING)
        await signed.request("POST /webhook", *expect, *(f"{k}: {v}" for k, v in headers.items()))
        assert await signed.status() == 100
        await signed.send(PING)
        assert await signed.status() == 202


async def test_a_body_without_a_length_is_taken(world: World) -> None:
    headers = world.github.delivery_headers("ping", PING)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(len(PING)):
            yield PING[at : at + 1]

    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.url}/webhook", data=pieces(), headers=headers) as response,
    ):
        assert response.status == 202


async def test_a_connection_that_ends_within_the_body_stores_nothing(world: World) -> None:
    headers = [f"{k}: {v}" for k, v in world.github.delivery_headers("ping", PING).items()]
    async with connected(world) as [client]:
        await client.request("POST /webhook", f"Content-Length: {len(PING)}", *headers)
        await client.send(PING[:-1])
    assert (await post(world))[0] == 202
    assert len(world.rows("select 1 from deliveries")) == 1


async def test_a_second_slash_before_the_path_does_no_harm(world: World) -> None:
    headers = world.github.delivery_headers("ping", PING)
    url = f"{world.url}//webhook"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=PING, headers=headers) as response,
    ):
        assert response.status == 202


async def test_what_proxies_and_browsers_send_reaches_the_views(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.head(f"{world.url}/healthz") as response:
            assert (response.status, await response.read()) == (200, b"")
        async with session.get(f"{world.url}/%C3%BC/%FF") as response:
            assert response.status == 404
        async with session.get(f"{world.url}/healthz", data=b"a body") as response:
            assert response.status == 200

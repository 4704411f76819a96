"""Outgoing calls and the proxies that the environment names."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.handlers.tools import FakeTool, speaking
from webhook.sessions import open_session

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
OF_PROXY = b"HTTP/1.1 203 OK\r\nContent-Length: 0\r\n\r\n"
REFUSES = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def tool() -> AsyncIterator[FakeTool]:
    async with FakeTool() as server:
        yield server


async def status(url: str) -> int:
    async with open_session() as session, session.get(url) as response:
        return response.status


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
async def test_calls_take_the_proxy_that_is_named_unless_no_proxy_names_the_host(
    name: str, tool: FakeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await status(tool.url) == 200
    async with speaking(OF_PROXY) as address:
        monkeypatch.setenv(name, f"http:{address}")
        assert await status(tool.url) == 203
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert await status(tool.url) == 200


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY"])
async def test_calls_over_tls_take_the_one_that_is_named_for_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with speaking(REFUSES) as address:
        monkeypatch.setenv(name, f"http:{address}")
        with pytest.raises(aiohttp.ClientHttpProxyError):
            await status("https://tool.example")


async def test_nothing_of_a_call_is_sent_any_more_once_it_has_timed_out() -> None:
    """Its connection is reset, which drops what the system has not sent yet."""
    ends: list[str] = []
    over = asyncio.Event()

    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            ends.append("closed" if await reader.read(-1) else "")
        except ConnectionResetError:
            ends.append("reset")
        writer.close()
        over.set()

    async with await asyncio.start_server(hangs, "127.0.0.1") as server, open_session() as session:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError):
            await session.post(
                f"http://127.0.0.1:{port}", data=b"x", timeout=aiohttp.ClientTimeout(total=0.1)
            )
        await asyncio.wait_for(over.wait(), 5)
    assert ends == ["reset"]


async def test_a_server_that_responds_before_it_reads_gets_the_whole_body() -> None:
    received: list[bytes] = []
    over = asyncio.Event()

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 202 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            await closed.wait()
            received.append(await reader.read(-1))
        finally:
            writer.close()
            over.set()

    closed = asyncio.Event()
    async with await asyncio.start_server(hasty, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        async with open_session() as session:
            response = await session.post(f"http://127.0.0.1:{port}", data=b"x" * 200_000)
            assert response.status == 202
        closed.set()
        await asyncio.wait_for(over.wait(), 5)
    assert received == [b"x" * 200_000]

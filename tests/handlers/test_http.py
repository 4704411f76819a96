"""Responses of a tool, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from handlers.errors import BUSY
from handlers.http import MAX_CALLS_PER_ORIGIN, Http
from sandbox.faults import Fault
from tests.handlers.tools import FakeTool, not_done, speaking, unknown_outcome

# -- responses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 204, 302, 307, 400, 401, 404, 409, 422, 501])
async def test_what_the_tool_decides_comes_back(http: Http, tool: FakeTool, status: int) -> None:
    tool.status, tool.headers["Location"] = status, "/elsewhere"
    response = await http.call("Tool", "POST", f"{tool.url}/a", json={})
    assert (response.status, response.ok) == (status, status < 300)
    assert len(tool.received) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 507, 599])
async def test_what_breaks_in_the_tool_may_have_been_done(
    http: Http, tool: FakeTool, status: int
) -> None:
    tool.status = status
    error = await unknown_outcome(http.call("Tool", "POST", tool.url, json={}))
    assert str(error).startswith(f"Tool at {tool.host} returned {status}: ")


async def test_parameters_cannot_become_others(http: Http, tool: FakeTool) -> None:
    await http.call("Tool", "GET", f"{tool.url}/a%2Fb?x=1", params={"y": "2&z=3#4 +ü%26"})
    assert tool.received[0].target == "/a%2Fb?x=1&y=2%26z%3D3%234+%2B%C3%BC%2526"


async def test_messages_hide_paths_and_queries(http: Http, tool: FakeTool) -> None:
    tool.faults.add("*", Fault.status(503))
    error = await unknown_outcome(http.call("Tool", "GET", f"{tool.url}/hidden?token=hidden"))
    assert "hidden" not in str(error)
    assert str(error) == f"Tool at {tool.host} returned 503: Server Error"


# -- rate limits --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7),
        ("0", 1),
        ("999999999", 3600),
        ("9" * 5000, 3600),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 3600),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 1),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_heeded_within_reason(
    http: Http, tool: FakeTool, status: int, retry_after: str, seconds: int
) -> None:
    tool.status, tool.headers["Retry-After"] = status, retry_after
    began, wait = datetime.now(UTC), timedelta(seconds=seconds)
    call = http.call("Tool", "POST", tool.url, json={})
    error = await (not_done(call) if status == 429 else unknown_outcome(call))
    assert error.retry_at is not None
    assert began + wait <= error.retry_at <= datetime.now(UTC) + wait


@pytest.mark.parametrize(
    "retry_after",
    ["", "soon", "-1", "1.5", "²", "Mon, 32 Jan 0000", "Fri, 31 Dec 9999 23:59 -2359"],
)
async def test_a_retry_after_that_is_none_is_passed_over(
    http: Http, tool: FakeTool, retry_after: str
) -> None:
    tool.status, tool.headers["Retry-After"] = 429, retry_after
    assert (await not_done(http.call("Tool", "GET", tool.url))).retry_at is None


async def test_one_tool_cannot_use_up_all_that_a_worker_can_do(http: Http, tool: FakeTool) -> None:
    tool.faults.add("*", Fault.hang(0.3), times=MAX_CALLS_PER_ORIGIN)
    calls = [
        asyncio.create_task(http.call("Tool", "GET", tool.url)) for _ in range(MAX_CALLS_PER_ORIGIN)
    ]
    while len(tool.calls) < MAX_CALLS_PER_ORIGIN:
        await asyncio.sleep(0.01)
    error = await not_done(http.call("Tool", "GET", tool.url))
    assert "too many calls" in str(error)
    assert error.code == BUSY
    assert all(response.ok for response in await asyncio.gather(*calls))


# -- what comes from elsewhere -----------------------------------------------------------------


@pytest.fixture
async def trusting(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that uses proxies, as the relay's does, and ~/.netrc, which the relay ignores."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_PROXY".upper(), raising=False)
    async with aiohttp.ClientSession(trust_env=True) as opened:
        yield opened


async def test_only_the_credentials_that_were_given_are_sent(
    trusting: aiohttp.ClientSession, tool: FakeTool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login octocat password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    tool.headers["Set-Cookie"] = "session=theirs"
    http, url = Http(trusting), tool.url.replace("127.0.0.1", "localhost")
    await http.call("Tool", "GET", url)
    await http.call("Tool", "GET", url, headers={"authorization": "Bearer t", "Cookie": "own=1"})
    await http.call("Tool", "GET", url)
    names = ("Authorization", "Cookie")
    sent = [tuple(received.headers.get(name) for name in names) for received in tool.received]
    assert sent == [(None, None), ("Bearer t", "own=1"), (None, None)]


async def test_a_proxy_that_rejects(
    trusting: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejection = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with speaking(rejection) as address:
        monkeypatch.setenv("HTTPS_PROXY", f"http:{address}")
        error = await not_done(Http(trusting).call("Tool", "POST", "https://tool.example"))
    assert "the proxy returned 407; check the relay's HTTPS_PROXY" in str(error)


async def test_a_proxy_that_is_not_there(
    trusting: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    error = await not_done(Http(trusting).call("Tool", "POST", "https://tool.example"))
    assert "no connection to the proxy; check the relay's HTTPS_PROXY" in str(error)

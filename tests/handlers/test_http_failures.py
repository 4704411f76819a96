"""A call to a tool that goes wrong, over real connections and real TLS: was anything done?"""

import gzip
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from handlers.http import MAX_RESPONSE_BYTES, SET_CA, Http, tls_context
from sandbox.faults import Fault
from tests.handlers.tools import (
    FakeTool,
    a_certificate,
    not_done,
    served_with_tls,
    speaking,
    unknown_outcome,
)


@pytest.fixture
def impatient(session: aiohttp.ClientSession) -> Http:
    return Http(session, timeout=0.3)


# -- no connection: nothing was done -----------------------------------------------------------


async def test_a_refused_connection(http: Http) -> None:
    error = await not_done(http.call("Tool", "POST", "http://127.0.0.1:1/hidden", json={}))
    assert str(error).startswith("Tool at 127.0.0.1:1 cannot be reached: connection refused; check")
    assert "Errno" not in str(error)


async def test_a_name_that_nobody_knows() -> None:
    class Resolver(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def close(self) -> None:
            pass

    connector = aiohttp.TCPConnector(resolver=Resolver())
    async with aiohttp.ClientSession(connector=connector) as session:
        error = await not_done(Http(session).call("Tool", "POST", "https://tool.example"))
    assert str(error).startswith(
        "Tool at tool.example cannot be reached: its name cannot be resolved; check its address"
    )


async def test_a_connection_that_never_comes_about(impatient: Http) -> None:
    async with speaking(ends="stays") as address:  # and so never completes the TLS handshake
        error = await not_done(impatient.call("Tool", "POST", f"https:{address}", json={}))
    assert "cannot be reached: no connection in time" in str(error)


@pytest.mark.parametrize("host", ["1.2.3", "a" * 70 + ".example"])
async def test_an_address_that_cannot_be_called(http: Http, host: str) -> None:
    assert "cannot be called" in str(await not_done(http.call("Tool", "GET", f"http://{host}")))


async def test_a_header_with_a_line_break(http: Http, tool: FakeTool) -> None:
    for name in ("Authorization", "X-Token"):
        headers = {name: "token\r\nX-More: 1"}
        error = await not_done(http.call("Tool", "GET", tool.url, headers=headers))
        assert "a token with a line break?" in str(error)
    assert tool.received == []


# -- no response, or a broken one: unknown outcome ---------------------------------------------

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n"


@pytest.mark.parametrize(
    ("text", "ends", "message"),
    [
        (b"", "closes", "connection closed"),
        (b"", "resets", "Connection reset by peer"),
        (WHOLE + b"\r\n{}", "closes", "it broke off in the middle"),
        (WHOLE + b"\r\n{}", "resets", ""),
        (
            WHOLE + b"Content-Encoding: gzip\r\n\r\n" + b"x" * 100,
            "closes",
            "it broke off in the middle",
        ),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "closes", "this is not HTTP"),
        (WHOLE + b"A: " + b"a" * 20_000, "closes", "this is not HTTP"),
    ],
)
async def test_a_response_that_breaks_off(http: Http, text: bytes, ends: str, message: str) -> None:
    async with speaking(text, ends=ends) as address:
        error = await unknown_outcome(http.call("Tool", "POST", f"http:{address}", json={}))
    assert f"gave no full response ({message}" in str(error)


async def test_a_tool_that_hangs(impatient: Http, tool: FakeTool) -> None:
    tool.faults.add("*", Fault.hang(20))
    assert "did not respond in time" in str(
        await unknown_outcome(impatient.call("Tool", "GET", tool.url))
    )


async def test_a_tool_that_drips(impatient: Http) -> None:
    async with speaking(WHOLE + b"\r\n", *[b"a"] * 20, pause=0.1) as address:
        error = await unknown_outcome(impatient.call("Tool", "GET", f"http:{address}"))
    assert "did not respond in time" in str(error)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_call_whose_connection_breaks_is_not_repeated(
    http: Http, tool: FakeTool, method: str
) -> None:
    tool.faults.add("*", Fault.drop_after())
    await unknown_outcome(http.call("Tool", method, tool.url))
    assert [received.method for received in tool.received] == [method]


async def test_a_response_that_is_too_large(http: Http, tool: FakeTool) -> None:
    tool.body = b" " * MAX_RESPONSE_BYTES
    assert len((await http.call("Tool", "GET", tool.url)).body) == MAX_RESPONSE_BYTES
    tool.body += b" "
    assert "returned more than 8 MB" in str(
        await unknown_outcome(http.call("Tool", "GET", tool.url))
    )


async def test_a_response_that_grows_while_it_is_unpacked(http: Http, tool: FakeTool) -> None:
    tool.body, tool.headers["Content-Encoding"] = gzip.compress(b" " * 50 * 2**20), "gzip"
    tracemalloc.start()
    try:
        await unknown_outcome(http.call("Tool", "GET", tool.url))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 3 * MAX_RESPONSE_BYTES


# -- TLS ---------------------------------------------------------------------------------------


async def test_a_certificate_of_an_unknown_authority(http: Http, tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path)
    async with served_with_tls(certificate) as url:
        error = await not_done(http.call("Tool", "POST", url, json={}))
        target = url.removeprefix("https://")
        assert str(error) == (
            f"no safe connection to Tool at {target}: untrusted certificate; let the relay trust"
            " its authority (self-signed certificate)"
        )
        caught = await not_done(http.call("Tool", "POST", url, json={}, untrusted=SET_CA))
        assert "untrusted certificate; set `ca` in deploy.yml" in str(caught)
        response = await http.call("Tool", "POST", url, json={}, tls=tls_context(certificate.file))
        assert response.json() == {"safe": True}


async def test_a_certificate_of_another_host(http: Http, tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path, "other.example")
    async with served_with_tls(certificate) as url:
        call = http.call("Tool", "POST", url, json={}, tls=tls_context(certificate.file))
        message = str(await not_done(call))
    assert "certificate of another host; check its address in deploy.yml (IP address mis" in message


async def test_a_tool_may_want_a_certificate_of_ours(http: Http, tmp_path: Path) -> None:
    theirs, ours = a_certificate(tmp_path), a_certificate(tmp_path, "relay.example")
    async with served_with_tls(theirs, clients=ours.file) as url:
        # In TLS 1.3 the rejection arrives after the request was sent.
        await unknown_outcome(http.call("Tool", "POST", url, json={}, tls=tls_context(theirs.file)))
        context = tls_context(theirs.file, ours.file, ours.key)
        assert (await http.call("Tool", "POST", url, json={}, tls=context)).ok


async def test_https_where_there_is_none(http: Http, tool: FakeTool) -> None:
    url = tool.url.replace("http:", "https:")
    error = await not_done(http.call("Tool", "POST", url, json={}))
    assert "check scheme and port in deploy.yml (wrong version number)" in str(error)


async def test_http_where_there_is_tls(http: Http, tmp_path: Path) -> None:
    async with served_with_tls(a_certificate(tmp_path)) as url:
        call = http.call("Tool", "POST", url.replace("https:", "http:"), json={})
        assert "; should its address begin with https://?" in str(await unknown_outcome(call))


@pytest.mark.parametrize("files", ["wrong key", "locked key", "no certificate", "no file"])
def test_files_that_do_not_match_are_an_error_and_send_nothing(tmp_path: Path, files: str) -> None:
    one, other = a_certificate(tmp_path), a_certificate(tmp_path, "other.example")
    given: tuple[str, ...] = {
        "wrong key": (one.file, one.file, other.key),
        "locked key": (one.file, one.file, one.locked_key),
        "no certificate": (one.key,),
        "no file": (f"{one.file}.gone",),
    }[files]
    with pytest.raises(OSError, match=r"PEM|KEY_VALUES_MISMATCH|NO_CERTIFICATE|No such file"):
        tls_context(*given)

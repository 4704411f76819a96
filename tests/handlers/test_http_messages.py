"""Messages for people about a failing tool: GitHub cuts them, so the remedy comes first."""

import socket
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from handlers.errors import Rejected, Unavailable
from handlers.http import MAX_RESPONSE_BYTES, SET_CA, Http, tls_context
from tests.handlers.tools import FakeTool, a_certificate, served_with_tls, speaking

TOOL = "Drone"
HOST = "drone.example.com"
CHECK = "check its address in deploy.yml"
AS_HTTPS = "should its address begin with https://?"


def shown(error: Exception) -> str:
    """The beginning, which is what fits into a description on GitHub."""
    return f"Gave up after 30m: {error}"[:139]


class Names(AbstractResolver):
    """All names resolve to this machine, except one that does not resolve."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        if host.startswith("unknown"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        here = ResolveResult(
            hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
        )
        return [here]

    async def close(self) -> None:
        pass


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    connector = aiohttp.TCPConnector(resolver=Names())
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Http(session, timeout=0.5)


async def text(call: Awaitable[Any]) -> str:
    with pytest.raises((Unavailable, Rejected)) as caught:
        await call
    assert f"{TOOL} at {HOST}" in str(caught.value) or "unknown" in str(caught.value)
    assert "://drone" not in str(caught.value)
    return shown(caught.value)


def named(url: str) -> str:
    return url.replace("127.0.0.1", HOST)


# -- no response -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", [f"http://{HOST}:1", f"https://{HOST}:1", "https://unknown.example"]
)
async def test_what_is_not_there(http: Http, url: str) -> None:
    assert CHECK in await text(http.call(TOOL, "GET", url))


async def test_what_does_not_take_the_call(http: Http) -> None:
    async with speaking(ends="stays") as address:
        assert CHECK in await text(http.call(TOOL, "GET", named(f"https:{address}")))


async def test_a_token_with_a_line_break(http: Http, tool: FakeTool) -> None:
    call = http.call(TOOL, "GET", named(tool.url), headers={"Authorization": "Bearer a\nb"})
    assert "a token with a line break?" in await text(call)


@pytest.mark.parametrize(
    ("host", "lasts", "remedy"),
    [
        (HOST, -1, "renew it"),
        ("other.example.com", 1, CHECK),
    ],
)
async def test_a_certificate_that_is_wrong(
    http: Http, tmp_path: Path, host: str, lasts: int, remedy: str
) -> None:
    certificate = a_certificate(tmp_path, host, lasts=lasts)
    async with served_with_tls(certificate) as url:
        tls = tls_context(certificate.file)
        assert remedy in await text(http.call(TOOL, "GET", named(url), tls=tls))


async def test_a_certificate_that_is_not_trusted(http: Http, tmp_path: Path) -> None:
    async with served_with_tls(a_certificate(tmp_path, HOST)) as url:
        expected = await text(http.call(TOOL, "GET", named(url)))
        assert "let the relay trust its authority" in expected
        assert "`ca`" not in expected
        expected = await text(http.call(TOOL, "GET", named(url), untrusted=SET_CA))
        assert "set `ca` in deploy.yml to its authority" in expected


async def test_http_and_https_mixed_up(http: Http, tool: FakeTool, tmp_path: Path) -> None:
    url = named(tool.url).replace("http:", "https:")
    assert "check scheme and port in deploy.yml" in await text(http.call(TOOL, "GET", url))
    async with served_with_tls(a_certificate(tmp_path, HOST)) as url:
        plain = named(url).replace("https:", "http:")
        assert AS_HTTPS in await text(http.call(TOOL, "GET", plain))


async def test_what_is_not_http(http: Http) -> None:
    async with speaking(b"SSH-2.0-OpenSSH_9.9\r\n") as address:
        assert AS_HTTPS in await text(http.call(TOOL, "GET", named(f"http:{address}")))


# -- a response --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "headers", "remedy"),
    [
        (200, b"<html>", {"Content-Type": "text/html; charset=utf-8"}, CHECK),
        (200, b"OK", {}, CHECK),
        (200, b"{}", {}, CHECK),
        (200, b"1" * (MAX_RESPONSE_BYTES + 1), {}, CHECK),
        (301, b"", {"Location": "https://new.example.com/a"}, "correct its address in deploy.yml"),
        (401, b"", {}, "check it in deploy.yml"),
        (403, b"", {}, "check its rights"),
        (404, b"", {}, CHECK),
        (405, b"405: Method Not Allowed", {"Content-Type": "text/plain"}, CHECK),
        (418, b"", {}, "its log may say why"),
        (500, b"", {}, "its log may say why"),
        (502, b"<html>", {}, "is it up?"),
    ],
)
async def test_a_useless_response(
    http: Http, tool: FakeTool, status: int, body: bytes, headers: dict[str, str], remedy: str
) -> None:
    tool.status, tool.body, tool.headers = status, body, headers

    async def call() -> None:
        response = await http.call(TOOL, "GET", named(tool.url))
        if response.ok:
            response.read(list[int])
        raise response.unavailable()

    assert remedy in await text(call())


@pytest.mark.parametrize(
    "body",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<center>The plain HTTP request was sent to HTTPS port</center>",
        b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
        b"Bad Request\r\nThis combination of host and port requires TLS.\r\n",
    ],
    ids=["go", "nginx", "apache", "tomcat"],
)
async def test_servers_that_require_https(http: Http, tool: FakeTool, body: bytes) -> None:
    tool.status, tool.body, tool.headers = 400, body, {}
    response = await http.call(TOOL, "GET", named(tool.url))
    assert "it wants https; write https:// in deploy.yml" in shown(response.rejected())


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://sso.example.com/in?secret=1", " (it leads to https://sso.example.com)"),
        ("//drone.example.com:8443/a", " (it leads to http://drone.example.com:8443)"),
        ("https://user:pw@a.example/", " (it leads to https://a.example)"),
        ("/login?secret=1", " (it leads to another path)"),
        (f"https://{'a.' * 50}example", ""),
        ("https://[::1", ""),
        ("javascript:alert(1)", ""),
        ("", ""),
    ],
)
async def test_a_redirect_names_where_it_leads_and_no_secret(
    http: Http, tool: FakeTool, location: str, expected: str
) -> None:
    tool.status, tool.headers = 302, {"Location": location}
    response = await http.call(TOOL, "GET", named(tool.url))
    begins = "returned 302: it has moved; correct its address in deploy.yml"
    assert response.message().endswith(f"{begins}{expected}")


async def test_a_default_port_is_left_out(http: Http) -> None:
    for url, target in (
        ("https://unknown.example:443", "unknown.example"),
        ("http://unknown.example:443", "unknown.example:443"),
        ("https://unknown.example:8443", "unknown.example:8443"),
    ):
        assert f"{TOOL} at {target} cannot" in await text(http.call(TOOL, "GET", url))

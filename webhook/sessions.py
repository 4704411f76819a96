"""The aiohttp session with which one process calls all others: GitHub, Slack, tools.

Source: aiohttp 3.14, `client.py`; socket(7), "SO_LINGER"; tcp(7), "TCP_USER_TIMEOUT".
Units: seconds, bytes.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.request import getproxies_environment

import aiohttp

if TYPE_CHECKING:
    from aiohttp.connector import AddrInfoType, Connection

# For a whole call. A call of a process that died is over after that, too.
TIMEOUT = aiohttp.ClientTimeout(total=10)
# Where the network is cut, the system would go on sending what was written: for minutes, also after
# the call has timed out and its process is gone. It would arrive after somebody has looked whether
# it had. So what is not acknowledged within the time of a call is dropped, and at once where a call
# or the process ends without a response. With one, the connection is closed as usual: a server that
# responds before it has read the body would lose the rest of it to a reset.
_DROP_AT_CLOSE, _SEND_AT_CLOSE = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
_UNACKNOWLEDGED_FOR = 10_000  # milliseconds
# A policy or a list of links may fill more than aiohttp's 8 KiB of one header, which would then be
# read as no HTTP at all, after the call has been acted upon.
MAX_HEADER = 128 * 1024
MAX_HEADERS = 1000


def open_session(may_send: Callable[[], object] | None = None) -> aiohttp.ClientSession:
    """With the proxies that the environment names, and without cookies. `may_send` raises where no
    request may leave any more; it is called once the connection is there, right before each."""

    class Request(aiohttp.ClientRequest):
        # Not a middleware: that would be called before the connection is made, which may take
        # seconds, and one of a single request replaces those of the session.
        async def send(self, conn: "Connection") -> aiohttp.ClientResponse:
            if may_send is not None:
                may_send()
            _at_close(conn.transport, _DROP_AT_CLOSE)
            return await super().send(conn)

    return aiohttp.ClientSession(
        request_class=Request,
        response_class=_Response,
        connector=aiohttp.TCPConnector(socket_factory=_socket),
        timeout=TIMEOUT,
        # Where there is none, aiohttp would only search ~/.netrc, in a thread at each call.
        trust_env=bool(getproxies_environment()),
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
        max_headers=MAX_HEADERS,
    )


class _Response(aiohttp.ClientResponse):
    async def start(self, connection: "Connection") -> Self:
        transport = connection.transport
        await super().start(connection)
        # It may have been released by now, and be about to close.
        _at_close(transport, _SEND_AT_CLOSE)
        return self


def _at_close(transport: asyncio.BaseTransport | None, linger: bytes) -> None:
    if transport is not None:
        with suppress(OSError):  # it is closed
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )


class _NoConnector(aiohttp.BaseConnector):
    """Calls nobody."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
        raise aiohttp.ClientConnectionError("nobody is called here")


def closed_session() -> aiohttp.ClientSession:
    """For what must have no effect outside: each call fails before there is a connection."""
    return aiohttp.ClientSession(connector=_NoConnector(), cookie_jar=aiohttp.DummyCookieJar())


def _socket(address: "AddrInfoType") -> socket.socket:
    family, kind, protocol, *_ = address
    created = socket.socket(family, kind, protocol)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        created.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_FOR)
    return created

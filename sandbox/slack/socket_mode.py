"""Socket Mode: the App opens WebSocket connections, and Slack sends envelopes through them.

Source: https://docs.slack.dev/apis/events-api/using-socket-mode
Units: seconds.
Errors: 403 for an invalid ticket; an envelope without acknowledgement is sent once more.
"""

import asyncio
import json
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from sandbox.slack.delivery import AppResponse, Delivery
from sandbox.slack.model import Json
from sandbox.slack.request import arguments_of, authenticate_app
from sandbox.slack.workspace import Site

MAX_CONNECTIONS = 10
ATTEMPTS = 2
TICKET_LIFETIME = 30.0
CLOSE_TIMEOUT = 0.5


@dataclass(slots=True, eq=False)
class Connection:
    """`sent` are the envelopes that were sent through it."""

    request: web.Request = field(repr=False)
    socket: web.WebSocketResponse = field(repr=False)
    sent: list[Json] = field(default_factory=list, repr=False)
    closed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    closing: bool = False


class Sockets:
    def __init__(self, site: Site) -> None:
        self._site = site
        self.connections: list[Connection] = []
        self.acknowledgements: list[Json] = []
        self._tickets: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._changed = asyncio.Condition()
        self._next_index = 0

    # -- what the App does ----------------------------------------------------------------------

    async def open(self, request: web.Request) -> Json:
        """apps.connections.open."""
        arguments = await arguments_of(request)
        authenticate_app(self._site.app, request, arguments, set(self._site.tokens))
        ticket = str(uuid.uuid4())
        self._tickets[ticket] = time.monotonic()
        host = self._site.url.removeprefix("http://")
        return {"url": f"ws://{host}/link/?ticket={ticket}&app_id={self._site.app.id}"}

    async def connect(self, request: web.Request) -> web.StreamResponse:
        created = self._tickets.pop(request.query.get("ticket", ""), float("-inf"))
        if time.monotonic() >= created + TICKET_LIFETIME:
            raise web.HTTPForbidden(text="invalid_ticket")
        connection = Connection(request, web.WebSocketResponse(timeout=CLOSE_TIMEOUT))
        await connection.socket.prepare(request)
        if len(self.connections) >= MAX_CONNECTIONS:
            await connection.socket.send_json(_disconnect_message("too_many_websockets"))
            await connection.socket.close()
            return connection.socket
        await connection.socket.send_json(self._hello())
        await self._add(connection)
        try:
            await self._listen(connection)
        finally:
            await self._remove(connection)
        return connection.socket

    async def connected(self, count: int = 1) -> None:
        """Wait until there are that many connections."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._ready()) >= count)

    # -- what Slack does ------------------------------------------------------------------------

    async def send(self, delivery: Delivery, retry: int = 0) -> AppResponse:
        """Send an envelope; without acknowledgement once more, through another connection."""
        started, envelope = time.monotonic(), str(uuid.uuid4())
        future = asyncio.get_running_loop().create_future()
        self._waiting[envelope] = future
        last: Connection | None = None
        try:
            for attempt in range(ATTEMPTS):
                last = await self._try(envelope, delivery, retry + attempt, future, last)
                seconds = time.monotonic() - started
                if future.done():
                    body = _response_in(future.result(), delivery)
                    return AppResponse(200, seconds, body, delivery, attempts=attempt + 1)
            return AppResponse(None, seconds, "", delivery, timed_out=True, attempts=ATTEMPTS)
        finally:
            del self._waiting[envelope]

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Send `disconnect` to all connections; only after `warning` they are used further."""
        for connection in list(self.connections):
            await connection.socket.send_json(_disconnect_message(reason))
            if reason != "warning":
                connection.closing = True

    async def drop(self) -> None:
        """Abort all connections, as a network failure does."""
        for connection in list(self.connections):
            if connection.request.transport is not None:
                connection.request.transport.abort()
            await connection.closed.wait()

    async def close(self) -> None:
        for connection in list(self.connections):
            await connection.socket.close()

    # -- connections ----------------------------------------------------------------------------

    async def _try(
        self,
        envelope: str,
        delivery: Delivery,
        retry: int,
        acknowledged: asyncio.Future[Json],
        last: Connection | None,
    ) -> Connection | None:
        """Returns the connection that was used."""
        connection = last
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(self._site.response_timeout):
                connection = await self._next_connection(last)
                document = _envelope(envelope, delivery, retry)
                connection.sent.append(document)
                await connection.socket.send_json(document)
                await _wait_for_either(acknowledged, connection.closed)
        return connection

    async def _next_connection(self, last: Connection | None) -> Connection:
        """Not the last one, if there are others."""
        await self.connected()
        ready = self._ready()
        others = [connection for connection in ready if connection is not last] or ready
        self._next_index += 1
        return others[self._next_index % len(others)]

    def _ready(self) -> list[Connection]:
        return [connection for connection in self.connections if not connection.closing]

    async def _listen(self, connection: Connection) -> None:
        async for message in connection.socket:
            if message.type is not WSMsgType.TEXT:
                continue
            acknowledgement: Any = json.loads(message.data)
            self.acknowledgements.append(acknowledgement)
            waiting = self._waiting.get(acknowledgement.get("envelope_id", ""))
            if waiting is not None and not waiting.done():
                waiting.set_result(acknowledgement)

    async def _add(self, connection: Connection) -> None:
        async with self._changed:
            self.connections.append(connection)
            self._changed.notify_all()

    async def _remove(self, connection: Connection) -> None:
        connection.closed.set()
        async with self._changed:
            self.connections.remove(connection)
            self._changed.notify_all()

    def _hello(self) -> Json:
        debug = {"host": "applink-1", "build_number": 1, "approximate_connection_time": 18060}
        return {
            "type": "hello",
            "num_connections": len(self.connections) + 1,
            "debug_info": debug,
            "connection_info": {"app_id": self._site.app.id},
        }


async def _wait_for_either(acknowledged: asyncio.Future[Json], closed: asyncio.Event) -> None:
    """Wait for the acknowledgement or for the end of the connection."""
    broken = asyncio.ensure_future(closed.wait())
    ends: list[asyncio.Future[Any]] = [acknowledged, broken]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        broken.cancel()


def _envelope(envelope: str, delivery: Delivery, retry: int) -> Json:
    document: Json = {
        "envelope_id": envelope,
        "payload": delivery.payload,
        "type": delivery.kind,
        "accepts_response_payload": delivery.accepts,
    }
    if retry or delivery.kind == "events_api":
        document |= {"retry_attempt": retry, "retry_reason": "timeout" if retry else ""}
    return document


def _response_in(acknowledgement: Json, delivery: Delivery) -> str:
    payload = acknowledgement.get("payload")
    return json.dumps(payload) if payload and delivery.accepts else ""


def _disconnect_message(reason: str) -> Json:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-1"}}

"""Socket Mode: the App calls, and Slack speaks through that connection.

Source: https://docs.slack.dev/apis/events-api/using-socket-mode
Units: seconds.
Errors: a ticket that is not good is 403; an envelope without acknowledgement goes out once more.
"""

import asyncio
import json
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from sandbox.slack.call import admit_app
from sandbox.slack.delivery import Answer, Delivery
from sandbox.slack.model import Json
from sandbox.slack.request import arguments_of
from sandbox.slack.workspace import Site

MOST = 10
ATTEMPTS = 2
TICKET_LIFE = 30.0
CLOSES_IN = 0.5


@dataclass(slots=True, eq=False)
class Link:
    """One connection. `told` are the envelopes that went through it."""

    request: web.Request = field(repr=False)
    socket: web.WebSocketResponse = field(repr=False)
    told: list[Json] = field(default_factory=list, repr=False)
    gone: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    leaving: bool = False


class Sockets:
    def __init__(self, site: Site) -> None:
        self._site = site
        self.links: list[Link] = []
        self.acknowledgements: list[Json] = []
        self._tickets: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._changed = asyncio.Condition()
        self._turn = 0

    # -- how the App comes ----------------------------------------------------------------------

    async def open(self, request: web.Request) -> Json:
        """apps.connections.open."""
        arguments = await arguments_of(request)
        admit_app(self._site.app, request, arguments, set(self._site.tokens))
        ticket = str(uuid.uuid4())
        self._tickets[ticket] = time.monotonic()
        host = self._site.url.removeprefix("http://")
        return {"url": f"ws://{host}/link/?ticket={ticket}&app_id={self._site.app.id}"}

    async def connect(self, request: web.Request) -> web.StreamResponse:
        made = self._tickets.pop(request.query.get("ticket", ""), float("-inf"))
        if time.monotonic() >= made + TICKET_LIFE:
            raise web.HTTPForbidden(text="invalid_ticket")
        link = Link(request, web.WebSocketResponse(timeout=CLOSES_IN))
        await link.socket.prepare(request)
        if len(self.links) >= MOST:
            await link.socket.send_json(_goodbye("too_many_websockets"))
            await link.socket.close()
            return link.socket
        await link.socket.send_json(self._hello())
        await self._add(link)
        try:
            await self._listen(link)
        finally:
            await self._remove(link)
        return link.socket

    async def connected(self, count: int = 1) -> None:
        """Wait until that many connections stand."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._ready()) >= count)

    # -- what Slack does with them ----------------------------------------------------------------

    async def send(self, delivery: Delivery, retry: int = 0) -> Answer:
        """An envelope; without acknowledgement once more, through another connection."""
        started, envelope = time.monotonic(), str(uuid.uuid4())
        future = asyncio.get_running_loop().create_future()
        self._waiting[envelope] = future
        last: Link | None = None
        try:
            for attempt in range(ATTEMPTS):
                last = await self._try(envelope, delivery, retry + attempt, future, last)
                seconds = time.monotonic() - started
                if future.done():
                    body = _answer_in(future.result(), delivery)
                    return Answer(200, seconds, body, delivery, attempts=attempt + 1)
            return Answer(None, seconds, "", delivery, timed_out=True, attempts=ATTEMPTS)
        finally:
            del self._waiting[envelope]

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Tell all connections so; after `refresh_requested` and `link_disabled` they close."""
        for link in list(self.links):
            await link.socket.send_json(_goodbye(reason))
            if reason != "warning":
                link.leaving = True

    async def drop(self) -> None:
        """All connections break, without a word."""
        for link in list(self.links):
            if link.request.transport is not None:
                link.request.transport.abort()
            await link.gone.wait()

    async def close(self) -> None:
        for link in list(self.links):
            await link.socket.close()

    # -- their parts --------------------------------------------------------------------------

    async def _try(
        self,
        envelope: str,
        delivery: Delivery,
        retry: int,
        acknowledged: asyncio.Future[Json],
        last: Link | None,
    ) -> Link | None:
        """The connection that it went through."""
        link = last
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(self._site.patience):
                link = await self._next(last)
                document = _envelope(envelope, delivery, retry)
                link.told.append(document)
                await link.socket.send_json(document)
                await _first(acknowledged, link.gone)
        return link

    async def _next(self, last: Link | None) -> Link:
        """Another than the last, where there is one."""
        await self.connected()
        ready = self._ready()
        others = [link for link in ready if link is not last] or ready
        self._turn += 1
        return others[self._turn % len(others)]

    def _ready(self) -> list[Link]:
        return [link for link in self.links if not link.leaving]

    async def _listen(self, link: Link) -> None:
        async for message in link.socket:
            if message.type is not WSMsgType.TEXT:
                continue
            said: Any = json.loads(message.data)
            self.acknowledgements.append(said)
            waiting = self._waiting.get(said.get("envelope_id", ""))
            if waiting is not None and not waiting.done():
                waiting.set_result(said)

    async def _add(self, link: Link) -> None:
        async with self._changed:
            self.links.append(link)
            self._changed.notify_all()

    async def _remove(self, link: Link) -> None:
        link.gone.set()
        async with self._changed:
            self.links.remove(link)
            self._changed.notify_all()

    def _hello(self) -> Json:
        debug = {"host": "applink-1", "build_number": 1, "approximate_connection_time": 18060}
        return {
            "type": "hello",
            "num_connections": len(self.links) + 1,
            "debug_info": debug,
            "connection_info": {"app_id": self._site.app.id},
        }


async def _first(acknowledged: asyncio.Future[Json], gone: asyncio.Event) -> None:
    """Wait for the one or the other."""
    broken = asyncio.ensure_future(gone.wait())
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


def _answer_in(acknowledgement: Json, delivery: Delivery) -> str:
    payload = acknowledgement.get("payload")
    return json.dumps(payload) if payload and delivery.accepts else ""


def _goodbye(reason: str) -> Json:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-1"}}

"""The page of a deployment kept up to date: Server-Sent Events.

Source: html.spec.whatwg.org, "Server-sent events". An `output` event's id is the byte offset after
it, so that a browser that comes back goes on exactly there.

A stream holds a thread of the web process, so only so many are held. Whoever finds no slot gets
what is new at once and comes back a little later, which EventSource does by itself.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import BoundedSemaphore
from time import monotonic, sleep
from typing import Any

import psycopg
import structlog

from webhook.store import deployments, outbox, output, timeline
from webhook.store.database import Sync, SyncPool
from webhook.timing import Clock
from webhook.web.pages.deployment import Known
from webhook.web.pages.terminal_text import take

log = structlog.get_logger()

# Streams that one process holds open at once.
STREAMS = 8
# Characters of output that a page begins with at most: the last ones.
PAGE_OUTPUT = 1024 * 1024
_COME_BACK = "retry: 3000\n\n"
_HEARTBEAT = ": still here\n\n"

# What a page has to change, as JSON.
News = Callable[[Known], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, but for `streams`."""

    look: float = 0.5
    heartbeat: float = 10.0
    longest: float = 300.0
    streams: int = STREAMS


@dataclass(frozen=True, slots=True)
class Printed:
    """`offset`: the bytes that `text` and what is left out before it (`cut`) were made of."""

    text: str
    offset: int
    cut: bool


class Live:
    """The streams of one process."""

    def __init__(self, pool: SyncPool, pace: Pace, clock: Clock) -> None:
        self._clock = clock
        self._pool = pool
        self._pace = pace
        self._slots = BoundedSemaphore(pace.streams)

    def events(self, deployment_id: int, offset: int, news: News) -> Iterator[str]:
        # Taken in here, so that a response which nobody reads holds no slot.
        held = self._slots.acquire(blocking=False)
        try:
            yield _COME_BACK
            viewer = _Viewer(self._pool, deployment_id, offset, news, self._clock)
            yield from self._follow(viewer) if held else viewer.look()
        except psycopg.Error as error:
            # The browser comes back by itself; the page that it shows stays.
            log.warning("stream ended, the store is away", trouble=type(error).__name__)
        finally:
            if held:
                self._slots.release()

    def _follow(self, viewer: "_Viewer") -> Iterator[str]:
        last_look = monotonic() + self._pace.longest
        heartbeat = 0.0
        while not viewer.done and monotonic() < last_look:
            events = viewer.look()
            yield from events
            if events:
                heartbeat = monotonic() + self._pace.heartbeat
            elif monotonic() >= heartbeat:
                yield _HEARTBEAT
                heartbeat = monotonic() + self._pace.heartbeat
            if not viewer.behind and not viewer.done:
                sleep(self._pace.look)


class _Viewer:
    """How far one page is. `behind`: there may be more output to send at once."""

    def __init__(
        self, pool: SyncPool, deployment_id: int, offset: int, news: News, clock: Clock
    ) -> None:
        self._clock = clock
        self._pool = pool
        self._id = deployment_id
        self._offset = offset
        self._news = news
        self._shown: Known | None = None
        self.behind = False
        self.done = False

    def look(self) -> list[str]:
        with self._pool.connection() as connection:
            known = read(connection, self._id)
            if known is None:
                self.done = True
                return []
            text, used = _piece(connection, known, self._offset)
        self._offset += used
        self.behind = used > 0
        return [*self._printed(text), *self._changed(known), *self._ended(known)]

    def _printed(self, text: str) -> Iterator[str]:
        if self.behind:
            yield _event("output", text, self._offset)

    def _changed(self, known: Known) -> Iterator[str]:
        if known != self._shown:
            self._shown = known
            yield _event("state", self._news(known))

    def _ended(self, known: Known) -> Iterator[str]:
        if not self.behind and known.settled(self._clock()):
            self.done = True
            yield _event("end", {"state": known.row.phase})


def read(connection: Sync, deployment_id: int) -> Known | None:
    row = deployments.read_sync(connection, deployment_id)
    if row is None:
        return None
    return Known(
        row,
        timeline.of_deployment(connection, deployment_id),
        outbox.messages_of(connection, deployment_id),
    )


def printed(connection: Sync, known: Known) -> Printed:
    """All output until now, as far as a page can begin with it."""
    text, offset, total = "", 0, 0
    while True:
        piece, used = _piece(connection, known, offset)
        if not used:
            return Printed(text, offset, total > len(text))
        offset += used
        total += len(piece)
        text = (text + piece)[-PAGE_OUTPUT:]


def _piece(connection: Sync, known: Known, offset: int) -> tuple[str, int]:
    """`known` is read before the output, so that nothing is missed where it is over."""
    raw = output.read(connection, known.row.id, offset)
    text, used = take(raw)
    # What is left unfinished at the end stays so.
    return take(raw, final=True) if known.over and not used else (text, used)


def _event(name: str, data: Any, event_id: int | None = None) -> str:
    head = f"event: {name}\n" if event_id is None else f"event: {name}\nid: {event_id}\n"
    return f"{head}data: {json.dumps(data)}\n\n"

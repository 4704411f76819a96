"""The page of a deployment kept up to date: Server-Sent Events.

Source: html.spec.whatwg.org, "Server-sent events". An `output` event's id is the byte offset after
it, so that a browser that reconnects continues exactly there.

A stream holds a thread of the web process, so only so many are held. Without a free slot
a page gets what is new at once and comes back a little later, which EventSource does by itself.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from threading import BoundedSemaphore
from time import monotonic, sleep
from typing import Any

import psycopg
import structlog

from webhook.store import deployments, outbox, timeline, waits
from webhook.store import output as store_output
from webhook.store.database import Sync, SyncPool
from webhook.store.lineage import lineage_of
from webhook.timing import Clock
from webhook.web.pages.deployment import PageData
from webhook.web.pages.terminal_text import take

log = structlog.get_logger()

# Streams that one process holds open at once.
STREAMS = 8
# Characters of output that a page begins with at most: the last ones.
PAGE_OUTPUT = 1024 * 1024
_COME_BACK = "retry: 3000\n\n"
_HEARTBEAT = ": still here\n\n"

# What a page has to change, as JSON; None: its viewer may not see it any more.
Render = Callable[[PageData], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """Seconds, but for `streams`."""

    poll: float = 0.5
    heartbeat: float = 10.0
    longest: float = 300.0
    streams: int = STREAMS


@dataclass(frozen=True, slots=True)
class Output:
    """`offset`: the bytes that `text` and what is left out before it (`cut`) were made of."""

    text: str
    offset: int
    cut: bool


class Streams:
    """The streams of one process."""

    def __init__(self, pool: SyncPool, timing: StreamTiming, clock: Clock) -> None:
        self._clock = clock
        self._pool = pool
        self._timing = timing
        self._slots = BoundedSemaphore(timing.streams)

    def events(self, deployment_id: int, offset: int, render: Render) -> Iterator[str]:
        # Claimed here, so that a response which nobody reads holds no slot.
        acquired = self._slots.acquire(blocking=False)
        try:
            yield _COME_BACK
            viewer = _Viewer(self._pool, deployment_id, offset, render, self._clock)
            yield from self._follow(viewer) if acquired else viewer.poll()
        except psycopg.Error as error:
            # The browser comes back by itself; the page that it shows stays.
            log.warning("stream ended, no response from the store", error=type(error).__name__)
        finally:
            if acquired:
                self._slots.release()

    def _follow(self, viewer: "_Viewer") -> Iterator[str]:
        end = monotonic() + self._timing.longest
        heartbeat = 0.0
        while not viewer.done and monotonic() < end:
            events = viewer.poll()
            yield from events
            if events:
                heartbeat = monotonic() + self._timing.heartbeat
            elif monotonic() >= heartbeat:
                yield _HEARTBEAT
                heartbeat = monotonic() + self._timing.heartbeat
            if not viewer.behind and not viewer.done:
                sleep(self._timing.poll)


class _Viewer:
    """How far one page is. `behind`: there may be more output to send at once."""

    def __init__(
        self, pool: SyncPool, deployment_id: int, offset: int, render: Render, clock: Clock
    ) -> None:
        self._clock = clock
        self._pool = pool
        self._id = deployment_id
        self._offset = offset
        self._render = render
        self._shown: PageData | None = None
        self.behind = False
        self.done = False

    def poll(self) -> list[str]:
        with self._pool.connection() as connection:
            data = read(connection, self._id, self._clock(), self._shown)
            if data is None:
                self.done = True
                return []
            text, used = _piece(connection, data, self._offset)
        self._offset += used
        self.behind = used > 0
        return [*self._output(text), *self._changed(data), *self._ended(data)]

    def _output(self, text: str) -> Iterator[str]:
        if self.behind:
            yield _event("output", text, self._offset)

    def _changed(self, data: PageData) -> Iterator[str]:
        if data != self._shown:
            self._shown = data
            news = self._render(data)
            if news is None:
                self.done = True
            else:
                yield _event("state", news)

    def _ended(self, data: PageData) -> Iterator[str]:
        if not self.behind and data.settled(self._clock()):
            self.done = True
            yield _event("end", {"state": data.row.phase})


def read(
    connection: Sync, deployment_id: int, now: datetime, known: PageData | None = None
) -> PageData | None:
    """`known`: what was read before."""
    row = deployments.read_sync(connection, deployment_id)
    if row is None:
        return None
    if known is not None and known.row.version == row.version:
        lineage = known.lineage
    else:
        lineage = lineage_of(connection, deployment_id)
    return PageData(
        row,
        lineage,
        timeline.of_deployment(connection, deployment_id),
        outbox.messages_of(connection, deployment_id),
        waits.of_deployment(connection, row, now),
    )


def output_so_far(connection: Sync, data: PageData) -> Output:
    """All output until now, as far as a page can begin with it."""
    text, offset, total = "", 0, 0
    while True:
        piece, used = _piece(connection, data, offset)
        if not used:
            return Output(text, offset, total > len(text))
        offset += used
        total += len(piece)
        text = (text + piece)[-PAGE_OUTPUT:]


def _piece(connection: Sync, data: PageData, offset: int) -> tuple[str, int]:
    """`data` is read before the output, so that nothing is missed at the end."""
    raw = store_output.read(connection, data.row.id, offset)
    text, used = take(raw)
    # What is left unfinished at the end stays so.
    return take(raw, final=True) if data.over and not used else (text, used)


def _event(name: str, content: Any, event_id: int | None = None) -> str:
    head = f"event: {name}\n" if event_id is None else f"event: {name}\nid: {event_id}\n"
    return f"{head}data: {json.dumps(content)}\n\n"

"""Pages kept up to date: Server-Sent Events. An open stream holds no thread and no connection.

A view returns `Live.parts(...)` or `Live.feed(...)`. When one of its topics has changed, the page
is rendered again in one of a few threads, and what differs is sent. Topics are those of migration
0003: `deployment:ID`, `output:ID`, `repository:ID`, `person:ID`, `deployments`, `actions`,
`approvals`, `locks`; and `tick`, every few seconds, for what is not notified.

granian queues what a client does not read. So all streams together send only so much: one that has
had its share ends, and begins again once its browser has read that.

Source: html.spec.whatwg.org, "Server-sent events"; nginx.org, "X-Accel-Buffering";
github.com/emmett-framework/granian, src/rsgi/io.rs (`RSGIHTTPStreamTransport`).
"""

import asyncio
import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, Protocol, TypeVar

import psycopg
import structlog
from cachetools import LRUCache
from flask import Response

from webhook.errors import HttpError
from webhook.http import Outgoing, stream
from webhook.timing import DEFAULT_TIMING, Timing
from webhook.web.changes import Changes, Wake, Watch

log = structlog.get_logger()

T = TypeVar("T")
TICK = "tick"
# Of one process.
STREAMS = 1000
RENDERING_THREADS = 4
_COME_BACK = "retry: 3000\n\n"
_COME_BACK_AT_ONCE = "retry: 100\n\n"
_HEARTBEAT = ": still here\n\n"
_HEADERS = {"X-Accel-Buffering": "no"}  # proxies must not collect what is to be seen at once
# Of what was rendered for several viewers.
_MOST_SHARED = 500


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """Seconds, but for `streams` and `memory`: the bytes that open streams may have sent together.
    `pause`: from one look to the next, at least. `check`: without a notification, it looks again so
    often. `tick`: of that topic."""

    pause: float = 0.5
    check: float = 8.0
    tick: float = 2.0
    heartbeat: float = 10.0
    longest: float = 300.0
    streams: int = STREAMS
    memory: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Parts:
    """A page's title, its tone (of the icon; a label's `kind`), and what may change, by the id of
    its element, as HTML."""

    title: str
    tone: str
    html: Mapping[str, str]


Render = Callable[[], Parts | None]


class Feed(Protocol):
    """What one open page gets. Called in threads, one after the other. `done`: nothing follows.
    `behind`: there is more to send at once."""

    done: bool
    behind: bool

    def poll(self, wake: Wake) -> list[str]:
        """Events. `HttpError`, which means that its viewer may not see it any more; psycopg's."""
        ...


class Live:
    """Of one process. `url`: of the store."""

    def __init__(
        self,
        url: str,
        timing: Timing = DEFAULT_TIMING,
        stream_timing: StreamTiming = StreamTiming(),
    ) -> None:
        self.timing = stream_timing
        self.changes = Changes(url, timing)
        self.threads = ThreadPoolExecutor(RENDERING_THREADS, thread_name_prefix="live")
        self.shared = Shared()
        self.ending = False
        self._open: set[_Stream] = set()

    @property
    def open_streams(self) -> int:
        return len(self._open)

    @property
    def share(self) -> int:
        """Bytes that one stream may send before it begins anew."""
        return self.timing.memory // max(1, len(self._open))

    def parts(
        self, topics: Iterable[str], render: Render, *, key: Hashable | None = None
    ) -> Response:
        """The page's parts, whenever they change. `render` asks for permission again, and returns
        None without; it runs outside of any request. `key`: of viewers who see the same, permission
        included, so that it is rendered for all of them at once."""
        return self.feed(topics, _PartsFeed(render, self.shared, key))

    def feed(self, topics: Iterable[str], feed: Feed) -> Response:
        return stream(_Stream(self, frozenset(topics), feed), "text/event-stream", _HEADERS)

    def claim(self, one: "_Stream") -> bool:
        """Whether there is a slot for it."""
        if self.ending or len(self._open) >= self.timing.streams:
            return False
        self._open.add(one)
        return True

    def release(self, one: "_Stream") -> None:
        self._open.discard(one)

    def end(self) -> None:
        """The server stops: no stream holds it up. To be called on its event loop."""
        self.ending = True
        for one in self._open:
            one.end()
        self.changes.stop()


class _Stream:
    """Without a slot, a page gets what is new at once and comes back a little later, which
    EventSource does by itself."""

    def __init__(self, live: Live, topics: frozenset[str], feed: Feed) -> None:
        self._live = live
        self._feed = feed
        self._watch = Watch(topics)
        self._interval = live.timing.tick if TICK in topics else live.timing.check
        self._over = False
        self._sent = 0
        self._sent_at = 0.0

    def end(self) -> None:
        self._over = True
        self._watch.changed.set()

    async def send(self, outgoing: Outgoing) -> None:
        outgoing.gone.add_done_callback(lambda _: self.end())
        followed = self._live.claim(self)
        self._live.changes.add(self._watch)
        self._write(outgoing, _COME_BACK)
        try:
            await (self._follow(outgoing) if followed else self._look(outgoing, Wake(monotonic())))
        except psycopg.Error as error:
            # The browser comes back by itself; the page that it shows stays.
            log.warning("stream ended, no response from the store", error=type(error).__name__)
        except HttpError:
            self._write(outgoing, event("end", {"state": "hidden"}))
        except Exception:
            log.exception("stream ended")
        finally:
            self._live.changes.remove(self._watch)

    def close(self) -> None:
        self._live.release(self)

    async def _follow(self, outgoing: Outgoing) -> None:
        ends_at = monotonic() + self._live.timing.longest
        wake: Wake | None = Wake(monotonic())
        while wake is not None:
            looked_at = monotonic()
            await self._look(outgoing, wake)
            if self._feed.done:
                return
            if self._sent > self._live.share:
                self._write(outgoing, _COME_BACK_AT_ONCE)
                return
            if self._feed.behind and not self._over:
                wake = Wake(looked_at)
            else:
                wake = await self._next(outgoing, looked_at, ends_at)

    async def _look(self, outgoing: Outgoing, wake: Wake) -> None:
        loop = asyncio.get_running_loop()
        for one in await loop.run_in_executor(self._live.threads, self._feed.poll, wake):
            self._write(outgoing, one)

    async def _next(self, outgoing: Outgoing, looked_at: float, ends_at: float) -> Wake | None:
        """Why to look again, once there is a reason to; None at the end of the stream."""
        timing, changed = self._live.timing, self._watch.changed
        look_at = looked_at + self._interval
        while not changed.is_set() and (now := monotonic()) < min(look_at, ends_at):
            if now >= self._sent_at + timing.heartbeat:
                self._write(outgoing, _HEARTBEAT)
            next_at = min(look_at, ends_at, self._sent_at + timing.heartbeat)
            with suppress(TimeoutError):
                async with asyncio.timeout(next_at - now):
                    await changed.wait()
        await asyncio.sleep(looked_at + timing.pause - monotonic())
        if self._over or monotonic() >= ends_at:
            return None
        return self._watch.take(monotonic() - timing.pause)

    def _write(self, outgoing: Outgoing, text: str) -> None:
        chunk = text.encode()
        outgoing.write(chunk)
        self._sent += len(chunk)
        self._sent_at = monotonic()


class _PartsFeed:
    """`shown`: digests of what the page has."""

    done = False
    behind = False

    def __init__(self, render: Render, shared: "Shared", key: Hashable | None) -> None:
        self._render = render
        self._shared = shared
        self._key = key
        self._shown: dict[str, int] = {}

    def poll(self, wake: Wake) -> list[str]:
        key = self._key
        parts = self._render() if key is None else self._shared.get(key, wake.since, self._render)
        if parts is None:
            self.done = True
            return [event("end", {"state": "hidden"})]
        return parts_event(parts, self._shown)


class Shared:
    """What several viewers see is made once for all of them; `most` of it is kept."""

    def __init__(self, most: int = _MOST_SHARED) -> None:
        self._lock = Lock()
        self._entries: LRUCache[Hashable, _Entry] = LRUCache(most)

    def get(self, key: Hashable, since: float, make: Callable[[], T]) -> T:
        """As `make` returns it, begun no earlier than `since` (by `monotonic`)."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
        with entry.lock:
            if entry.begun < since:
                begun = monotonic()
                entry.made = make()
                entry.begun = begun
            made: T = entry.made
            return made


@dataclass(slots=True)
class _Entry:
    lock: Lock = field(default_factory=Lock)
    begun: float = float("-inf")
    made: Any = None


def parts_event(parts: Parts, shown: dict[str, int]) -> list[str]:
    """A `state` event with those that differ from what is `shown`, which it updates."""
    digests = {name: hash(html) for name, html in parts.html.items()}
    digests[""] = hash((parts.title, parts.tone))
    changed = {name for name, digest in digests.items() if shown.get(name) != digest}
    if not changed:
        return []
    shown.update(digests)
    news = {name: html for name, html in parts.html.items() if name in changed}
    return [event("state", {"title": parts.title, "tone": parts.tone, "parts": news})]


def event(name: str, content: Any, event_id: int | None = None) -> str:
    head = f"event: {name}\n" if event_id is None else f"event: {name}\nid: {event_id}\n"
    return f"{head}data: {json.dumps(content)}\n\n"

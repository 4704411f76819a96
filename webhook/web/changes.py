"""Who watches what, in one process: wakes the streams whose topics the store has notified.

One connection listens, while anybody watches and a little longer. Behind a pooler that loses
notifications, and while the store is away, nothing is heard: whoever watches looks by itself now
and then.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic

import psycopg
import structlog

from webhook.store import changes
from webhook.store.unavailable import first_line
from webhook.timing import Timing

log = structlog.get_logger()

# Seconds: for so long it listens after the last one has gone, and between two tries to connect.
LISTENS_ON_FOR = 10.0
AGAIN_AFTER = 2.0
# What was changed while it began to listen is seen by then.
_BEGUN_AFTER = 1.0


@dataclass(frozen=True, slots=True)
class Wake:
    """Why to look again: what has changed at `since` (by `monotonic`). Without topics: nothing may
    have."""

    since: float
    topics: frozenset[str] = frozenset()


@dataclass(eq=False, slots=True)
class Watch:
    """`changed` is set when one of the topics was notified, until that was taken."""

    topics: frozenset[str]
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _heard: set[str] = field(default_factory=set)
    _at: float = 0.0

    def hear(self, topics: Iterable[str], at: float) -> None:
        self._heard.update(topics)
        self._at = at
        self.changed.set()

    def take(self, otherwise: float) -> Wake:
        """What was heard since it was taken last; if nothing was, of the time `otherwise`."""
        wake = Wake(self._at if self.changed.is_set() else otherwise, frozenset(self._heard))
        self._heard.clear()
        self.changed.clear()
        return wake


class Changes:
    """To be used on one event loop. `url`: of the store."""

    def __init__(self, url: str, timing: Timing) -> None:
        self._url = url
        self._timing = timing
        self._watches: dict[str, set[Watch]] = {}
        self._count = 0
        self._listening: asyncio.Task[None] | None = None
        self._failing = False

    def add(self, watch: Watch) -> None:
        for topic in watch.topics:
            self._watches.setdefault(topic, set()).add(watch)
        self._count += 1
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())

    def remove(self, watch: Watch) -> None:
        for topic in watch.topics:
            self._watches[topic].discard(watch)
            if not self._watches[topic]:
                del self._watches[topic]
        self._count -= 1
        if not self._count:
            asyncio.get_running_loop().call_later(LISTENS_ON_FOR, self._stop_if_idle)

    def wake_all(self) -> None:
        now = monotonic()
        for topic, watches in self._watches.items():
            for watch in watches:
                watch.hear([topic], now)

    def stop(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    def _stop_if_idle(self) -> None:
        if not self._count:
            self.stop()

    async def _listen(self) -> None:
        while True:
            try:
                await changes.listen(self._url, self._timing, self._begun, self._hear)
            except psycopg.Error as error:
                if not self._failing:
                    log.warning("pages are not notified of changes", error=first_line(error))
                self._failing = True
            await asyncio.sleep(AGAIN_AFTER)

    def _begun(self) -> None:
        """A transaction that did not see anybody listen may end a moment later."""
        self._failing = False
        self.wake_all()
        asyncio.get_running_loop().call_later(_BEGUN_AFTER, self.wake_all)

    def _hear(self, topics: Iterable[str]) -> None:
        now = monotonic()
        for topic in topics:
            for watch in self._watches.get(topic, ()):
                watch.hear([topic], now)

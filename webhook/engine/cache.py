"""What others told, remembered for a while: who somebody is, what they may do."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from webhook.timing import Clock

K = TypeVar("K")
V = TypeVar("V")

MOST = 10_000
AT_ONCE = 3


class Remembered(Generic[K, V]):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[K, tuple[V, datetime]] = {}

    def get(self, key: K) -> V | None:
        known = self._known.get(key)
        return known[0] if known and self._clock() < known[1] else None

    def keep(self, key: K, value: V, during: timedelta) -> None:
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = (value, self._clock() + during)


@dataclass(frozen=True, slots=True)
class Recall:
    """Of one process. `logins`: (team, user) -> GitHub login; `mentions`: (team, login) -> how
    Slack mentions that person; both are empty for nobody. `permissions`: (repo, login) -> GitHub's
    word. `unknown`: what GitHub cannot say now of a repository; so many `comparing` it at once."""

    logins: Remembered[tuple[str, str], str]
    mentions: Remembered[tuple[str, str], str]
    permissions: Remembered[tuple[str, str], str]
    unknown: Remembered[str, str]
    comparing: asyncio.Semaphore

    @classmethod
    def empty(cls, clock: Clock) -> "Recall":
        return cls(
            logins=Remembered(clock),
            mentions=Remembered(clock),
            permissions=Remembered(clock),
            unknown=Remembered(clock),
            comparing=asyncio.Semaphore(AT_ONCE),
        )

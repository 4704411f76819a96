"""What others told, remembered for a while: who somebody is, what they may do."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

# Seconds.
PEOPLE = 600.0
NOBODY = 60.0
PERMISSION = 60.0
MOST = 10_000
AT_ONCE = 3


class Remembered(Generic[K, V]):
    def __init__(self) -> None:
        self._known: dict[K, tuple[V, float]] = {}

    def get(self, key: K) -> V | None:
        value, until = self._known.get(key, (None, 0.0))
        return value if time.monotonic() < until else None

    def keep(self, key: K, value: V, seconds: float) -> None:
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = (value, time.monotonic() + seconds)


@dataclass(frozen=True, slots=True)
class Recall:
    """Of one process. `logins`: (team, user) -> GitHub login; `mentions`: (team, login) -> how
    Slack mentions that person; both are empty for nobody. `permissions`: (repo, login) -> GitHub's
    word. `unknown`: what GitHub cannot say now of a repository; so many `comparing` it at once."""

    logins: Remembered[tuple[str, str], str] = field(default_factory=Remembered)
    mentions: Remembered[tuple[str, str], str] = field(default_factory=Remembered)
    permissions: Remembered[tuple[str, str], str] = field(default_factory=Remembered)
    unknown: Remembered[str, str] = field(default_factory=Remembered)
    comparing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

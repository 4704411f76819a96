"""What is known for a while: what people may do, which commits cannot be compared."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from cachetools import TTLCache

from webhook.timing import Clock, Timing

MOST = 10_000
AT_ONCE = 3

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Caches:
    """Of one process. `permissions`: (repo, login) -> GitHub's permission. `unknown_changelogs`:
    not compared again for a while. So many compare commits at once as `comparing` lets in."""

    permissions: TTLCache[Pair, str, datetime]
    unknown_changelogs: TTLCache[str, str, datetime]
    comparing: asyncio.Semaphore

    @classmethod
    def empty(cls, timing: Timing, clock: Clock) -> "Caches":
        return cls(
            permissions=TTLCache(MOST, timing.permission_cached, clock),
            unknown_changelogs=TTLCache(MOST, timing.changelog_error_cached, clock),
            comparing=asyncio.Semaphore(AT_ONCE),
        )

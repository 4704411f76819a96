"""What is known for a while: who somebody is, what they may do."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from cachetools import TTLCache

from webhook.timing import Clock, Timing

MOST = 10_000
AT_ONCE = 3

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Caches:
    """Of one process. `logins`: (team, user) -> GitHub login; `mentions`: (team, login) -> how
    Slack mentions that person, empty for nobody; `permissions`: (repo, login) -> GitHub's word.
    `unknown_…`: what is not asked again for now. So many compare commits at once as `comparing`
    lets in."""

    logins: TTLCache[Pair, str, datetime]
    unknown_logins: TTLCache[Pair, str, datetime]
    mentions: TTLCache[Pair, str, datetime]
    unknown_mentions: TTLCache[Pair, str, datetime]
    permissions: TTLCache[Pair, str, datetime]
    unknown_changelogs: TTLCache[str, str, datetime]
    comparing: asyncio.Semaphore

    @classmethod
    def empty(cls, timing: Timing, clock: Clock) -> "Caches":
        def pairs(during: timedelta) -> TTLCache[Pair, str, datetime]:
            return TTLCache(MOST, during, clock)

        return cls(
            logins=pairs(timing.person_cached),
            unknown_logins=pairs(timing.nobody_cached),
            mentions=pairs(timing.person_cached),
            unknown_mentions=pairs(timing.nobody_cached),
            permissions=pairs(timing.permission_cached),
            unknown_changelogs=TTLCache(MOST, timing.changelog_error_cached, clock),
            comparing=asyncio.Semaphore(AT_ONCE),
        )

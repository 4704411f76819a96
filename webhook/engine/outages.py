"""After an outage, what waits for the same party follows the first write that gets through.

The longer an error lasts, the longer the pauses. So of what a party rejects, the newest is tried
often; and once a write gets through that had to wait, everything else that waits for that party is
due, the newest first and not all of it at once.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self

import structlog
from cachetools import TTLCache

from webhook.store import outages
from webhook.store.database import Async, AsyncPool
from webhook.timing import Clock, Timing

log = structlog.get_logger()

# Of one process.
_MOST_PARTIES = 10_000


class Party(Protocol):
    """Whom writes wait for together."""

    async def bring_forward(self, connection: Async) -> int:
        """How many of what waits for it are due now."""
        ...

    async def is_newest(self, connection: Async, rejected: int) -> bool:
        """It rejects nothing that is newer."""
        ...


@dataclass(frozen=True, slots=True)
class Installation:
    """Of the App on GitHub, which takes the statuses of its deployments."""

    id: int

    async def bring_forward(self, connection: Async) -> int:
        return await outages.bring_statuses_forward(connection, self.id)

    async def is_newest(self, connection: Async, rejected: int) -> bool:
        """`rejected`: a deployment."""
        return await outages.is_newest_rejected_status(connection, self.id, rejected)


@dataclass(frozen=True, slots=True)
class Destination:
    """Of messages."""

    name: str

    async def bring_forward(self, connection: Async) -> int:
        return await outages.bring_messages_forward(connection, self.name)

    async def is_newest(self, connection: Async, rejected: int) -> bool:
        """`rejected`: an entry of the outbox."""
        return await outages.is_newest_rejected_message(connection, self.name, rejected)


@dataclass(frozen=True, slots=True)
class Outages:
    """`ended`: parties whose outage has just ended; what waited for them is due already."""

    pool: AsyncPool
    timing: Timing
    clock: Clock
    ended: TTLCache[Party, bool, datetime]

    @classmethod
    def none(cls, pool: AsyncPool, timing: Timing, clock: Clock) -> Self:
        return cls(pool, timing, clock, TTLCache(_MOST_PARTIES, timing.outage_counts_after, clock))

    async def got_through(self, party: Party, wanted_at: datetime) -> None:
        """A write to it has, which has been wanted since then."""
        waited = self.clock() - wanted_at
        if waited < self.timing.outage_counts_after or party in self.ended:
            return
        self.ended[party] = True
        async with self.pool.connection() as connection:
            waiting = await party.bring_forward(connection)
        if waiting:
            log.info("writes get through again, what waits follows", to=party, waiting=waiting)

    async def probed_at(self, party: Party, rejected: int, again: datetime) -> datetime:
        """When to try again what it rejects: `again`, or sooner, where nothing newer is tried."""
        soon = self.clock() + self.timing.newest_rejected_retry
        if again <= soon:
            return again
        async with self.pool.connection() as connection:
            return soon if await party.is_newest(connection, rejected) else again

"""When a worker has reason to doubt that all deliveries arrive: it could not reach GitHub, so that
GitHub may have been unable to reach the relay, or the store was away.

A doubt is recorded as soon as the store takes it; `webhook.engine.recovery` compares GitHub's list
some time after it.
"""

import asyncio

import psycopg
import structlog

from webhook.store import recovery
from webhook.store.database import AsyncPool
from webhook.timing import Timing

log = structlog.get_logger()


class Doubts:
    """Of one worker process."""

    def __init__(self, pool: AsyncPool, timing: Timing) -> None:
        self._pool = pool
        self._timing = timing
        self._reason = ""
        self._added = asyncio.Event()

    def add(self, reason: str) -> None:
        """Costs nothing, however often it is called."""
        self._reason = reason
        self._added.set()

    async def run_forever(self) -> None:
        """One is recorded at most in the time after which the list is compared for it."""
        while True:
            await self._added.wait()
            try:
                async with self._pool.connection() as connection:
                    self._added.clear()
                    after = self._timing.deliveries_compared_after_doubt
                    await recovery.doubt(connection, self._reason, after)
            except (psycopg.Error, OSError):
                self._added.set()
                await asyncio.sleep(self._timing.worker_restart_pause.total_seconds())
            else:
                log.info("a delivery may have been lost", reason=self._reason)
                await asyncio.sleep(after.total_seconds())

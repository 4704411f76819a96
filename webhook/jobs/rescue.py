"""Every few seconds, each worker records that it is there and counts what waits, and one of them
finds what nobody does.

What a dead worker had claimed is due again by itself (webhook.jobs.dispatcher).
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import structlog

from webhook.jobs.pacing import Pacing
from webhook.store import machines, open_deployments, schedule, workers
from webhook.store.database import Async, AsyncPool
from webhook.store.schedule import Key
from webhook.store.workers import WorkerProcess
from webhook.timing import Timing

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rescue:
    """Of one worker process."""

    pool: AsyncPool
    worker: WorkerProcess
    timing: Timing
    pacing: Pacing

    async def run_forever(self) -> None:
        while True:
            try:
                await self._run()
            except Exception as error:  # noqa: BLE001 - the next one may succeed
                log.warning("rescue failed", error=str(error))
            await asyncio.sleep(self.timing.rescue_interval.total_seconds())

    async def end(self) -> None:
        """Of the process: nobody waits for it any more."""
        with suppress(Exception):  # the store may be away; a silent one does not count either
            async with self.pool.connection() as connection:
                await workers.ended(connection, self.worker)

    async def _run(self) -> None:
        machine_id = self.worker.machine_id
        async with self.pool.connection() as connection:
            await machines.seen(connection, machine_id)
            await workers.seen(connection, self.worker)
            self.pacing.measured(await schedule.load(connection))
            async with connection.transaction():
                if await workers.lock_rescue(connection):
                    await self._adopt_orphans(connection)
                    await schedule.release_from_gone(connection, machine_id)

    async def _adopt_orphans(self, connection: Async) -> None:
        """Open deployments that nobody advances."""
        orphans = await open_deployments.unscheduled(connection)
        for deployment_id in orphans:
            log.error("deployment is not scheduled, adding it", deployment=deployment_id)
        if orphans:
            await schedule.request(connection, [Key("advance", one) for one in orphans])

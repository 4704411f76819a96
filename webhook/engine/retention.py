"""Every few minutes, each worker deletes what was kept for long enough (`GITPLOY_KEEP_…`), beside
the load: in small batches, with a pause after each that is longer than it took, for a bounded time;
what is left is deleted the next time.

One worker at a time deletes from the store. The files that runs left on a machine are removed by a
worker there: their output is in the store.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

import structlog

from handlers.contract import LeavesFiles
from webhook.engine.services import Services
from webhook.store import retention
from webhook.store.retention import Delete

log = structlog.get_logger()

# A batch is followed by a pause of so many times its duration.
PAUSE = 4
FILES_AT_ONCE = 500
# GitHub ends a run of Actions after 35 days at the latest.
KEEP_TOOL_EVENTS = timedelta(days=35)
# GitHub lists deliveries of seven days at most.
KEEP_MISSED = timedelta(days=8)
# Machines that are silent, channels without messages.
KEEP_UNUSED = timedelta(days=30)
# A deploy.yml that nobody uses: messages of what ended with it are still edited.
KEEP_CONFIGS = timedelta(days=7)
# What counts of deployments: the longest period of /insights, and the one before it.
KEEP_FACTS = timedelta(days=731)
# A run's files, after its end; of a deployment that the store does not know: a backup may.
KEEP_FILES = timedelta(days=1)
KEEP_UNKNOWN_FILES = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Retention:
    """Of one worker process."""

    services: Services

    async def run_forever(self) -> None:
        while True:
            await asyncio.sleep(self.services.timing.retention_interval.total_seconds())
            try:
                await self.run()
            except Exception as error:  # noqa: BLE001 - the next one may succeed
                log.warning("old rows could not be deleted", error=str(error))

    async def run(self) -> int:
        """How many rows were deleted."""
        await self._remove_files()
        await self.services.configs.keep(self.services.config)  # for what begins from now on
        until = monotonic() + self.services.timing.retention_lasts.total_seconds()
        total = 0
        for name, (delete, kept) in self._deletes().items():
            if kept is not None:
                deleted = await self._delete(delete, self.services.clock() - kept, until)
                total += deleted
                if deleted:
                    log.info("old rows deleted", of=name, rows=deleted)
        return total

    def _deletes(self) -> dict[str, tuple[Delete, timedelta | None]]:
        """Each with how long it keeps; None: forever."""
        keep = self.services.keep
        return {
            "output": (retention.output, keep.output),
            "deployments": (retention.deployments, keep.deployments),
            "facts of deployments": (
                retention.facts,
                max(keep.deployments, KEEP_FACTS) if keep.deployments else None,
            ),
            "commands": (retention.commands, keep.deployments),
            "automatic deployments": (retention.automatic_deployments, keep.deployments),
            "announcements": (retention.announcements, keep.deployments),
            "checks of files": (retention.file_checks, keep.deployments),
            "deliveries": (retention.deliveries, keep.deliveries),
            "requests of deliveries": (retention.delivery_requests, keep.deliveries),
            "missed deliveries": (retention.missed_deliveries, KEEP_MISSED),
            "tool events": (retention.tool_events, KEEP_TOOL_EVENTS),
            "rate limits": (retention.rate_limits, KEEP_UNUSED),
            "machines": (retention.machines, KEEP_UNUSED),
            "deploy.yml": (retention.configs, KEEP_CONFIGS),
        }

    async def _delete(self, delete: Delete, before: datetime, until: float) -> int:
        deleted, after = 0, 0
        while monotonic() < until:
            began = monotonic()
            async with self.services.pool.connection() as connection, connection.transaction():
                if not await retention.lock(connection):
                    break
                batch = await delete(connection, after, before)
            deleted += batch.deleted
            if batch.after is None:
                break
            after = batch.after
            await asyncio.sleep(PAUSE * (monotonic() - began))
        return deleted

    async def _remove_files(self) -> None:
        for handler in self.services.handlers.values():
            if isinstance(handler, LeavesFiles):
                await self._remove_files_of(handler)

    async def _remove_files_of(self, handler: LeavesFiles) -> None:
        now, data_dir = self.services.clock(), self.services.handler_context.data_dir
        ended = await asyncio.to_thread(lambda: [*handler.ended_runs(data_dir, now - KEEP_FILES)])
        for begin in range(0, len(ended), FILES_AT_ONCE):
            some = dict(ended[begin : begin + FILES_AT_ONCE])
            async with self.services.pool.connection() as connection:
                over = await retention.are_over(connection, some)
            for deployment_id, changed in some.items():
                if over.get(deployment_id, changed < now - KEEP_UNKNOWN_FILES):
                    await asyncio.to_thread(handler.remove_run, data_dir, deployment_id)

"""Every few seconds, each worker searches for jobs that no worker runs any more.

Source: procrastinate.readthedocs.io, "Retry stalled jobs". A worker that died leaves its jobs as
`doing`. So does a live one that could not record how a job ended; it knows which jobs it really
runs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog
from procrastinate import JobContext
from procrastinate.worker import Worker

from webhook.jobs.queue import Queue
from webhook.store import deployments, jobs, machines, schedule, workers
from webhook.store.database import Async, AsyncPool
from webhook.store.workers import WorkerProcess
from webhook.timing import Clock, Timing

log = structlog.get_logger()


class Rescue:
    """Of one worker process."""

    def __init__(
        self, pool: AsyncPool, queue: Queue, worker: WorkerProcess, timing: Timing, clock: Clock
    ) -> None:
        self._pool = pool
        self._queue = queue
        self._worker = worker
        self._machine_id = worker.machine_id
        self._timing = timing
        self._clock = clock
        # A job keeps its id when it is tried again: (id, attempts) is one execution of it.
        self._running: set[tuple[int, int]] = set()
        self._worker_ids: set[int] = set()
        self._unrecorded: set[tuple[int, int]] = set()

    async def track(
        self, call: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker
    ) -> Any:
        """Task middleware: which jobs this process runs."""
        if worker.worker_id is not None:
            self._worker_ids.add(worker.worker_id)
        execution = (context.job.id or 0, context.job.attempts)
        self._running.add(execution)
        try:
            return await call()
        finally:
            self._running.discard(execution)

    async def run_forever(self) -> None:
        while True:
            try:
                await self._run()
            except Exception as error:  # noqa: BLE001 - the next one may succeed
                log.warning("rescue of jobs failed", error=str(error))
            await asyncio.sleep(self._timing.rescue_interval.total_seconds())

    async def end(self) -> None:
        """Of the process: nobody waits for it any more."""
        with suppress(Exception):  # the store may be away; a silent one does not count either
            async with self._pool.connection() as connection:
                await workers.ended(connection, self._worker)

    async def _run(self) -> None:
        async with self._pool.connection() as connection:
            await machines.seen(connection, self._machine_id)
            await workers.seen(connection, self._worker)
            async with connection.transaction():
                if await jobs.lock_rescue(connection):
                    await self._retry_stalled()
                    await self._adopt_orphans(connection)
                    await schedule.release_from_gone(connection, self._machine_id)
            await self._release_unrecorded(connection)

    async def _retry_stalled(self) -> None:
        """Jobs of dead workers."""
        manager = self._queue.app.job_manager
        seconds = self._timing.worker_stalled_after.total_seconds()
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=seconds):
            log.warning("retrying job of a dead worker", job=job.task_name, args=job.task_kwargs)
            await manager.retry_job(job)

    async def _adopt_orphans(self, connection: Async) -> None:
        """Open deployments that nobody advances."""
        orphans = await deployments.unscheduled(connection)
        for deployment_id in orphans:
            log.error("deployment is not scheduled, adding it", deployment=deployment_id)
        if orphans:
            await schedule.request(connection, [schedule.Key("advance", it) for it in orphans])

    async def _release_unrecorded(self, connection: Async) -> None:
        """Jobs that are `doing` here but do not run, found twice in a row: recording the end of a
        job takes a moment."""
        unrecorded = await jobs.doing(connection, self._worker_ids) - self._running
        for job_id, _ in unrecorded & self._unrecorded:
            log.warning("retrying job whose end was not recorded", job_id=job_id)
            manager = self._queue.app.job_manager
            await manager.retry_job_by_id_async(job_id, retry_at=self._clock())
        self._unrecorded = unrecorded

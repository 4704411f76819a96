"""Every few seconds: jobs that nobody is at any more are taken up again.

Source: procrastinate.readthedocs.io, "Retry stalled jobs". A worker that died leaves its jobs as
`doing`. A live one does so too if it could not record how a job ended; it knows which jobs it is
really at.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from procrastinate import JobContext
from procrastinate.worker import Worker

from webhook.engine.services import Services
from webhook.store import deployments, jobs, machines
from webhook.store.database import Async

log = structlog.get_logger()


class Sweeper:
    """Of one worker process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        # A job keeps its id when it is tried again: (id, attempts) is one execution of it.
        self._running: set[tuple[int, int]] = set()
        self._worker_ids: set[int] = set()
        self._idle: set[tuple[int, int]] = set()

    async def note(
        self, call: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker
    ) -> Any:
        """Task middleware: which jobs this process is at."""
        if worker.worker_id is not None:
            self._worker_ids.add(worker.worker_id)
        execution = (context.job.id or 0, context.job.attempts)
        self._running.add(execution)
        try:
            return await call()
        finally:
            self._running.discard(execution)

    async def sweep_forever(self) -> None:
        while True:
            try:
                await self._sweep()
            except Exception as error:  # noqa: BLE001 - the next one may go better
                log.warning("sweep failed", words=str(error))
            await asyncio.sleep(self._services.timing.rescue_interval.total_seconds())

    async def _sweep(self) -> None:
        async with self._services.pool.connection() as connection:
            await machines.seen(connection, self._services.machine_id)
            async with connection.transaction():
                if await jobs.try_lock(connection):
                    await self._take_over()
                    await self._take_up(connection)
                    await jobs.requeue_from_gone_machines(connection, self._services.machine_id)
            await self._take_back(connection)

    async def _take_over(self) -> None:
        """What dead workers were at."""
        manager = self._services.queue.app.job_manager
        seconds = self._services.timing.worker_stalled_after.total_seconds()
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=seconds):
            log.warning("job of a dead worker taken over", job=job.task_name, args=job.task_kwargs)
            await manager.retry_job(job)

    async def _take_up(self, connection: Async) -> None:
        """Deployments without a job."""
        for deployment_id in await deployments.unattended(connection):
            log.error("deployment without a job taken up", deployment=deployment_id)
            await self._services.queue.advance(connection, deployment_id)

    async def _take_back(self, connection: Async) -> None:
        """What is said to be done here, and is not: twice in a row, as ends take a moment."""
        idle = await jobs.running(connection, self._worker_ids) - self._running
        for job_id, _ in idle & self._idle:
            log.warning("job whose end was not recorded taken up again", job_id=job_id)
            manager = self._services.queue.app.job_manager
            await manager.retry_job_by_id_async(job_id, retry_at=self._services.clock())
        self._idle = idle

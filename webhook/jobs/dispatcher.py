"""Does what is due: claims it in batches, does each thing in a task of its own, and records in
batches what has finished (webhook.store.schedule).

A thing is done by one worker at a time. If that worker dies, its claims end after
`Timing.worker_stalled_after`; a live one extends them.

What a worker requests it claims itself, as soon as the job that did so has ended; other workers are
woken where it has as much to do as it can, where a thing is for another machine, and at its end.
Web processes wake all. So whoever is idle need not query the store often.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
import structlog

from webhook.errors import Conflict, RetryAt
from webhook.store import schedule
from webhook.store.database import AsyncPool
from webhook.store.schedule import Due, Finished, Key, Kind, Task
from webhook.store.workers import WorkerProcess
from webhook.timing import Clock, Timing

log = structlog.get_logger()

# Things of a kind that a worker does at a time. What is only waited for takes no place of what was
# requested. Checks of runs wait for their tools, which may be slow.
CONCURRENCY = 20
CHECKS: Kind = ("advance", False)
MOST_CHECKS = 200
# Seconds until what could not be recorded is tried again.
_LOCKED_PAUSE = 0.02

_OF_DEPLOYMENTS: frozenset[Task] = frozenset({"advance", "send_statuses", "notify"})

Job = Callable[[Due], Awaitable[None]]


@dataclass(slots=True)
class Dispatcher:
    """Of one worker process. `url`: of the store, to listen on. An error that no job expects is
    retried, after growing pauses."""

    url: str
    worker: WorkerProcess
    jobs: Mapping[Task, Job]
    pool: AsyncPool
    timing: Timing
    clock: Clock
    _stopping: bool = False
    _running: dict[Key, Due] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _finished: list[Finished] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _record: asyncio.Event = field(default_factory=asyncio.Event)
    # What a worker records as finished it may claim again only when it knows that it is recorded.
    _at_store: asyncio.Lock = field(default_factory=asyncio.Lock)
    # Some may be due that were not claimed with the others.
    _more_checks: bool = False
    # Seconds on the loop's clock.
    _next_checks: float = 0.0
    _next_record: float = 0.0
    _next_help: float = 0.0

    async def request(self, keys: Collection[Key]) -> None:
        """To be done now."""
        async with self.pool.connection() as connection:
            await schedule.request(connection, keys)
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Until it is stopped, and what was under way is finished. Whatever part fails ends it."""
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._go_on(serve))
                for serve in (self._listen, self._keep_claims, self._record_finished)
            ]
            await self._go_on(self._dispatch)
            await self._end_running()
            for task in background:
                task.cancel()
        await self._record_rest()

    async def _go_on(self, serve: Callable[[], Awaitable[None]]) -> None:
        """Also after the store was away."""
        while not self._stopping:
            try:
                await serve()
            except (psycopg.Error, OSError) as error:
                log.warning("the store does not respond, trying again", error=str(error))
                await asyncio.sleep(self.timing.worker_restart_pause.total_seconds())

    async def _dispatch(self) -> None:
        while not self._stopping:
            self._wake.clear()
            next_in = await self._claim(free) if (free := self._free()) else None
            await self._call_for_help()
            await self._wait(next_in)

    async def _claim(self, free: Mapping[Kind, int]) -> timedelta | None:
        """Until when there is nothing more to claim of these kinds, unless it is requested."""
        async with self._at_store, self.pool.connection() as connection:
            claimed = await schedule.claim(
                connection,
                free,
                worker=self.worker.id,
                machine_id=self.worker.machine_id,
                lasts=self.timing.worker_stalled_after,
            )
        for due in claimed.due:
            if self._stopping:
                self._finished.append(Finished(due=due, again=self.clock(), urgent=due.urgent))
            else:
                self._start(due)
        checks, pauses = sum(due.kind == CHECKS for due in claimed.due), claimed.next_in
        if checks:
            gathered = self.timing.checks_gathered_for
            self._next_checks = _now() + gathered.total_seconds()
            pauses[CHECKS] = max(gathered, pauses.get(CHECKS, gathered))
        self._more_checks = checks >= free.get(CHECKS, 0)
        return min(pauses.values(), default=None)

    def _free(self) -> dict[Kind, int]:
        used = Counter(due.kind for due in self._running.values())
        kinds: list[Kind] = [(task, urgent) for task in self.jobs for urgent in (True, False)]
        free = {kind: CONCURRENCY - used[kind] for kind in kinds}
        free[CHECKS] = min(MOST_CHECKS - used[CHECKS], self._most_checks())
        return {kind: most for kind, most in free.items() if most > 0}

    def _most_checks(self) -> int:
        """Of one claim. After an outage all are overdue, and must not take the whole processor."""
        if _now() < self._next_checks:
            return 0
        gathered = self.timing.checks_gathered_for.total_seconds()
        return max(1, round(2 * self.timing.checks_a_second * gathered))

    async def _call_for_help(self) -> None:
        used = Counter(due.kind for due in self._running.values())
        full = any(count >= CONCURRENCY for kind, count in used.items() if kind != CHECKS)
        if full and _now() >= self._next_help:
            self._next_help = _now() + self.timing.help_interval.total_seconds()
            async with self.pool.connection() as connection:
                await schedule.wake_workers(connection)

    async def _wait(self, next_in: timedelta | None) -> None:
        timing = self.timing
        most = timing.job_poll_interval if self._running else timing.idle_poll_interval
        seconds = most.total_seconds()
        if next_in is not None:
            seconds = min(seconds, next_in.total_seconds())
        if self._more_checks and self._next_checks > (now := _now()):
            seconds = min(seconds, self._next_checks - now)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()

    def _start(self, due: Due) -> None:
        if due.key in self._running:
            return  # its claim had ended, and begins anew
        self._running[due.key] = due
        task = asyncio.create_task(self._do(due))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, due: Due) -> None:
        structlog.contextvars.clear_contextvars()
        deployment = due.subject if due.task in _OF_DEPLOYMENTS else None
        structlog.contextvars.bind_contextvars(job=due.task, deployment=deployment)
        try:
            async with asyncio.timeout(self.timing.job_within.total_seconds()):
                await self.jobs[due.task](due)
            finished = Finished(due=due)
        except RetryAt as wait:
            finished = Finished(
                due=due, again=wait.at, machine_id=wait.machine_id, urgent=wait.urgent
            )
        except (Conflict, asyncio.CancelledError):
            finished = Finished(due=due, again=self.clock(), urgent=due.urgent)
        except Exception:
            log.exception("job failed, will be retried", attempts=due.attempts)
            finished = Finished(due=due, again=self.clock() + self._pause(due), failed=True)
        self._end(finished)

    def _end(self, finished: Finished) -> None:
        self._finished.append(finished)
        if finished.due.kind == CHECKS:
            asyncio.get_running_loop().call_at(self._next_record, self._record.set)
        else:
            self._record.set()
            self._wake.set()  # it may have requested something

    def _pause(self, due: Due) -> timedelta:
        if due.task == "advance":
            return self.timing.step_retry
        return min(timedelta(seconds=2 ** min(due.attempts + 1, 6)), self.timing.job_retry_at_most)

    async def _record_finished(self) -> None:
        while True:
            await self._record.wait()
            self._record.clear()
            async with self._at_store:
                if self._finished:
                    await self._record_batch()

    async def _record_batch(self) -> None:
        """What finishes while a statement is under way shares the next one."""
        batch, self._finished = self._finished, []
        self._next_record = _now() + self.timing.checks_gathered_for.total_seconds()
        unrecorded = {one.due.key for one in batch}
        try:
            async with self.pool.connection() as connection:
                unrecorded = await schedule.finish(connection, batch, worker=self.worker.id)
                if any(one.machine_id for one in batch):
                    await schedule.wake_workers(connection)
        finally:
            left = [one for one in batch if one.due.key in unrecorded]
            for one in batch:
                if one.due.key not in unrecorded:
                    self._running.pop(one.due.key, None)
            if left:
                self._finished += left
                asyncio.get_running_loop().call_later(_LOCKED_PAUSE, self._record.set)
            self._wake.set()

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(self.timing.worker_heartbeat.total_seconds())
            if self._running:
                async with self.pool.connection() as connection:
                    await schedule.keep_claims(
                        connection,
                        list(self._running),
                        worker=self.worker.id,
                        lasts=self.timing.worker_stalled_after,
                    )

    async def _listen(self) -> None:
        await schedule.listen(self.url, self.timing, self._wake.set)

    async def _end_running(self) -> None:
        within = self.timing.shutdown_within.total_seconds()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=within)
        running = list(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _record_rest(self) -> None:
        """If the store is away, its claims end by themselves."""
        with suppress(psycopg.Error, OSError):
            async with asyncio.timeout(self.timing.connection_within.total_seconds()):
                while self._finished:
                    await self._record_batch()
                    await asyncio.sleep(_LOCKED_PAUSE if self._finished else 0)
                async with self.pool.connection() as connection:
                    await schedule.wake_workers(connection)


def _now() -> float:
    return asyncio.get_running_loop().time()

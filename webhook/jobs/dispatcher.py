"""Does what is due: each thing in a task of its own. One statement records what has finished and
claims what is due instead (webhook.store.schedule).

A thing is done by one worker at a time. If that worker dies, its claims end after
`Timing.worker_stalled_after`; a live one extends them. One that could not knows so by its leases
(webhook.jobs.lease): its jobs do not act any more, and are left to others.

What a worker requests it claims itself, as soon as the job that did so has ended; other workers are
woken where it has as much to do as it can, where a thing is for another machine, and at its end.
Web processes wake all. So whoever is idle need not query the store often.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

import psycopg
import structlog

from handlers.uptime import uptime
from webhook.errors import Conflict, RetryAt
from webhook.jobs import lease
from webhook.jobs.lease import Lease
from webhook.store import schedule
from webhook.store.database import AsyncPool
from webhook.store.schedule import Due, Exchange, Finished, Key, Kind, Task
from webhook.store.workers import WorkerProcess
from webhook.timing import Clock, Timing

log = structlog.get_logger()

# Things of a kind that a worker does at a time. What is only waited for takes no place of what was
# requested. Checks of runs wait for their tools, which may be slow.
CONCURRENCY = 20
CHECKS: Kind = ("advance", False)
MOST_CHECKS = 200
# Until what could not be recorded is tried again.
_LOCKED_PAUSE = timedelta(milliseconds=20)

_OF_DEPLOYMENTS: frozenset[Task] = frozenset({"advance", "send_statuses", "notify"})

Job = Callable[[Due], Awaitable[None]]


def _ignore() -> None:
    """Where nobody wants to know."""


@dataclass(slots=True)
class _Running:
    """What is under way, or could not be recorded yet."""

    due: Due
    lease: Lease
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Dispatcher:
    """Of one worker process. `url`: of the store, to listen on. An error that no job expects is
    retried, after growing pauses. `on_store_away` is called whenever the store does not respond."""

    url: str
    worker: WorkerProcess
    jobs: Mapping[Task, Job]
    pool: AsyncPool
    timing: Timing
    clock: Clock
    on_store_away: Callable[[], None] = _ignore
    _stopping: bool = False
    _running: dict[Key, _Running] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _finished: list[Finished] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    # Seconds on the loop's clock.
    _next_checks: float = 0.0
    _next_help: float = 0.0

    async def request(self, keys: Collection[Key]) -> None:
        """To be done now."""
        async with self.pool.connection() as connection:
            await schedule.request(connection, keys)
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing more, and end what does not end by itself in time."""
        self._stopping = True
        self._wake.set()
        within = self.timing.shutdown_within.total_seconds()
        asyncio.get_running_loop().call_later(within, self._cancel)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def run(self) -> None:
        """Until it is stopped, and what was under way is finished. Whatever part fails ends it."""
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self._go_on(serve)) for serve in (self._listen, self._keep_claims)
            ]
            beside.append(group.create_task(self._leave_lost()))
            await self._go_on(self._dispatch)
            for task in beside:
                task.cancel()
        with suppress(psycopg.Error, OSError):  # what is left is for others
            async with self.pool.connection() as connection:
                await schedule.wake_workers(connection)

    async def _go_on(self, serve: Callable[[], Awaitable[None]]) -> None:
        """Also after the store was away. Once stopped, what cannot be recorded is left: its claims
        end by themselves."""
        while True:
            try:
                await serve()
            except (psycopg.Error, OSError) as error:
                log.warning("the store does not respond, trying again", error=str(error))
                self.on_store_away()
                await asyncio.sleep(self.timing.worker_restart_pause.total_seconds())
            if self._stopping and all(task.done() for task in self._tasks):
                break

    async def _dispatch(self) -> None:
        while not (self._stopping and not self._running):
            self._wake.clear()
            batch = [replace(one, due=self._running[one.due.key].due) for one in self._finished]
            self._finished = []
            free = self._free(batch)
            next_in = await self._exchange(batch, free) if batch or free else None
            await self._call_for_help(batch)
            await self._wait(next_in)

    def _free(self, finished: Sequence[Finished]) -> dict[Kind, int]:
        """Of checks, none may be free now, and still it is asked when the next one is due."""
        if self._stopping:
            return {}
        used = Counter(one.due.kind for one in self._running.values())
        used.subtract(one.due.kind for one in finished)
        kinds: list[Kind] = [(task, urgent) for task in self.jobs for urgent in (True, False)]
        free = {kind: CONCURRENCY - used[kind] for kind in kinds if used[kind] < CONCURRENCY}
        free[CHECKS] = max(0, min(MOST_CHECKS - used[CHECKS], self._most_checks()))
        return free

    def _most_checks(self) -> int:
        """Of one claim. After an outage all are overdue, and must not take the whole processor."""
        if _now() < self._next_checks:
            return 0
        return max(1, round(2 * self.timing.checks_a_second * self._gathered_for))

    @property
    def _gathered_for(self) -> float:
        return self.timing.checks_gathered_for.total_seconds()

    async def _exchange(
        self, batch: Sequence[Finished], free: Mapping[Kind, int]
    ) -> timedelta | None:
        """Until when there is nothing to claim, unless it is requested. What finishes meanwhile
        shares the next statement."""
        unrecorded: Collection[Key] = {one.due.key for one in batch}
        try:
            async with self.pool.connection() as connection:
                sent_at = uptime()
                done = await schedule.exchange(
                    connection,
                    batch,
                    free,
                    worker=self.worker.id,
                    machine_id=self.worker.machine_id,
                    lasts=self.timing.worker_stalled_after,
                    now=self.clock(),
                )
            unrecorded = done.unrecorded
        finally:
            for one in batch:
                if one.due.key in unrecorded:
                    self._finished.append(one)
                else:
                    self._running.pop(one.due.key, None)
        for due in done.claimed:
            self._start(due, Lease.of_claim(sent_at, self.timing.worker_stalled_after))
        return _LOCKED_PAUSE if unrecorded else self._pause_until(done, free)

    def _pause_until(self, done: Exchange, free: Mapping[Kind, int]) -> timedelta | None:
        """Checks that are due within a short time are claimed together."""
        checks = sum(due.kind == CHECKS for due in done.claimed)
        if checks:
            self._next_checks = _now() + self._gathered_for
        pauses = dict(done.next_in)
        rest = timedelta(seconds=max(0.0, self._next_checks - _now()))
        if CHECKS in pauses:
            pauses[CHECKS] = max(pauses[CHECKS], rest)
        if checks >= free.get(CHECKS, 1):  # more of them may be due
            pauses[CHECKS] = rest or self.timing.checks_gathered_for
        return min(pauses.values(), default=None)

    async def _call_for_help(self, recorded: Sequence[Finished]) -> None:
        """Where others have to, or could, do what this worker cannot."""
        used = Counter(one.due.kind for one in self._running.values())
        full = any(count >= CONCURRENCY for kind, count in used.items() if kind != CHECKS)
        elsewhere = any(one.machine_id for one in recorded)
        if elsewhere or (full and _now() >= self._next_help):
            self._next_help = _now() + self.timing.help_interval.total_seconds()
            async with self.pool.connection() as connection:
                await schedule.wake_workers(connection)

    async def _wait(self, next_in: timedelta | None) -> None:
        if self._stopping and not self._running:
            return
        timing = self.timing
        most = timing.job_poll_interval if self._running else timing.idle_poll_interval
        within = most if next_in is None else min(most, next_in)
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                await self._wake.wait()

    def _start(self, due: Due, held: Lease) -> None:
        if (before := self._running.get(due.key)) is not None:
            # Its claim had ended, and begins anew. Others may have done it since, and what was
            # requested then is not what is under way here: it is done once more.
            before.due = replace(due, wanted=0)
            before.lease.end()
            return
        self._running[due.key] = running = _Running(due, held)
        running.task = task = asyncio.create_task(self._do(due, held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, due: Due, held: Lease) -> None:
        lease.hold(held)
        structlog.contextvars.clear_contextvars()
        deployment = due.subject if due.task in _OF_DEPLOYMENTS else None
        structlog.contextvars.bind_contextvars(job=due.task, deployment=deployment)
        # Where even its error cannot be logged: it must not be kept by this worker for ever.
        finished = Finished(due=due, again=self.clock() + self._pause(due), failed=True)
        try:
            finished = await self._finish(due)
            if held.is_over:
                log.warning("claim lost, the job is left to others")
        finally:
            self._finished.append(finished)
            if due.kind == CHECKS:  # recorded together with others
                asyncio.get_running_loop().call_at(self._next_checks, self._wake.set)
            else:
                self._wake.set()

    async def _finish(self, due: Due) -> Finished:
        try:
            async with asyncio.timeout(self.timing.job_within.total_seconds()):
                await self.jobs[due.task](due)
            return Finished(due=due)
        except RetryAt as wait:
            return Finished(due=due, again=wait.at, machine_id=wait.machine_id, urgent=wait.urgent)
        except (Conflict, asyncio.CancelledError):
            return Finished(due=due, again=self.clock(), urgent=due.urgent)
        except Exception:
            log.exception("job failed, will be retried", attempts=due.attempts)
            return Finished(due=due, again=self.clock() + self._pause(due), failed=True)

    def _pause(self, due: Due) -> timedelta:
        if due.task == "advance":
            return self.timing.step_retry
        return min(timedelta(seconds=2 ** min(due.attempts + 1, 6)), self.timing.job_retry_at_most)

    async def _keep_claims(self) -> None:
        """It begins with that: where the last time failed, claims may be about to end."""
        while True:
            held = {key: one.lease for key, one in self._running.items() if not one.lease.is_over}
            if held:
                async with self.pool.connection() as connection:
                    sent_at = uptime()
                    kept = await schedule.keep_claims(
                        connection,
                        held,
                        worker=self.worker.id,
                        lasts=self.timing.worker_stalled_after,
                    )
                for key in kept:
                    held[key].extend(sent_at, self.timing.worker_stalled_after)
            await asyncio.sleep(self.timing.worker_heartbeat.total_seconds())

    async def _leave_lost(self) -> None:
        """Ends jobs that may be another worker's by now. A call that is under way may come to its
        own end, as its result can be recorded where nobody has taken over."""
        while True:
            await asyncio.sleep(self.timing.worker_heartbeat.total_seconds())
            for one in self._running.values():
                if one.task and one.lease.over_for > self.timing.claim_lasts.total_seconds():
                    one.task.cancel()

    async def _listen(self) -> None:
        await schedule.listen(self.url, self.timing, self._wake.set)


def _now() -> float:
    return asyncio.get_running_loop().time()

"""What is due is done: by one worker at a time, after whatever happens to a worker."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.world import until
from webhook.errors import RetryAt
from webhook.jobs.dispatcher import CONCURRENCY, MOST_CHECKS, Dispatcher
from webhook.store import database, schedule
from webhook.store.schedule import Due, Key
from webhook.store.workers import WorkerProcess
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now

NEVER = timedelta(minutes=1)
# Nothing is found by polling, nor because a claim ends.
ON_CALL = replace(
    DEFAULT_TIMING,
    job_poll_interval=NEVER,
    idle_poll_interval=NEVER,
    worker_stalled_after=NEVER,
    step_retry=timedelta(0),
    help_interval=timedelta(seconds=0.1),
)


@dataclass
class Work:
    """Jobs that wait for `go_on`, of as many workers as there are."""

    url: str
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    begun: Counter[Key] = field(default_factory=Counter)
    running: Counter[Key] = field(default_factory=Counter)
    done: list[Key] = field(default_factory=list)
    overlaps: int = 0

    async def job(self, due: Due) -> None:
        self.begun[due.key] += 1
        self.running[due.key] += 1
        self.overlaps += self.running[due.key] > 1
        try:
            await self.go_on.wait()
        finally:
            self.running[due.key] -= 1
        self.done.append(due.key)

    async def at_once(self, due: Due) -> None:
        self.begun[due.key] += 1
        self.done.append(due.key)

    async def request(self, *keys: Key) -> None:
        """As a web process does."""

        def request() -> None:
            with database.connect(self.url) as connection:
                schedule.request_sync(connection, keys)

        await asyncio.to_thread(request)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(statement)

    def rows(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute("select subject, claimed_by from schedule").fetchall()

    @asynccontextmanager
    async def worker(
        self,
        name: str,
        timing: Timing = ON_CALL,
        advance: Callable[[Due], Awaitable[None]] | None = None,
        clock: Clock = utc_now,
    ) -> AsyncIterator[Dispatcher]:
        process = WorkerProcess(id=name, machine_id=name, config_digest="", version="")
        async with database.async_pool(self.url, 3, timing) as pool:
            dispatcher = Dispatcher(
                url=self.url,
                worker=process,
                jobs={"notify": self.job, "advance": advance or self.at_once},
                pool=pool,
                timing=timing,
                clock=clock,
            )
            running = asyncio.create_task(dispatcher.run())
            try:
                yield dispatcher
            finally:
                dispatcher.stop()
                await running


async def test_of_many_requests_one_is_done_at_a_time_and_what_came_meanwhile_afterwards(
    store_url: str,
) -> None:
    work, thing = Work(store_url), Key("notify", 1)
    async with work.worker("a"), work.worker("b"):
        await work.request(thing)
        await until(lambda: work.begun[thing] or None)
        for _ in range(3):
            await work.request(thing)
        work.go_on.set()
        await until(lambda: None if work.rows() else True)
    assert (work.done, work.overlaps) == ([thing, thing], 0)


async def test_what_a_dead_worker_had_claimed_is_done_and_a_live_one_keeps_its_own(
    store_url: str,
) -> None:
    """It keeps only its own: others are not put off meanwhile."""
    work, lasting, left = Work(store_url), Key("notify", 1), Key("advance", 2)
    soon = replace(
        ON_CALL,
        worker_heartbeat=timedelta(seconds=0.1),
        worker_stalled_after=timedelta(seconds=0.4),
    )
    async with work.worker("a", soon), work.worker("b", soon):
        await work.request(lasting)
        await until(lambda: work.begun[lasting] or None)
        work.execute(
            "insert into schedule (task, subject, claimed_by, due_at) select 'advance', 2, 'dead',"
            " now() + interval '0.8 seconds'"
        )
        await work.request(Key("advance", 3))
        await until(lambda: left in work.done or None)
        work.go_on.set()
        await until(lambda: None if work.rows() else True)
    assert (work.begun[lasting], work.overlaps) == (1, 0)


async def test_what_is_requested_after_a_claim_has_ended_is_not_lost(store_url: str) -> None:
    """Another worker had done it, and this one is still at it when it is requested anew."""
    work, thing = Work(store_url), Key("notify", 1)
    async with work.worker("a"):
        await work.request(thing)
        await until(lambda: work.begun[thing] or None)
        work.execute("delete from schedule")
        await work.request(thing)
        await until(lambda: True if work.rows() == [(1, "a")] else None)
        work.go_on.set()
        await until(lambda: None if work.rows() else True)
    assert (work.begun[thing], work.overlaps) == (2, 0)


async def test_urgent_things_do_not_wait_behind_checks_of_runs(store_url: str) -> None:
    """Nor does what was to be done at a certain time, as at a deadline."""
    work, deadline = Work(store_url), Key("advance", 5000)

    async def advance(due: Due) -> None:
        if not due.urgent:
            await work.job(due)
        elif due.key == deadline and not work.begun[deadline]:
            work.begun[deadline] += 1
            raise RetryAt("", utc_now() + timedelta(seconds=0.2), urgent=True)
        else:
            await work.at_once(due)

    work.execute(
        "insert into schedule (task, subject, urgent) select 'advance', id, false"
        " from generate_series(1, 1000) as id"
    )
    fast = replace(ON_CALL, checks_a_second=2000)
    async with work.worker("a", fast, advance):
        await until(lambda: True if work.running.total() == MOST_CHECKS else None)
        await work.request(Key("advance", 1000), deadline)
        await until(lambda: {Key("advance", 1000), deadline} <= set(work.done) or None)
        assert work.running.total() == MOST_CHECKS
        work.go_on.set()


async def test_checks_that_are_overdue_are_done_at_a_bounded_rate(store_url: str) -> None:
    work = Work(store_url)
    work.execute(
        "insert into schedule (task, subject, urgent, due_at)"
        " select 'advance', id, false, now() - interval '5 minutes'"
        " from generate_series(1, 1000) as id"
    )
    async with work.worker("a"):
        began = asyncio.get_running_loop().time()
        await until(lambda: True if len(work.done) >= 40 else None)
        lasted = asyncio.get_running_loop().time() - began
    assert len(work.done) <= 2 * ON_CALL.checks_a_second * (lasted + 0.2) + 10


async def test_a_worker_that_stops_leaves_its_work_to_others_at_once(store_url: str) -> None:
    work, thing = Work(store_url), Key("notify", 1)
    at_once = replace(ON_CALL, shutdown_within=timedelta(0))
    async with work.worker("a", at_once) as first:
        await work.request(thing)
        await until(lambda: work.running[thing] or None)
        async with work.worker("b"):
            first.stop()
            await until(lambda: True if work.begun[thing] == 2 else None)
            work.go_on.set()
            await until(lambda: work.done or None)
    assert (work.done, work.overlaps, work.rows()) == ([thing], 0, [])


async def test_a_worker_that_has_its_hands_full_wakes_the_others(store_url: str) -> None:
    work = Work(store_url)
    async with work.worker("a") as first:
        await first.request([Key("notify", number) for number in range(CONCURRENCY)])
        await until(lambda: True if work.running.total() == CONCURRENCY else None)
        async with work.worker("b"):
            await first.request([Key("notify", CONCURRENCY)])
            await until(lambda: work.begun[Key("notify", CONCURRENCY)] or None)
            work.go_on.set()


@pytest.mark.parametrize("wrong", [timedelta(hours=1), timedelta(hours=-1)])
async def test_pauses_are_as_long_where_a_workers_clock_is_wrong(
    store_url: str, wrong: timedelta
) -> None:
    work, soon, late = Work(store_url), Key("advance", 1), Key("advance", 2)

    def clock() -> datetime:
        return utc_now() + wrong

    async def waits_once(due: Due) -> None:
        await work.at_once(due)
        if due.key == late or work.begun[due.key] == 1:
            pause = timedelta(minutes=1) if due.key == late else timedelta(seconds=0.2)
            raise RetryAt("", clock() + pause, urgent=True)

    async with work.worker("a", advance=waits_once, clock=clock):
        await work.request(soon, late)
        await until(lambda: True if work.begun[soon] == 2 else None)
    assert work.begun[late] == 1


async def test_a_job_that_hangs_is_ended_and_retried(store_url: str) -> None:
    work, thing = Work(store_url), Key("advance", 1)

    async def hangs_first(due: Due) -> None:
        await (work.at_once(due) if work.begun[due.key] else work.job(due))

    short = replace(ON_CALL, job_within=timedelta(seconds=0.1))
    async with work.worker("a", short, hangs_first):
        await work.request(thing)
        await until(lambda: work.done or None)
        await until(lambda: None if work.rows() else True)
    assert work.begun[thing] == 2


async def test_a_job_that_ends_with_what_nobody_expects_is_not_held_for_ever(
    store_url: str,
) -> None:
    """As where there is no memory to log its error with."""

    class UnexpectedError(BaseException):
        pass

    work, thing = Work(store_url), Key("advance", 1)

    async def fails_first(due: Due) -> None:
        work.begun[due.key] += 1
        if work.begun[due.key] == 1:
            raise UnexpectedError
        await work.at_once(due)

    async with work.worker("a", advance=fails_first):
        await work.request(thing)
        await until(lambda: work.done or None)
        await until(lambda: None if work.rows() else True)

"""A worker that comes back after others have taken over knows that before it acts."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

import aiohttp
import psycopg
import pytest
from structlog.testing import capture_logs

from handlers.http import Http
from handlers.uptime import uptime
from tests.handlers.tools import FakeTool
from tests.store_proxy import StoreProxy
from tests.world import until
from webhook.errors import CLAIM_LOST, Conflict
from webhook.jobs import lease
from webhook.jobs.dispatcher import Dispatcher
from webhook.jobs.lease import Lease
from webhook.sessions import open_session
from webhook.store import database, schedule
from webhook.store.schedule import Due, Key
from webhook.store.workers import WorkerProcess
from webhook.timing import DEFAULT_TIMING, Timing, utc_now

TIMING = replace(
    DEFAULT_TIMING,
    idle_poll_interval=timedelta(seconds=0.1),
    worker_heartbeat=timedelta(seconds=0.1),
    worker_stalled_after=timedelta(seconds=0.8),
    claim_lasts=timedelta(seconds=0.2),
    # What was sent on a connection that is lost waits for so long.
    exchange_within=timedelta(seconds=1.5),
    worker_restart_pause=timedelta(seconds=0.1),
)
# A job whose claim is lost is not ended by itself meanwhile, however busy the machine is.
PATIENT = replace(TIMING, claim_lasts=timedelta(seconds=20))
CLAIM = timedelta(seconds=10)
THING = Key("advance", 1)


@dataclass
class Worker:
    """Its job waits for `go_on`, then calls the tool."""

    dispatcher: Dispatcher
    go_on: asyncio.Event
    began: asyncio.Event
    calls: list[str] = field(default_factory=list)


@asynccontextmanager
async def a_worker(
    name: str, url: str, tool: FakeTool, timing: Timing = TIMING
) -> AsyncIterator[Worker]:
    process = WorkerProcess(id=name, machine_id=name, config_digest="", version="")
    async with database.async_pool(url, 3, timing) as pool, open_session(lease.require) as session:
        http = Http(session)

        async def advance(_: Due) -> None:
            worker.began.set()
            try:
                await worker.go_on.wait()
            except asyncio.CancelledError:
                worker.calls.append("cancelled")
                raise
            try:
                await http.call("Tool", "POST", f"{tool.url}/{name}")
            except Conflict as error:
                worker.calls.append(error.code)
                raise
            worker.calls.append("sent")

        dispatcher = Dispatcher(
            url=url,
            worker=process,
            jobs={"advance": advance},
            pool=pool,
            timing=timing,
            clock=utc_now,
        )
        worker = Worker(dispatcher, asyncio.Event(), asyncio.Event())
        running = asyncio.create_task(dispatcher.run())
        try:
            yield worker
        finally:
            dispatcher.stop()
            await running


async def request(worker: Worker) -> None:
    """Also where connections were lost, and are being replaced."""
    async with asyncio.timeout(30):
        while True:
            with suppress(psycopg.OperationalError):
                return await worker.dispatcher.request([THING])


@pytest.fixture
async def tool() -> AsyncIterator[FakeTool]:
    async with FakeTool() as server:
        yield server


async def test_a_worker_that_was_cut_off_from_the_store_sends_nothing_once_another_took_over(
    store_url: str, tool: FakeTool
) -> None:
    with capture_logs() as logged, StoreProxy(store_url).running() as proxy:
        async with a_worker("first", proxy.url, tool, PATIENT) as first:
            await first.dispatcher.request([THING])
            await first.began.wait()
            # Longer than a claim lasts, and still it is the first one's.
            await asyncio.sleep(1.5 * TIMING.worker_stalled_after.total_seconds())
            proxy.lose()
            async with a_worker("second", store_url, tool) as second:
                second.go_on.set()
                await until(lambda: second.calls or None)
                first.go_on.set()
                await until(lambda: first.calls or None)
                assert (first.calls, second.calls) == ([CLAIM_LOST], ["sent"])
                # It has its connections again, and does what is to be done now.
                first.calls.clear()
            await request(first)
            await until(lambda: first.calls or None)
            assert first.calls == ["sent"]
    assert [one.target for one in tool.received] == ["/second", "/first"]
    lost = [line for line in logged if line["event"] == "claim lost, the job is left to others"]
    assert len(lost) == 1


async def test_a_job_that_hangs_is_ended_once_its_claim_is_lost(
    store_url: str, tool: FakeTool
) -> None:
    with StoreProxy(store_url).running() as proxy:
        async with a_worker("first", proxy.url, tool) as first:
            await first.dispatcher.request([THING])
            await first.began.wait()
            proxy.lose()
            await until(lambda: first.calls or None)
            assert first.calls == ["cancelled"]
            # Nobody has taken over: it does so itself, as of any other.
            first.began.clear()
            first.go_on.set()
            await first.began.wait()
            await until(lambda: True if first.calls[1:] == ["sent"] else None)


def test_a_lease_ends_before_the_claim_and_does_not_begin_again() -> None:
    assert lease.require() == math.inf  # outside of jobs
    held = Lease.of_claim(uptime(), CLAIM)
    assert uptime() < held.until < uptime() + CLAIM.total_seconds()
    held.extend(uptime() + 5, CLAIM)
    held.extend(uptime() - 5, CLAIM)  # an answer that was overtaken by another
    assert held.until > uptime() + 10
    for over in (Lease.of_claim(uptime() - CLAIM.total_seconds(), CLAIM), held):
        over.end()
        over.extend(uptime(), CLAIM)
        assert over.is_over


async def test_what_several_jobs_wait_for_does_not_fail_with_the_lease_of_one() -> None:
    lease.hold(Lease(uptime() - 1))

    async def may_act() -> float:
        return lease.require()

    with pytest.raises(Conflict) as raised:
        await asyncio.create_task(may_act())
    assert raised.value.code == CLAIM_LOST
    with pytest.raises(Conflict):
        await asyncio.to_thread(lease.require)
    assert await lease.shared(may_act()) == math.inf


async def test_requests_that_the_lease_does_not_let_leave_reach_nobody(tool: FakeTool) -> None:
    """Neither the first nor one that follows a redirect, on a connection that is there."""
    async with open_session(lease.require) as session:
        lease.hold(Lease(uptime() + 60))
        async with session.get(tool.url) as response:
            assert response.status == 200
        lease.hold(Lease(uptime()))
        for call in (session.get(tool.url), session.post(tool.url, json={})):
            with pytest.raises(Conflict):
                await call
    assert len(tool.received) == 1
    async with aiohttp.ClientSession() as session, session.get(tool.url) as response:
        assert response.status == 200


def test_a_claim_is_extended_only_where_the_store_says_so(store_url: str) -> None:
    """Not what is locked at the moment, nor what is another worker's by now."""

    async def run() -> list[Key]:
        keys = [Key("advance", number) for number in (1, 2, 3)]
        async with database.async_pool(store_url, 2) as pool, pool.connection() as one:
            await schedule.request(one, keys)
            await one.execute(
                "update schedule set claimed_by = case subject when 1 then 'a' when 2 then 'b'"
                " else 'a' end"
            )
            async with pool.connection() as other, other.transaction():
                await other.execute("select from schedule where subject = 3 for update")
                return await schedule.keep_claims(one, keys, worker="a", lasts=CLAIM)

    assert asyncio.run(run()) == [Key("advance", 1)]

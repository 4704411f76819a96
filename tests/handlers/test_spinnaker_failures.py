"""A Spinnaker that responds badly, or not at all: messages are plain, and nothing runs twice."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from handlers.contract import Run, State
from handlers.errors import Rejected, Unavailable, UnknownOutcome
from handlers.http import Http
from handlers.spinnaker import Spinnaker as Handler
from handlers.spinnaker.options import SpinnakerOptions
from sandbox.faults import Fault
from tests.handlers.runs import a_context, a_deployment
from tests.handlers.spinnaker_runs import SOURCE, World, a_pipeline, a_world
from tests.handlers.tools import FakeTool, a_certificate, served_with_tls

ROOT = Path(__file__).parents[2]
DEPLOYMENT = a_deployment()
RUN = Run("01ABC", State.IN_PROGRESS)
NOT_UNDERSTOOD = "returned something the relay does not understand; check its address in deploy"
A_PAGE = "returned 200 with a web page; check its address in deploy.yml"

HandlerCall = Callable[[Handler], Awaitable[Any]]
CALLS: dict[str, HandlerCall] = {
    "find": lambda handler: handler.find(DEPLOYMENT),
    "start": lambda handler: handler.start(DEPLOYMENT),
    "check": lambda handler: handler.check(DEPLOYMENT, RUN),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as created:
        created.spinnaker.add_pipeline(a_pipeline())
        yield created


@pytest.fixture
async def impatient(world: World) -> AsyncIterator[World]:
    """The same Spinnaker, for what hangs: under load any other response may be as slow."""
    async with aiohttp.ClientSession() as session:
        yield replace(world, http=Http(session, timeout=0.3))


async def found(world: World) -> Run:
    """What there is of an earlier start, as soon as Spinnaker shows it."""
    await world.until(lambda: world.spinnaker.executions)
    run = await world.handler().find(DEPLOYMENT)
    assert run
    return run


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.drop_after(), "gave no full response"),
        (Fault.hang_after(5), "did not respond in time"),
        (Fault.status(500, acts=True), "returned 500"),
        (Fault.status(200, {"eventProcessed": "?"}, acts=True), NOT_UNDERSTOOD),
    ],
    ids=["drop", "hang", "500", "shape"],
)
async def test_a_start_whose_response_got_lost_is_found(
    world: World, impatient: World, fault: Fault, message: str
) -> None:
    world.spinnaker.faults.add("POST *", fault)
    with pytest.raises(UnknownOutcome, match=message):
        await (impatient if fault.delay_after else world).handler().start(DEPLOYMENT)
    run = await found(world)
    assert (await world.follow(world.handler(), run)).state is State.SUCCESS
    assert (world.posts(), len(world.spinnaker.executions)) == (1, 1)


async def test_a_start_whose_worker_was_killed_is_found(world: World) -> None:
    world.spinnaker.faults.add("POST *", Fault.hang_after(30))
    script = "import asyncio, sys; from tests.handlers.test_spinnaker_failures import start"
    command = [sys.executable, "-c", f"{script}; asyncio.run(start(sys.argv[1]))"]
    worker = await asyncio.create_subprocess_exec(*command, world.spinnaker.url, cwd=ROOT)
    await world.until(lambda: world.spinnaker.executions)
    worker.kill()
    assert await worker.wait() == -signal.SIGKILL
    run = await found(world)
    assert (await world.follow(world.handler(), run)).state is State.SUCCESS
    assert (world.posts(), len(world.spinnaker.executions)) == (1, 1)


async def start(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        options = SpinnakerOptions(url=url, source=SOURCE)
        handler = Handler(options, a_context(Path("/nowhere"), http=Http(session, timeout=60)))
        await handler.start(DEPLOYMENT)


async def test_pipelines_that_matched_and_start_after_the_crash_are_followed_too(
    world: World,
) -> None:
    await world.started(world.handler())
    run = await found(world)
    world.spinnaker.add_pipeline(a_pipeline("Mail"))
    [first] = world.spinnaker.executions
    second = world.spinnaker.orca.start(world.spinnaker.pipelines[1], first.trigger)
    run = await world.follow(world.handler(), replace(run, state=State.QUEUED))
    assert second.id in run.id
    assert run.description == "2 pipelines matched"


async def test_a_start_is_found_among_many_others(world: World) -> None:
    await world.started(world.handler())
    [ours] = world.spinnaker.executions
    for _ in range(60):
        world.spinnaker.orca.start(ours.pipeline, {"type": "webhook", "payload": {}})
    assert (await found(world)).id.split()[0] == ours.id


async def test_spinnakers_clock_may_be_behind(world: World) -> None:
    await world.started(world.handler())
    [ours] = world.spinnaker.executions
    ours.build_time -= 50 * 60 * 1000
    assert await found(world)


async def test_other_search_results_are_not_mistaken_for_ours(world: World) -> None:
    await world.started(world.handler())
    [theirs] = world.spinnaker.executions
    document = theirs.document() | {"trigger": {"eventId": "x", "correlationId": "x"}}
    world.spinnaker.faults.add("GET */search", Fault.status(200, [document]), times=3)
    assert await world.handler().find(DEPLOYMENT) is None
    by_name = world.handler(application="shop", pipeline="Deploy")
    assert await by_name.find(DEPLOYMENT) is None
    run = await world.handler().start(DEPLOYMENT)
    assert theirs.id not in (await world.handler().check(DEPLOYMENT, run)).id


async def test_nothing_was_started_before_the_first_start(world: World) -> None:
    assert await world.handler().find(DEPLOYMENT) is None
    assert await world.handler(application="shop", pipeline="Deploy").find(DEPLOYMENT) is None


async def test_an_event_that_is_not_processed_is_an_error(world: World) -> None:
    world.spinnaker.faults.add("POST *", Fault.status(200, {"eventProcessed": False}))
    with pytest.raises(Rejected, match="did not process the event"):
        await world.handler().start(DEPLOYMENT)


@every_call
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.status(500), "returned 500"),
        (Fault.status(200, {"id": "one"}), NOT_UNDERSTOOD),
        (Fault.status(200, [1, "2"]), NOT_UNDERSTOOD),
        (Fault(status_code=200), NOT_UNDERSTOOD),  # null
        (Fault.drop_before(), "gave no full response"),
        (Fault.hang_after(5), "did not respond in time"),
    ],
    ids=["500", "object", "list", "null", "drop", "hang"],
)
async def test_after_a_bad_response_it_is_tried_again(
    world: World, impatient: World, call: HandlerCall, fault: Fault, message: str
) -> None:
    world.spinnaker.faults.add("*", fault, times=9)
    with pytest.raises(Unavailable, match=message):
        await call((impatient if fault.delay_after else world).handler())


@every_call
async def test_an_endless_response_is_not_read_to_its_end(world: World, call: HandlerCall) -> None:
    world.spinnaker.faults.add("*", Fault.status(200, "x" * 9 * 2**20))
    with pytest.raises(UnknownOutcome, match="returned more than 8 MB"):
        await call(world.handler())


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "../../x"},
        {"id": 7},
        {"status": None},
        {"status": "x" * 50},
        {"name": []},
        {"stages": [1]},
        {"trigger": "x"},
    ],
)
async def test_executions_of_the_wrong_shape_are_not_understood(
    world: World, wrong: dict[str, Any]
) -> None:
    right = {"id": "01ABC", "status": "RUNNING", "trigger": {}, "stages": []}
    world.spinnaker.faults.add("GET /executions", Fault.status(200, [right]))
    assert (await world.handler().check(DEPLOYMENT, RUN)).state is State.IN_PROGRESS
    world.spinnaker.faults.add("GET /executions", Fault.status(200, [right | wrong]))
    with pytest.raises(UnknownOutcome, match=NOT_UNDERSTOOD):
        await world.handler().check(DEPLOYMENT, RUN)


@every_call
async def test_a_web_page_is_not_the_api(world: World, call: HandlerCall) -> None:
    async with FakeTool() as deck:
        deck.body = b"<!DOCTYPE html><title>Spinnaker</title>"
        deck.headers = {"Content-Type": "text/html"}
        with pytest.raises(Unavailable, match=A_PAGE):
            await call(world.handler(url=deck.url))


@every_call
async def test_a_request_to_wait_is_heeded(world: World, call: HandlerCall) -> None:
    world.spinnaker.faults.add("*", Fault.rate_limited(7))
    began, wait = datetime.now(UTC), timedelta(seconds=7)
    with pytest.raises(Unavailable, match="asks to wait") as caught:
        await call(world.handler())
    assert caught.value.retry_at
    assert began + wait <= caught.value.retry_at <= datetime.now(UTC) + wait


@every_call
async def test_a_spinnaker_that_is_down_is_waited_for(world: World, call: HandlerCall) -> None:
    await world.spinnaker.stop()
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        await call(world.handler())
    assert not isinstance(caught.value, UnknownOutcome)


@every_call
async def test_a_certificate_that_nobody_signed_is_not_trusted(
    world: World, call: HandlerCall, tmp_path: Path
) -> None:
    async with served_with_tls(a_certificate(tmp_path)) as url:
        with pytest.raises(Unavailable, match="untrusted certificate; set `ca`") as caught:
            await call(world.handler(url=url))
    assert not isinstance(caught.value, UnknownOutcome)


@pytest.mark.parametrize("status", [302, 401, 403, 404, 418, 501])
async def test_before_a_run_is_known_a_rejection_ends_the_deployment(
    world: World, status: int
) -> None:
    for call in (CALLS["find"], CALLS["start"]):
        world.spinnaker.faults.add("*", Fault.status(status))
        with pytest.raises(Rejected, match=f"returned {status}"):
            await call(world.handler())


@pytest.mark.parametrize("status", [302, 401, 403, 404, 418, 501])
async def test_a_rejection_does_not_end_a_run_in_progress(world: World, status: int) -> None:
    world.spinnaker.faults.add("*", Fault.status(status), times=9)
    with pytest.raises(Unavailable, match=f"returned {status}"):
        await world.handler().check(DEPLOYMENT, RUN)

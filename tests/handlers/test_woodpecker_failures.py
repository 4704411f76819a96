"""A Woodpecker that responds badly, or not at all: messages are plain, and nothing runs twice."""

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
from handlers.woodpecker import Woodpecker
from sandbox import woodpecker as sandbox
from sandbox.faults import Fault
from tests.handlers.runs import a_deployment, eventually
from tests.handlers.test_woodpecker import TOKEN, a_handler
from tests.handlers.tools import a_certificate, served_with_tls

ROOT = Path(__file__).parents[2]
DEPLOYMENT = a_deployment()
RUN = Run("1/pipelines/1", State.IN_PROGRESS)
NOT_UNDERSTOOD = "returned something the relay does not understand; check its address"
A_PAGE = "returned 200 with a web page; check its address in deploy.yml"

HandlerCall = Callable[[Woodpecker], Awaitable[Any]]
CALLS: dict[str, HandlerCall] = {
    "find": lambda handler: handler.find(DEPLOYMENT),
    "start": lambda handler: handler.start(DEPLOYMENT),
    "check": lambda handler: handler.check(DEPLOYMENT, RUN),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.fixture
async def tool() -> AsyncIterator[sandbox.Woodpecker]:
    async with sandbox.Woodpecker(token=TOKEN) as server:
        server.add_repo("acme/shop").add(DEPLOYMENT.sha)
        yield server


async def test_a_start_whose_response_got_lost_is_found(
    tool: sandbox.Woodpecker, session: aiohttp.ClientSession
) -> None:
    handler = a_handler(session, url=tool.url)
    tool.faults.add("POST /repos/1/pipelines/1", Fault.drop_after())
    with pytest.raises(UnknownOutcome, match="gave no full response"):
        await handler.start(DEPLOYMENT)
    found = await handler.find(DEPLOYMENT)
    assert found == Run("1/pipelines/2", State.QUEUED, f"{tool.url}/repos/1/pipeline/2")
    assert len(tool.repos[0].deployments) == 1


async def test_a_start_whose_worker_was_killed_is_found(
    tool: sandbox.Woodpecker, session: aiohttp.ClientSession
) -> None:
    tool.faults.add("POST /repos/1/pipelines/1", Fault.hang_after(30))
    script = "import asyncio, sys; from tests.handlers.test_woodpecker_failures import start"
    command = [sys.executable, "-c", f"{script}; asyncio.run(start(sys.argv[1]))", tool.url]
    worker = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    await eventually(lambda: tool.repos[0].deployments)
    worker.kill()
    assert await worker.wait() == -signal.SIGKILL
    assert await a_handler(session, url=tool.url).find(DEPLOYMENT)
    assert len(tool.repos[0].deployments) == 1


async def start(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        await a_handler(session, url=url, timeout=60).start(DEPLOYMENT)


async def test_a_configuration_that_breaks_the_restart_is_found_as_an_error(
    tool: sandbox.Woodpecker, session: aiohttp.ClientSession
) -> None:
    """Woodpecker responds with 500, but has created the pipeline."""
    handler = a_handler(session, url=tool.url)
    tool.repos[0].pipelines[0].config = "broken"
    with pytest.raises(UnknownOutcome):
        await handler.start(DEPLOYMENT)
    found = await handler.find(DEPLOYMENT)
    assert found
    assert found.state is State.ERROR


bad_responses = pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.status(500), "returned 500"),
        (Fault.status(200, {"id": "one", "number": []}), NOT_UNDERSTOOD),
        (Fault.status(200, [1, "2"]), NOT_UNDERSTOOD),
        (Fault(status_code=200), NOT_UNDERSTOOD),  # null
        (Fault.status(200, "x" * 9 * 2**20), "returned more than 8 MB"),
        (Fault.drop_before(), "gave no full response"),
        (Fault(delay_after=5), "did not respond in time"),
    ],
    ids=["500", "object", "list", "null", "9 MB", "drop", "hang"],
)


def patience(fault: Fault) -> float:
    return 0.3 if fault.delay_after else 30


@bad_responses
async def test_a_start_with_a_bad_response_may_have_got_through(
    tool: sandbox.Woodpecker, session: aiohttp.ClientSession, fault: Fault, message: str
) -> None:
    tool.faults.add("POST *", replace(fault, acts=True))
    handler = a_handler(session, url=tool.url, timeout=patience(fault))
    with pytest.raises(UnknownOutcome, match=message):
        await handler.start(DEPLOYMENT)
    assert await handler.find(DEPLOYMENT)
    assert len(tool.repos[0].deployments) == 1


@every_call
@bad_responses
async def test_a_read_with_a_bad_response_is_tried_again(
    tool: sandbox.Woodpecker,
    session: aiohttp.ClientSession,
    call: HandlerCall,
    fault: Fault,
    message: str,
) -> None:
    tool.faults.add("*", fault)
    with pytest.raises(Unavailable, match=message) as caught:
        await call(a_handler(session, url=tool.url, timeout=patience(fault)))
    assert tool.repos[0].deployments == []
    assert call is not CALLS["start"] or not isinstance(caught.value, UnknownOutcome)


async def test_pipelines_of_the_wrong_shape_are_not_understood(
    tool: sandbox.Woodpecker, session: aiohttp.ClientSession
) -> None:
    right = {"number": 1, "status": "success", "commit": DEPLOYMENT.sha, "deploy_task": ""}
    wrong = {"number": 0, "status": "x" * 50, "commit": 7, "deploy_task": None, "workflows": {}}
    for name, value in wrong.items():
        tool.faults.add("GET /repos/1/pipelines/1", Fault.status(200, right | {name: value}))
        with pytest.raises(UnknownOutcome, match=NOT_UNDERSTOOD):
            await a_handler(session, url=tool.url).check(DEPLOYMENT, RUN)


@every_call
async def test_a_web_page_is_not_the_api(
    tool: sandbox.Woodpecker, session: aiohttp.ClientSession, call: HandlerCall
) -> None:
    with pytest.raises(Unavailable, match=A_PAGE):
        await call(a_handler(session, url=f"{tool.url}/ci"))


@every_call
async def test_a_request_to_wait_is_heeded(
    tool: sandbox.Woodpecker, session: aiohttp.ClientSession, call: HandlerCall
) -> None:
    tool.faults.add("*", Fault.rate_limited(7))
    began, wait = datetime.now(UTC), timedelta(seconds=7)
    with pytest.raises(Unavailable, match="asks to wait") as caught:
        await call(a_handler(session, url=tool.url))
    assert caught.value.retry_at
    assert began + wait <= caught.value.retry_at <= datetime.now(UTC) + wait


@every_call
async def test_a_woodpecker_that_is_down_is_waited_for(
    tool: sandbox.Woodpecker, session: aiohttp.ClientSession, call: HandlerCall
) -> None:
    await tool.stop()
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        await call(a_handler(session, url=tool.url))
    assert not isinstance(caught.value, UnknownOutcome)


@every_call
async def test_a_certificate_that_nobody_signed_is_not_trusted(
    session: aiohttp.ClientSession, call: HandlerCall, tmp_path: Path
) -> None:
    async with served_with_tls(a_certificate(tmp_path)) as url:
        with pytest.raises(Unavailable, match=r"no safe .*self-signed certificate") as caught:
            await call(a_handler(session, url=url))
    assert not isinstance(caught.value, UnknownOutcome)


@pytest.mark.parametrize("status", [301, 401, 403, 418, 501])
async def test_before_a_run_is_known_a_rejection_ends_the_deployment(
    tool: sandbox.Woodpecker, session: aiohttp.ClientSession, status: int
) -> None:
    for call in (CALLS["find"], CALLS["start"]):
        tool.faults.add("*", Fault.status(status))
        with pytest.raises(Rejected, match=f"returned {status}"):
            await call(a_handler(session, url=tool.url))


@pytest.mark.parametrize("status", [301, 401, 403, 404, 418, 501])
async def test_a_rejection_does_not_end_a_run_in_progress(
    tool: sandbox.Woodpecker, session: aiohttp.ClientSession, status: int
) -> None:
    tool.faults.add("*", Fault.status(status), times=2)
    with pytest.raises(Unavailable, match=f"returned {status}"):
        await a_handler(session, url=tool.url).check(DEPLOYMENT, RUN)

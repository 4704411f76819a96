"""Internal tooling over HTTP, against the stand-in: how a run is followed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from handlers.contract import Deployment, Run, State
from handlers.endpoint import WAITING, Endpoint
from handlers.errors import Rejected, Unavailable, UnknownOutcome
from handlers.http import Http
from sandbox.faults import Fault
from sandbox.tooling import Mode, Tooling
from tests.handlers.endpoints import an_endpoint
from tests.handlers.runs import a_deployment

SECRET = "It's a Secret to Everybody"
KEY = a_deployment().id


@pytest.fixture
async def tooling() -> AsyncIterator[Tooling]:
    async with Tooling(secret=SECRET, takes=None) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with aiohttp.ClientSession() as session:
        yield Http(session)


@pytest.fixture
def endpoint(http: Http, tooling: Tooling) -> Endpoint:
    return an_endpoint(http, f"{tooling.url}/deploy", secret=SECRET)


async def test_the_response_may_be_the_end(endpoint: Endpoint, tooling: Tooling) -> None:
    tooling.mode, tooling.environment_url = Mode.SYNCHRONOUS, "https://shop.example"
    run = await endpoint.start(a_deployment())
    assert (run.state, run.environment_url) == (State.SUCCESS, "https://shop.example")
    assert run.url == tooling.job(KEY).url


async def test_a_location_is_polled_until_the_end(endpoint: Endpoint, tooling: Tooling) -> None:
    tooling.mode = Mode.POLLED
    deployment = a_deployment()
    run = await endpoint.start(deployment)
    assert (run.state, run.id) == (State.QUEUED, "/jobs/1")
    await tooling.set_state(KEY, "in_progress", "2 of 3")
    run = await endpoint.check(deployment, run)
    assert (run.state, run.description) == (State.IN_PROGRESS, "2 of 3")
    await tooling.set_state(KEY, "failure", "smoke test failed")
    run = await endpoint.check(deployment, run)
    assert (run.state, run.description) == (State.FAILURE, "smoke test failed")
    assert run.url == tooling.job(KEY).url


async def test_a_poll_carries_the_headers_but_neither_key_nor_signature(
    http: Http, tooling: Tooling
) -> None:
    tooling.mode, tooling.token = Mode.POLLED, "t"
    options: dict[str, Any] = {"secret": SECRET, "headers": {"Authorization": "Bearer t"}}
    endpoint = an_endpoint(http, f"{tooling.url}/deploy", **options)
    run = await endpoint.start(a_deployment())
    assert (await endpoint.check(a_deployment(), run)).state is State.QUEUED
    assert tooling.called("GET", "/jobs/1")[0].status == 202


async def test_otherwise_its_reports_are_waited_for(endpoint: Endpoint, tooling: Tooling) -> None:
    deployment = a_deployment()
    run = await endpoint.start(deployment)
    assert run == Run("1234567890", State.IN_PROGRESS, description=WAITING)
    calls = len(tooling.calls)
    assert await endpoint.check(deployment, run) == run
    assert len(tooling.calls) == calls


async def test_there_is_nothing_to_search(endpoint: Endpoint, tooling: Tooling) -> None:
    await endpoint.start(a_deployment())
    calls = len(tooling.calls)
    assert await endpoint.find(a_deployment()) is None
    assert len(tooling.calls) == calls


@pytest.mark.parametrize(
    ("method", "mode"),
    [("POST", mode) for mode in Mode] + [("PUT", Mode.POLLED), ("GET", Mode.POLLED)],
)
async def test_a_start_whose_response_got_lost_is_repeated_and_starts_nothing_new(
    http: Http, tooling: Tooling, method: str, mode: Mode
) -> None:
    tooling.mode, tooling.secret = mode, ""
    endpoint, deployment = an_endpoint(http, f"{tooling.url}/deploy", method=method), a_deployment()
    tooling.faults.add(f"{method} /deploy", Fault.drop_after())
    with pytest.raises(UnknownOutcome):
        await endpoint.start(deployment)
    assert tooling.job(KEY).requests == 1
    again = an_endpoint(http, f"{tooling.url}/deploy", method=method)
    assert await again.find(deployment) is None
    run = await again.start(deployment)
    assert (len(tooling.jobs), tooling.job(KEY).requests) == (1, 2)
    if mode is Mode.POLLED:
        await tooling.set_state(KEY, "success")
        run = await again.check(deployment, run)
    assert run.state is (State.IN_PROGRESS if mode is Mode.REPORTS else State.SUCCESS)


async def test_a_repeated_start_is_the_same_to_the_byte(endpoint: Endpoint, http: Http) -> None:
    deployment = a_deployment(payload={"b": 1, "a": [2, {"d": 3, "c": 4}]})
    signatures = set()
    for _ in range(2):
        async with Tooling(secret=SECRET, takes=None) as tooling:
            await an_endpoint(http, f"{tooling.url}/deploy", secret=SECRET).start(deployment)
            signatures.add(tooling.job(KEY).headers["X-Hub-Signature-256"])
    assert len(signatures) == 1


# -- cancelling --------------------------------------------------------------------------------


def with_cancel(http: Http, tooling: Tooling, method: str = "POST") -> Endpoint:
    cancel = {"url": f"{tooling.url}/cancel/{{id}}", "method": method}
    return an_endpoint(http, f"{tooling.url}/deploy", secret=tooling.secret or None, cancel=cancel)


async def started(endpoint: Endpoint) -> tuple[Deployment, Run]:
    deployment = a_deployment()
    return deployment, await endpoint.start(deployment)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_run_can_be_cancelled(http: Http, tooling: Tooling, method: str) -> None:
    tooling.secret = "" if method == "DELETE" else SECRET
    endpoint = with_cancel(http, tooling, method)
    await endpoint.cancel(*await started(endpoint))
    assert tooling.job(KEY).cancelled


async def test_to_cancel_what_has_ended_or_is_unknown_is_harmless(
    http: Http, tooling: Tooling
) -> None:
    tooling.mode = Mode.POLLED
    endpoint = with_cancel(http, tooling)
    deployment, run = await started(endpoint)
    await tooling.set_state(KEY, "success")
    await endpoint.cancel(deployment, run)
    await endpoint.cancel(replace(deployment, id=8), run)
    assert [call.status for call in tooling.calls if "/cancel/" in call.path] == [409, 404]


async def test_where_nothing_cancels_it_is_reported(endpoint: Endpoint) -> None:
    with pytest.raises(Rejected, match=r"^deploy\.yml names no `cancel`$"):
        await endpoint.cancel(*await started(endpoint))


async def test_a_cancel_that_is_rejected_is_reported(http: Http, tooling: Tooling) -> None:
    endpoint = with_cancel(http, tooling)
    deployment, run = await started(endpoint)
    tooling.secret = "changed"
    with pytest.raises(Unavailable, match="returned 401: the signature does not fit"):
        await endpoint.cancel(deployment, run)

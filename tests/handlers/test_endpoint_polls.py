"""Responses of internal tooling to a poll: the second table of docs/how-to/http-tooling.md."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from handlers.contract import Run, State
from handlers.endpoint import Endpoint
from handlers.errors import Rejected, Unavailable, UnknownOutcome
from handlers.http import Http
from tests.handlers.endpoints import POLLED, an_endpoint
from tests.handlers.runs import a_deployment
from tests.handlers.tools import FakeTool

UNKNOWN = "the tool says '{}', which the relay does not know"


@pytest.fixture
async def endpoint(tool: FakeTool) -> AsyncIterator[Endpoint]:
    async with aiohttp.ClientSession() as session:
        yield an_endpoint(Http(session), f"{tool.url}/deploy")


@pytest.mark.parametrize("status", [200, 202, 203])
@pytest.mark.parametrize("state", list(State))
async def test_a_poll_returns_the_state(
    endpoint: Endpoint, tool: FakeTool, status: int, state: State
) -> None:
    text = {"state": state, "description": "d", "url": "https://a.example/7"}
    tool.responds(status, text | {"environment_url": "https://shop.example"})
    expected = Run(POLLED.id, state, "https://a.example/7", "d", "https://shop.example")
    assert await endpoint.check(a_deployment(), POLLED) == expected


async def test_202_is_in_progress_and_204_is_a_success(endpoint: Endpoint, tool: FakeTool) -> None:
    before = Run("/jobs/1", State.QUEUED, "https://a.example/7", "waits")
    tool.responds(202, b"")
    run = await endpoint.check(a_deployment(), before)
    assert run == Run("/jobs/1", State.IN_PROGRESS, "https://a.example/7")
    tool.responds(204, b"")
    run = await endpoint.check(a_deployment(), run)
    assert run == Run("/jobs/1", State.SUCCESS, "https://a.example/7")


@pytest.mark.parametrize("body", [b"", b"<html>Sign in</html>", b"null", b"[]", {}, {"ok": True}])
@pytest.mark.parametrize("status", [200, 201])
async def test_200_without_a_state_is_not_a_success(
    endpoint: Endpoint, tool: FakeTool, status: int, body: Any
) -> None:
    tool.responds(status, body)
    with pytest.raises(UnknownOutcome, match=r"Location has to respond with a `state`"):
        await endpoint.check(a_deployment(), POLLED)


@pytest.mark.parametrize("state", [State.QUEUED, State.IN_PROGRESS])
async def test_an_unknown_state_changes_nothing_but_the_description(
    endpoint: Endpoint, tool: FakeTool, state: State
) -> None:
    tool.responds(200, {"state": "paused"})
    run = await endpoint.check(a_deployment(), Run("/jobs/1", state, "https://a.example/7"))
    assert run == Run("/jobs/1", state, "https://a.example/7", UNKNOWN.format("paused"))


async def test_what_ran_does_not_go_back_into_the_queue(endpoint: Endpoint, tool: FakeTool) -> None:
    running = Run("/jobs/1", State.IN_PROGRESS)
    tool.responds(200, {"state": "pending"})
    run = await endpoint.check(a_deployment(), running)
    assert (run.state, run.description) == (State.IN_PROGRESS, "the tool says 'pending'")
    tool.responds(200, {"state": "queued", "description": "a new runner comes"})
    run = await endpoint.check(a_deployment(), running)
    assert (run.state, run.description) == (State.IN_PROGRESS, "a new runner comes")


@pytest.mark.parametrize("status", [404, 410])
async def test_a_run_that_vanishes_is_rejected(
    endpoint: Endpoint, tool: FakeTool, status: int
) -> None:
    tool.responds(status, {"error": "no such job"})
    with pytest.raises(Rejected) as gone:
        await endpoint.check(a_deployment(), Run("/jobs/1", State.IN_PROGRESS))
    assert str(gone.value) == f"the tool at {tool.host} no longer knows its run ({status})"
    assert (gone.value.status, gone.value.certain) == (status, False)


@pytest.mark.parametrize("status", [400, 401, 403, 405, 409, 418])
async def test_a_poll_that_is_rejected_is_tried_again(
    endpoint: Endpoint, tool: FakeTool, status: int
) -> None:
    tool.responds(status, {"message": "says the tool", "state": "failure"})
    with pytest.raises(Unavailable, match=f"returned {status}: says the tool"):
        await endpoint.check(a_deployment(), POLLED)

"""Responses of internal tooling to a start: the first table of docs/how-to/http-tooling.md."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from handlers.contract import Run, State
from handlers.endpoint import WAITING, Endpoint
from handlers.errors import Rejected, Unavailable
from handlers.http import Http
from tests.handlers.endpoints import an_endpoint
from tests.handlers.runs import a_deployment
from tests.handlers.tools import FakeTool

UNKNOWN = "the tool says '{}', which the relay does not know"


@pytest.fixture
async def endpoint(tool: FakeTool) -> AsyncIterator[Endpoint]:
    async with aiohttp.ClientSession() as session:
        yield an_endpoint(Http(session), f"{tool.url}/deploy")


MONSTER = b"[" * 100_000


# -- to a start --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ("success", State.SUCCESS),
        ("Failure", State.FAILURE),
        ("ERROR", State.ERROR),
        ("in_progress", State.IN_PROGRESS),
        ("queued", State.QUEUED),
        (" pending ", State.QUEUED),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202, 409])
async def test_a_state_is_one_of_githubs(
    endpoint: Endpoint, tool: FakeTool, status: int, given: str, state: State
) -> None:
    tool.responds(status, {"state": given, "description": "says the tool"})
    run = await endpoint.start(a_deployment())
    assert (run.id, run.state, run.description) == ("1234567890", state, "says the tool")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>accepted</html>",
        b"null",
        b"7",
        b"[]",
        {},
        {"state": None},
        MONSTER,
        b"\xff",
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_accepted_without_a_state_waits_for_reports(
    endpoint: Endpoint, tool: FakeTool, status: int, body: Any
) -> None:
    tool.responds(status, body)
    run = await endpoint.start(a_deployment())
    assert run == Run("1234567890", State.IN_PROGRESS, description=WAITING)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"Hook rules were not satisfied.\n", "Hook rules were not satisfied."),
        ({"message": "queued behind 3 others"}, "queued behind 3 others"),
        (b'"success"', "success"),
    ],
)
async def test_what_it_says_without_a_state_is_shown(
    endpoint: Endpoint, tool: FakeTool, body: Any, said: str
) -> None:
    tool.responds(200, body)
    if isinstance(body, bytes):
        tool.headers = {"Content-Type": "text/plain; charset=utf-8"}
    run = await endpoint.start(a_deployment())
    assert run.state is State.IN_PROGRESS
    assert run.description == f"the tool says '{said}'; waiting for its reports"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Building", "building"),
        ("inactive", "inactive"),
        (7, "7"),
        (True, "true"),
        (["success"], '["success"]'),
        ("a\n\u202eb" + "c" * 100, "a b" + "c" * 26 + "…"),
    ],
)
async def test_accepted_with_an_unknown_state_waits_and_reports_it(
    endpoint: Endpoint, tool: FakeTool, given: Any, shown: str
) -> None:
    tool.responds(200, {"state": given})
    run = await endpoint.start(a_deployment())
    assert (run.state, run.description) == (State.IN_PROGRESS, UNKNOWN.format(shown))
    assert await endpoint.check(a_deployment(), run) == run


@pytest.mark.parametrize("status", [202, 409])
@pytest.mark.parametrize(
    "location", ["jobs/7?a=%2F", "/jobs/7?a=%2F", "{url}/jobs/7?a=%2F#x", "//{host}/jobs/7?a=%2F"]
)
async def test_a_location_is_the_address_to_poll(
    endpoint: Endpoint, tool: FakeTool, status: int, location: str
) -> None:
    location = location.format(url=tool.url, host=tool.url.removeprefix("http://"))
    tool.responds(status, {"state": "queued"}, location)
    run = await endpoint.start(a_deployment())
    assert (run.id, run.state) == ("/jobs/7?a=%2F", State.QUEUED)
    tool.responds(200, {"state": "success"})
    assert (await endpoint.check(a_deployment(), run)).state is State.SUCCESS
    assert (tool.received[-1].method, tool.received[-1].target) == ("GET", "/jobs/7?a=%2F")


async def test_a_location_that_resembles_a_host_is_a_path(
    endpoint: Endpoint, tool: FakeTool
) -> None:
    tool.responds(202, {}, f"{tool.url}//evil.example/x")
    run = await endpoint.start(a_deployment())
    tool.responds(204, b"")
    assert (await endpoint.check(a_deployment(), run)).state is State.SUCCESS
    assert tool.received[-1].target == "//evil.example/x"


ELSEWHERE = "its Location leads to another address{}; waiting for its reports"
NOWHERE = "its Location cannot be polled; waiting for its reports"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("https://evil.example/jobs/7?key=s3cret", ELSEWHERE.format(" (https://evil.example)")),
        ("//evil.example/jobs/7", ELSEWHERE.format(" (http://evil.example)")),
        ("https://127.0.0.1/jobs/7", ELSEWHERE.format(" (https://127.0.0.1)")),
        ("http://127.0.0.1:1/jobs/7", ELSEWHERE.format(" (http://127.0.0.1:1)")),
        ("http://me:s3cret@evil.example/", ELSEWHERE.format(" (http://evil.example)")),
        ("http://" + "evil." * 20 + "example/", ELSEWHERE.format("")),
        ("http://127.0.0.1:99999/", NOWHERE),
        ("file:///etc/passwd", NOWHERE),
        ("javascript:alert(1)", NOWHERE),
        ("http://[", NOWHERE),
        ("http://127.0.0.1:x/", NOWHERE),
        ("/" + "a" * 3000, NOWHERE),
    ],
)
async def test_a_location_elsewhere_is_never_polled_and_reports_are_waited_for(
    endpoint: Endpoint, tool: FakeTool, location: str, message: str
) -> None:
    tool.responds(202, {}, location)
    run = await endpoint.start(a_deployment())
    assert run == Run("1234567890", State.IN_PROGRESS, description=message)
    assert await endpoint.check(a_deployment(), run) == run
    assert len(tool.received) == 1


async def test_another_address_is_not_called(endpoint: Endpoint, tool: FakeTool) -> None:
    async with FakeTool() as other:
        tool.responds(202, {"state": "in_progress", "description": "runs"}, f"{other.url}/jobs/7")
        run = await endpoint.start(a_deployment())
        assert await endpoint.check(a_deployment(), run) == run
        assert not other.calls
    message = f"{ELSEWHERE.format(f' ({other.url})')}: runs"
    assert (run.state, run.description) == (State.IN_PROGRESS, message)


async def test_where_it_has_ended_no_location_matters(endpoint: Endpoint, tool: FakeTool) -> None:
    tool.responds(202, {"state": "success"}, "https://evil.example")
    assert (await endpoint.start(a_deployment())).state is State.SUCCESS


@pytest.mark.parametrize("status", [200, 201])
async def test_only_an_unfinished_response_has_a_location_to_poll(
    endpoint: Endpoint, tool: FakeTool, status: int
) -> None:
    tool.responds(status, {"state": "queued"}, "/jobs/7")
    assert (await endpoint.start(a_deployment())).id == "1234567890"


@pytest.mark.parametrize("body", [{}, {"state": "locked", "message": "locked by octocat"}])
async def test_a_conflict_without_a_state_is_a_rejection(
    endpoint: Endpoint, tool: FakeTool, body: Any
) -> None:
    tool.responds(409, body)
    with pytest.raises(Rejected, match="returned 409"):
        await endpoint.start(a_deployment())


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, {"error": "no such environment"}, "returned 400: no such environment"),
        (401, {}, "returned 401: it does not accept the `secret` or the `headers`"),
        (403, {"message": "not on Fridays"}, "returned 403: not on Fridays"),
        (404, b"<html>", "returned 404: nothing is there; check its address in deploy.yml$"),
        (422, {"detail": "no ref"}, "returned 422: no ref"),
    ],
)
async def test_a_rejection_ends_it_with_the_tools_message(
    endpoint: Endpoint, tool: FakeTool, status: int, body: Any, message: str
) -> None:
    tool.responds(status, body)
    with pytest.raises(Rejected, match=f"^the tool at {tool.host} {message}") as caught:
        await endpoint.start(a_deployment())
    assert caught.value.status == status


@pytest.mark.parametrize("status", [200, 202])
async def test_a_page_to_sign_in_at_is_reported_to_be_one(
    endpoint: Endpoint, tool: FakeTool, status: int
) -> None:
    tool.status, tool.body = status, b"<!DOCTYPE html><title>Sign in</title>"
    tool.headers = {"Content-Type": "text/html; charset=utf-8"}
    run = await endpoint.start(a_deployment())
    message = "the tool returned a web page; is `url` right?"
    assert (run.state, run.description) == (State.IN_PROGRESS, message)
    assert await endpoint.check(a_deployment(), run) == run


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
@pytest.mark.parametrize("body", [b'{"ok": true}', b"OK", b""])
async def test_any_other_response_without_a_state_is_an_acceptance(
    endpoint: Endpoint, tool: FakeTool, body: bytes, kind: str
) -> None:
    tool.body, tool.headers = body, {"Content-Type": kind}
    run = await endpoint.start(a_deployment())
    message = "accepted; waiting for the tool's reports"
    assert (run.state, run.description) == (State.IN_PROGRESS, message)


@pytest.mark.parametrize("status", [408, 425])
async def test_a_hitch_on_the_way_is_tried_again(
    endpoint: Endpoint, tool: FakeTool, status: int
) -> None:
    tool.responds(status, {})
    with pytest.raises(Unavailable, match=f"returned {status}"):
        await endpoint.start(a_deployment())


# -- what does not fit -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("a\n\n  b\t", "a b"),
        ("a" * 1000, "a" * 1000),
        ("a" * 1001, "a" * 999 + "…"),
        ("\u202ea\x1b[31mb\u200b", "a[31mb"),
        *((unusual, "") for unusual in (None, 7, ["a"], {"a": 1}, True)),
    ],
)
async def test_a_description_is_a_plain_line(
    endpoint: Endpoint, tool: FakeTool, description: Any, shown: str
) -> None:
    tool.responds(200, {"state": "failure", "description": description})
    assert (await endpoint.start(a_deployment())).description == shown


@pytest.mark.parametrize(
    "url",
    [
        *(None, 7, ["https://a.example"], "", "a.example", "/jobs/7", "//a.example"),
        *("javascript:alert(1)", "data:text/html,x", "https://", "https://a b", "http://["),
        *("https://github.com@evil.example", "https://a.example/\n", "https://a/" + "x" * 2000),
    ],
)
async def test_people_are_sent_to_web_addresses_only(
    endpoint: Endpoint, tool: FakeTool, url: Any
) -> None:
    tool.responds(200, {"state": "success", "url": url, "environment_url": url})
    run = await endpoint.start(a_deployment())
    assert (run.state, run.url, run.environment_url) == (State.SUCCESS, "", "")

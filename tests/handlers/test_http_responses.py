"""What the response of a tool means, and what a read without a response means."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import aiohttp
import pytest
from pydantic import BaseModel, PositiveInt, TypeAdapter

from handlers.errors import Rejected, UnknownOutcome
from handlers.http import Http, read_only
from sandbox.faults import Fault
from tests.handlers.tools import FakeTool, not_done

T = TypeVar("T")
NOTHING_THERE = "returned 404: nothing is there; check its address in deploy.yml"


class Thing(BaseModel):
    id: PositiveInt


# -- rejections --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "expected"),
    [
        (401, b"{}", "", "returned 401: it does not know the token; check it in deploy.yml"),
        (403, b"{}", "", "returned 403: the token may not do this; check its rights"),
        (302, b"", "", "returned 302: it has moved; correct its address in deploy.yml"),
        (422, b'{"message": "no such\\n target"}', "", "returned 422: no such target"),
        (400, b'{"error": "no\\u001b[31m \\u202ered"}', "", "returned 400: no[31m red"),
        (400, b'{"error": {"code": 7}, "detail": "no"}', "", "returned 400: no"),
        (400, b'"no"', "", "returned 400: no"),
        (400, b"no such target\n", "text/plain; charset=utf-8", "returned 400: no such target"),
        (400, b"<html>no</html>", "text/html", "returned 400: its log may say why"),
        (400, b'{"message": ["no"], "error": null}', "", "returned 400: its log may say why"),
        (404, b"[" * 100_000, "", NOTHING_THERE),
        (404, b"\xff\xfe", "", NOTHING_THERE),
        (404, b'{"message": "404: Not Found"}', "", NOTHING_THERE),
        (404, b"404 page not found\n", "text/plain", NOTHING_THERE),
        (404, b'{"error": "no such target"}', "", "returned 404: no such target"),
        (501, b'{"message": "Not Implemented"}', "", "returned 501: Not Implemented"),
    ],
)
async def test_a_rejection_has_the_tools_own_message(
    http: Http, tool: FakeTool, status: int, body: bytes, kind: str, expected: str
) -> None:
    tool.status, tool.body = status, body
    tool.headers["Content-Type"] = kind or "application/json"
    response = await http.call("Tool", "GET", f"{tool.url}/secret?token=x")
    assert str(response.rejected()) == f"Tool at {tool.host} {expected}"
    assert response.rejected().status == status
    assert str(response.unavailable()) == str(response.rejected())


async def test_a_long_message_is_cut(http: Http, tool: FakeTool) -> None:
    tool.status, tool.body = 400, b'{"message": "%s"}' % (b"a" * 1000)
    response = await http.call("Tool", "GET", tool.url)
    assert len(response.message()) < 160


# -- documents ---------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 100_000, b"9" * 5000])
async def test_what_is_no_json_may_have_been_done(http: Http, tool: FakeTool, body: bytes) -> None:
    tool.body = body
    response = await http.call("Tool", "GET", tool.url)
    with pytest.raises(
        UnknownOutcome, match="returned 200 with something other than JSON; check its address"
    ):
        response.json()
    with pytest.raises(
        UnknownOutcome, match="returned 200 with something other than JSON; check its address"
    ):
        response.read(list[int])


async def test_a_response_is_read_in_the_shape_that_is_given(http: Http, tool: FakeTool) -> None:
    tool.responds(200, [{"id": 7, "more": "is left out"}])
    response = await http.call("Tool", "GET", tool.url)
    assert response.read(list[Thing]) == [Thing(id=7)]
    tool.responds(200, None)
    response = await http.call("Tool", "GET", tool.url)
    or_nothing: TypeAdapter[Thing | None] = TypeAdapter(Thing | None)
    assert response.read(or_nothing) is None


@pytest.mark.parametrize(
    "body",
    [b"null", b"[]", b'"id"', b"{}", b'{"id": "one"}', b'{"id": 0}', b'{"id": 1e400}'],
)
async def test_what_has_another_shape_may_have_been_done(
    http: Http, tool: FakeTool, body: bytes
) -> None:
    tool.responds(200, body)
    response = await http.call("Tool", "POST", f"{tool.url}/hidden?token=hidden")
    with pytest.raises(UnknownOutcome) as caught:
        response.read(Thing)
    expected = "returned something the relay does not understand; check its address in deploy.yml"
    assert str(caught.value) == f"Tool at {tool.host} {expected}"


# -- questions ---------------------------------------------------------------------------------


async def received(call: Awaitable[T]) -> T:
    with read_only():
        return await call


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.status(500), "returned 500: Server Error"),
        (Fault.drop_before(), "gave no full response"),
        (Fault.drop_after(), "gave no full response"),
        (Fault.hang(20), "did not respond in time"),
    ],
    ids=["500", "before", "after", "hang"],
)
async def test_a_read_without_a_response_has_started_nothing(
    session: aiohttp.ClientSession, tool: FakeTool, fault: Fault, expected: str
) -> None:
    tool.faults.add("*", fault)
    http = Http(session, timeout=0.3 if fault.delay else 30)
    error = await not_done(received(http.call("Tool", "GET", tool.url)))
    assert str(error).startswith(f"Tool at {tool.host} {expected}")


async def test_a_rejected_query_has_started_nothing(http: Http, tool: FakeTool) -> None:
    async def verify_access() -> Thing:
        return (await http.call("Tool", "GET", tool.url)).read(Thing)

    assert "does not understand" in str(await not_done(received(verify_access())))


@pytest.mark.parametrize("status", [429, 503])
async def test_a_read_is_retried_when_the_tool_allows(
    http: Http, tool: FakeTool, status: int
) -> None:
    tool.status, tool.headers["Retry-After"] = status, "30"
    began, wait = datetime.now(UTC), timedelta(seconds=30)
    error = await not_done(received(http.call("Tool", "GET", tool.url)))
    assert error.retry_at is not None
    assert began + wait <= error.retry_at <= datetime.now(UTC) + wait


@pytest.mark.parametrize("status", [404, 501])
async def test_a_read_may_be_rejected(http: Http, tool: FakeTool, status: int) -> None:
    async def verify_access() -> None:
        raise (await http.call("Tool", "GET", tool.url)).rejected()

    tool.status = status
    with pytest.raises(Rejected, match=f"returned {status}") as caught:
        await received(verify_access())
    assert caught.value.status == status


async def test_a_secret_in_a_message_is_hidden_before_the_message_is_cut(
    session: aiohttp.ClientSession,
) -> None:
    secret = "a-token-of-38-characters-1234567890abcd"
    async with FakeTool() as tool:
        tool.responds(400, {"message": "x" * 60 + f" refused {secret} for good"})
        http = Http(session, secrets=frozenset({secret}))
        response = await http.call("Tool", "POST", tool.url)
    assert "a-token" not in response.message()
    assert "***" in response.message()

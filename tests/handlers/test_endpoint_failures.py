"""Failures of internal tooling: broken calls, bad responses, and where redirects may lead."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from handlers.contract import Run, State
from handlers.endpoint import Endpoint
from handlers.errors import Rejected, Unavailable, UnknownOutcome
from handlers.http import Http
from sandbox.faults import Fault
from tests.handlers.endpoints import POLLED, an_endpoint
from tests.handlers.runs import a_deployment
from tests.handlers.tools import FakeTool, a_certificate, not_done, served_with_tls, unknown_outcome

LARGE = "x" * 9 * 2**20


@pytest.fixture
def endpoint(http: Http, tool: FakeTool) -> Endpoint:
    return the_endpoint(http, tool)


def the_endpoint(http: Http, tool: FakeTool) -> Endpoint:
    cancel = {"url": f"{tool.url}/cancel"}
    return an_endpoint(http, f"{tool.url}/deploy", secret="s3cret", cancel=cancel)


def act(endpoint: Endpoint, name: str) -> Awaitable[Any]:
    deployment = a_deployment()
    match name:
        case "start":
            return endpoint.start(deployment)
        case "check":
            return endpoint.check(deployment, POLLED)
    return endpoint.cancel(deployment, POLLED)


every_act = pytest.mark.parametrize("name", ["start", "check", "cancel"])


@every_act
async def test_a_refused_connection_is_tried_again(http: Http, name: str) -> None:
    url = "http://127.0.0.1:1/deploy"
    endpoint = an_endpoint(http, url, cancel={"url": url})
    error = await not_done(act(endpoint, name))
    assert str(error).startswith("the tool at 127.0.0.1:1 cannot be reached: connection refused")


@every_act
async def test_retry_after_of_a_tool_is_respected(
    endpoint: Endpoint, tool: FakeTool, name: str
) -> None:
    tool.faults.add("*", Fault.rate_limited(9))
    began, wait = datetime.now(UTC), timedelta(seconds=9)
    error = await not_done(act(endpoint, name))
    assert error.retry_at is not None
    assert began + wait <= error.retry_at <= datetime.now(UTC) + wait


@every_act
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.status(500), "returned 500: Server Error"),
        (Fault.status(502, "<html>Bad Gateway</html>"), "returned 502"),
        (Fault.hang(20), "did not respond in time"),
        (Fault.drop_before(), "gave no full response (connection closed)"),
        (Fault.drop_after(), "gave no full response (connection closed)"),
    ],
)
async def test_what_may_have_been_done_has_an_unknown_outcome(
    session: aiohttp.ClientSession, tool: FakeTool, name: str, fault: Fault, message: str
) -> None:
    tool.faults.add("*", fault)
    endpoint = the_endpoint(Http(session, timeout=0.3 if fault.delay else 30), tool)
    assert message in str(await unknown_outcome(act(endpoint, name)))
    assert len(tool.calls) == 1


@every_act
async def test_a_large_response_is_not_read(endpoint: Endpoint, tool: FakeTool, name: str) -> None:
    tool.faults.add("*", Fault.status(200, LARGE))
    assert "returned more than 8 MB" in str(await unknown_outcome(act(endpoint, name)))


# -- TLS ---------------------------------------------------------------------------------------


async def test_a_certificate_of_an_unknown_authority(http: Http, tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path)
    async with served_with_tls(certificate) as url:
        error = await not_done(an_endpoint(http, url).start(a_deployment()))
        assert str(error).startswith(
            f"no safe connection to the tool at {url.removeprefix('https://')}: untrusted"
        )
        run = await an_endpoint(http, url, ca=certificate.file).start(a_deployment())
        assert run.state is State.IN_PROGRESS


async def test_a_tool_that_wants_a_certificate(http: Http, tmp_path: Path) -> None:
    theirs, ours = a_certificate(tmp_path), a_certificate(tmp_path, "relay.example")
    async with served_with_tls(theirs, clients=ours.file) as url:
        with pytest.raises(Unavailable):
            await an_endpoint(http, url, ca=theirs.file).start(a_deployment())
        files = {"ca": theirs.file, "certificate": ours.file, "key": ours.key}
        run = await an_endpoint(http, url, **files).start(a_deployment())
        assert run.state is State.IN_PROGRESS


# -- redirects ---------------------------------------------------------------------------------


def redirect(status: int, location: str) -> Fault:
    return Fault(status_code=status, headers={"Location": location})


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "location", ["/v2/deploy?a=%2F", "v2/deploy?a=%2F", "{url}/v2/deploy?a=%2F"]
)
async def test_a_start_follows_a_redirect_to_the_same_tool(
    endpoint: Endpoint, tool: FakeTool, status: int, location: str
) -> None:
    tool.faults.add("POST /deploy", redirect(status, location.format(url=tool.url)))
    tool.status, tool.headers["Location"] = 202, "jobs/7"
    run = await endpoint.start(a_deployment())
    [received] = tool.received
    assert (received.method, received.target) == ("POST", "/v2/deploy?a=%2F")
    assert received.headers["Idempotency-Key"] == "1234567890"
    assert "X-Hub-Signature-256" in received.headers
    assert b'"deployment"' in received.body
    assert run.id == "/v2/jobs/7"


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_would_lose_the_document_is_rejected(
    endpoint: Endpoint, tool: FakeTool, status: int
) -> None:
    tool.faults.add("*", redirect(status, "/v2/deploy"))
    with pytest.raises(Rejected, match=f"returned {status}: it has moved; correct its addr"):
        await endpoint.start(a_deployment())
    assert tool.received == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_poll_follows_a_redirect_to_the_same_tool(
    endpoint: Endpoint, tool: FakeTool, status: int
) -> None:
    tool.faults.add("GET /jobs/1", redirect(status, "/v2/jobs/1"))
    tool.body = b'{"state": "success"}'
    assert (await endpoint.check(a_deployment(), POLLED)).state is State.SUCCESS
    assert [(received.method, received.target) for received in tool.received] == [
        ("GET", "/v2/jobs/1")
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_another_host_is_never_sent_anything(
    endpoint: Endpoint, tool: FakeTool, status: int
) -> None:
    async with FakeTool() as other:
        # Another port is another host; so is another name of the same one, and plain http.
        addresses = [
            other.url,
            other.url.replace("http:", ""),
            tool.url.replace("127.0.0.1", "[::1]"),
        ]
        addresses += [
            tool.url.replace("http:", "https:"),
            tool.url.replace("127.0.0.1", "localhost"),
        ]
        for address in addresses:
            tool.faults.add("*", redirect(status, address), times=2)
            with pytest.raises(Rejected, match=f"returned {status}: it has moved"):
                await endpoint.start(a_deployment())
            with pytest.raises(Unavailable, match=f"returned {status}: it has moved"):
                await endpoint.check(a_deployment(), POLLED)
        assert not other.calls
        assert not tool.received


async def test_https_never_becomes_http(http: Http, tool: FakeTool, tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path)
    async with served_with_tls(certificate, leads_to=tool.url) as url:
        with pytest.raises(Rejected, match="returned 307: it has moved"):
            await an_endpoint(http, url, ca=certificate.file).start(a_deployment())
    assert tool.calls == []


@pytest.mark.parametrize(("times", "arrives"), [(3, True), (4, False)])
async def test_redirects_come_to_an_end(
    endpoint: Endpoint, tool: FakeTool, times: int, arrives: bool
) -> None:
    tool.faults.add("*", redirect(307, "/deploy"), times=times)
    if arrives:
        assert (await endpoint.start(a_deployment())).state is State.IN_PROGRESS
        return
    with pytest.raises(Rejected, match="returned 307"):
        await endpoint.start(a_deployment())
    assert len(tool.calls) == 4


@pytest.mark.parametrize("headers", [{}, {"Location": ""}])
async def test_a_redirect_to_nowhere_is_rejected(
    endpoint: Endpoint, tool: FakeTool, headers: dict[str, str]
) -> None:
    tool.faults.add("*", Fault(status_code=307, headers=headers))
    with pytest.raises(Rejected, match="returned 307"):
        await endpoint.start(a_deployment())


async def test_a_run_follows_its_tool_to_another_address(http: Http, tool: FakeTool) -> None:
    """What was recorded of a run is a path; the host is always the one of deploy.yml."""
    tool.body = b'{"state": "success"}'
    run = Run("/jobs/7?a=%2F", State.IN_PROGRESS)
    moved = an_endpoint(http, f"{tool.url}/other/deploy")
    assert (await moved.check(a_deployment(), run)).state is State.SUCCESS
    assert tool.received[0].target == "/jobs/7?a=%2F"


async def test_no_secret_is_in_the_message(http: Http, tool: FakeTool) -> None:
    token = a_deployment().report.token
    endpoint = an_endpoint(
        http, f"{tool.url}/hooks/pa55?key=pa55", secret="pa55word", headers={"X-Key": "pa55"}
    )
    for status in (302, 401, 403, 404, 422, 500):
        tool.faults.add("*", Fault.status(status, {}))
        with pytest.raises((Rejected, UnknownOutcome)) as caught:
            await endpoint.start(a_deployment())
        assert "pa55" not in str(caught.value)
        assert token not in str(caught.value)

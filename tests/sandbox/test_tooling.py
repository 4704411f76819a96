"""The stand-in for internal tooling, as a caller uses it."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sandbox.faults import Fault
from sandbox.server import Server
from sandbox.tooling import Mode, Tooling
from tests.handlers.runs import eventually

SECRET = "It's a Secret to Everybody"


class Relay(Server):
    """Receives reports; responds with `statuses` in their order, then always with the last."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses = [201]
        self.reports: list[tuple[str, dict[str, Any]]] = []

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/statuses", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        self.reports.append((request.headers["Authorization"], await request.json()))
        return web.Response(
            status=self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        )


class Caller:
    def __init__(self, session: aiohttp.ClientSession, tooling: Tooling) -> None:
        self._session = session
        self._tooling = tooling
        self.report: dict[str, str] = {"url": "http://127.0.0.1:1/statuses", "token": "grt_x"}

    async def call(
        self, method: str, path: str, body: bytes | None = None, **headers: str | None
    ) -> tuple[int, Any, str]:
        """The headers have `_` for `-`; None leaves one out that would be there otherwise."""
        usual: dict[str, str | None] = {"Idempotency_Key": "7", "Content_Type": "application/json"}
        if body is not None:
            usual["X_Hub_Signature_256"] = signature(body, self._tooling.secret)
        given = usual | headers
        sent = {name.replace("_", "-"): value for name, value in given.items() if value}
        url = self._tooling.url + path
        async with self._session.request(method, url, data=body, headers=sent) as response:
            document = await response.json() if response.content_type.endswith("json") else None
            return response.status, document, response.headers.get("Location", "")

    async def deploy(self, **headers: str | None) -> tuple[int, Any, str]:
        body = json.dumps({"report": self.report}).encode()
        return await self.call("POST", "/deploy", body, **headers)


def signature(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@pytest.fixture
async def tooling() -> AsyncIterator[Tooling]:
    async with Tooling(secret=SECRET, takes=None) as server:
        yield server


@pytest.fixture
def caller(tooling: Tooling, session: aiohttp.ClientSession) -> Caller:
    return Caller(session, tooling)


def test_signatures_here_are_githubs() -> None:
    expected = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signature(b"Hello, World!") == f"sha256={expected}"


async def test_a_repeated_key_starts_nothing_and_gets_the_same_response(
    tooling: Tooling, caller: Caller
) -> None:
    first = await caller.deploy()
    assert first == (202, {"accepted": True}, "")
    assert await caller.deploy() == first
    assert (len(tooling.jobs), tooling.job(7).requests) == (1, 2)
    await caller.deploy(Idempotency_Key="8")
    assert list(tooling.jobs) == ["7", "8"]


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({"X_Hub_Signature_256": None}, 401, "signature"),
        ({"X_Hub_Signature_256": "sha256=" + "0" * 64}, 401, "signature"),
        ({"X_Hub_Signature_256": signature(b"other")}, 401, "signature"),
        ({"Idempotency_Key": None}, 400, "Idempotency-Key"),
        ({"Content_Type": "text/plain"}, 415, "application/json"),
    ],
)
async def test_what_a_strict_receiver_rejects_is_rejected(
    tooling: Tooling, caller: Caller, headers: dict[str, str | None], status: int, text: str
) -> None:
    got, document, _ = await caller.deploy(**headers)
    assert got == status
    assert text in document["error"]
    assert tooling.jobs == {}


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[]", 422), (b'{"report": {}}', 422)])
async def test_an_unusable_document_is_rejected(
    tooling: Tooling, caller: Caller, body: bytes, status: int
) -> None:
    assert (await caller.call("POST", "/deploy", body))[0] == status
    assert tooling.jobs == {}


async def test_a_token_is_required_if_one_is_set(tooling: Tooling, caller: Caller) -> None:
    tooling.token = "t"
    assert (await caller.deploy())[0] == 401
    assert (await caller.deploy(Authorization="Bearer t"))[0] == 202
    assert (await caller.call("GET", "/jobs/1"))[0] == 401


async def test_the_response_can_have_the_result(tooling: Tooling, caller: Caller) -> None:
    tooling.mode, tooling.ends = Mode.SYNCHRONOUS, "failure"
    status, document, _ = await caller.deploy()
    assert (status, document["state"]) == (200, "failure")


async def test_a_job_can_be_polled(tooling: Tooling, caller: Caller) -> None:
    tooling.mode = Mode.POLLED
    status, _, location = await caller.deploy()
    assert (status, location) == (202, "/jobs/1")
    status, document, _ = await caller.call("GET", location)
    assert (status, document["state"]) == (202, "queued")
    await tooling.set_state(7, "success", "done")
    status, document, _ = await caller.call("GET", location)
    assert (status, document["state"], document["description"]) == (200, "success", "done")
    assert (await caller.call("GET", "/jobs/2"))[0] == 404


async def test_a_job_reports_until_its_report_is_accepted(tooling: Tooling, caller: Caller) -> None:
    tooling.takes, tooling.environment_url = 0.02, "https://shop.example"
    async with Relay() as relay:
        relay.statuses = [503, 201]
        caller.report = {"url": f"{relay.url}/statuses", "token": "grt_x"}
        await caller.deploy()
        await eventually(lambda: tooling.job(7).reports[-1:] == [("success", 201)])
    listener = [(token, report["state"]) for token, report in relay.reports]
    assert listener == [
        ("Bearer grt_x", "in_progress"),
        ("Bearer grt_x", "in_progress"),
        ("Bearer grt_x", "success"),
    ]
    assert relay.reports[-1][1]["environment_url"] == "https://shop.example"


async def test_a_job_can_be_cancelled_once(tooling: Tooling, caller: Caller) -> None:
    await caller.deploy()
    assert (await caller.call("POST", "/cancel/7", b"{}", X_Hub_Signature_256=None))[0] == 401
    assert (await caller.call("POST", "/cancel/7", b"{}"))[0] == 200
    assert tooling.job(7).cancelled
    assert (await caller.call("DELETE", "/cancel/7"))[0] == 409
    assert (await caller.call("DELETE", "/cancel/8"))[0] == 404


async def test_faults_can_be_injected(tooling: Tooling, caller: Caller) -> None:
    tooling.faults.add("POST /deploy", Fault.drop_after())
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await caller.deploy()
    assert tooling.job(7).requests == 1

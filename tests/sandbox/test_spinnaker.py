"""The stand-in for Spinnaker, as a client of Gate's API uses it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import aiohttp
import pytest

from sandbox.faults import Fault
from sandbox.spinnaker.echo import constraint_holds
from sandbox.spinnaker.model import Execution
from sandbox.spinnaker.server import Spinnaker

EVENT = {"deployment": {"id": 12, "environment": "production"}, "parameters": {"size": "2"}}
SEARCH = "/applications/*/executions/search"


@pytest.fixture
async def spinnaker() -> AsyncIterator[Spinnaker]:
    async with Spinnaker() as server:
        server.add_pipeline(a_pipeline())
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def a_pipeline(name: str = "Deploy", **config: Any) -> dict[str, Any]:
    trigger = {"type": "webhook", "enabled": True, "source": "github"}
    stages = [{"type": "wait", "name": "Wait"}]
    return {"application": "shop", "name": name, "triggers": [trigger], "stages": stages} | config


async def send(
    session: aiohttp.ClientSession, spinnaker: Spinnaker, line: str, **arguments: Any
) -> tuple[int, Any]:
    """`line` is METHOD /path; the status and the document."""
    method, path = line.split()
    url = spinnaker.url + path
    async with session.request(method, url, allow_redirects=False, **arguments) as response:
        text = await response.text()
        return response.status, json.loads(text) if text else None


async def trigger(
    session: aiohttp.ClientSession, spinnaker: Spinnaker, event: Any = EVENT, source: str = "github"
) -> str:
    status, document = await send(
        session, spinnaker, f"POST /webhooks/webhook/{source}", json=event
    )
    assert (status, document["eventProcessed"]) == (200, True)
    return str(document["eventId"])


async def until(condition: Any) -> None:
    deadline = monotonic() + 10
    while not condition():
        assert monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.005)


async def only(spinnaker: Spinnaker) -> Execution:
    """The execution started by what was sent, at its end."""
    await until(lambda: spinnaker.executions and spinnaker.executions[0].complete)
    [execution] = spinnaker.executions
    return execution


async def test_an_event_starts_a_pipeline_later(
    spinnaker: Spinnaker, session: aiohttp.ClientSession
) -> None:
    event_id = await trigger(session, spinnaker)
    assert spinnaker.executions == []
    execution = await only(spinnaker)
    assert execution.status == "SUCCEEDED"
    assert execution.trigger["eventId"] == event_id
    assert execution.trigger["payload"] == EVENT
    assert execution.trigger["parameters"] == {"size": "2"}


async def test_an_event_that_triggers_nothing_has_the_same_response(
    spinnaker: Spinnaker, session: aiohttp.ClientSession
) -> None:
    await trigger(session, spinnaker, source="GitHub")
    await trigger(session, spinnaker)  # so that the first has been processed as well
    await only(spinnaker)
    assert len(spinnaker.events) == 2


@pytest.mark.parametrize(
    ("key", "pattern", "holds"),
    [
        ("deployment.environment", "prod", True),
        ("deployment.environment", "Prod", False),
        ("deployment.environment", "^production$", True),
        ("deployment.environment", "^prod$", False),
        ("$.deployment.environment", "^production$", True),
        ("deployment.environment", "[", False),
        ("deployment.id", "^12$", True),
        ("deployment.missing", ".*", False),
        ("deployment", ".*production.*", True),
        ("missing", None, False),
        ("action", None, True),
        ("tags", "^b$", True),
        ("deployment.tags", "^b$", True),
        ("deployment.tags", "^c$", False),
        ("deployment.inner", ".*", False),
    ],
)
def test_a_constraint_may_match_a_part_of_the_value(key: str, pattern: Any, holds: bool) -> None:
    deployment = {"environment": "production", "id": 12, "tags": ["a", "b"], "inner": {"a": 1}}
    payload = {"deployment": deployment, "action": "created", "tags": "b"}
    assert constraint_holds(key, pattern, payload) is holds


@pytest.mark.parametrize(
    "config",
    [
        {"disabled": True},
        {"triggers": [{"type": "webhook", "enabled": False, "source": "github"}]},
        {"triggers": [{"type": "git", "enabled": True, "source": "github"}]},
    ],
)
async def test_a_disabled_pipeline_is_not_triggered(
    spinnaker: Spinnaker, session: aiohttp.ClientSession, config: dict[str, Any]
) -> None:
    spinnaker.add_pipeline(a_pipeline("Off", **config))
    await trigger(session, spinnaker)
    assert (await only(spinnaker)).pipeline.name == "Deploy"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, 2),
        ({"triggerTypes": "webhook,git"}, 2),
        ({"triggerTypes": "manual"}, 0),
        ({"pipelineName": "Mail"}, 1),
        ({"statuses": "TERMINAL"}, 0),
        ({"size": "1"}, 1),
        ({"startIndex": "1"}, 1),
        ({"triggerTimeEndBoundary": "1"}, 0),
        ({"triggerTimeStartBoundary": "9999999999999"}, 0),
        ({"eventId": "another"}, 0),
        ({"trigger": {"payload": {"deployment": {"environment": "PROD.*"}}}}, 0),
        ({"trigger": {"payload": {"deployment": {"environment": "prod.*"}}}}, 2),
        ({"trigger": {"payload": {"deployment": {"environment": "PRODUCTION"}}}}, 2),
        ({"trigger": {"payload": {"deployment": {"id": 12}}}}, 2),
        ({"trigger": {"payload": {"deployment": {"id": 1}}}}, 0),
    ],
)
async def test_executions_are_searched_for(
    spinnaker: Spinnaker, session: aiohttp.ClientSession, query: dict[str, Any], found: int
) -> None:
    spinnaker.add_pipeline(a_pipeline("Mail", application="mail"))
    await trigger(session, spinnaker)
    await until(lambda: len(spinnaker.executions) == 2)
    if "trigger" in query:
        subset = json.dumps(query["trigger"]).encode()
        query = {"trigger": base64.b64encode(subset).decode()}
    status, executions = await send(session, spinnaker, f"GET {SEARCH}", params=query)
    assert (status, len(executions)) == (200, found)


async def test_a_search_may_be_in_one_application(
    spinnaker: Spinnaker, session: aiohttp.ClientSession
) -> None:
    event_id = await trigger(session, spinnaker)
    execution = await only(spinnaker)
    path = SEARCH.replace("*", "shop")
    _, [found] = await send(session, spinnaker, f"GET {path}?eventId={event_id}")
    assert (found["id"], found["application"], found["name"]) == (execution.id, "shop", "Deploy")
    _, found = await send(session, spinnaker, f"GET {SEARCH.replace('*', 'mail')}")
    assert found == []


@pytest.mark.parametrize(("query", "status"), [("trigger=%%%", 500), ("size=0", 400)])
async def test_an_invalid_search_is_rejected(
    spinnaker: Spinnaker, session: aiohttp.ClientSession, query: str, status: int
) -> None:
    assert (await send(session, spinnaker, f"GET {SEARCH}?{query}"))[0] == status


async def test_executions_come_in_short_or_in_full(
    spinnaker: Spinnaker, session: aiohttp.ClientSession
) -> None:
    spinnaker.fail("Wait", "no patience")
    await trigger(session, spinnaker)
    execution = await only(spinnaker)
    path = f"GET /executions?executionIds={execution.id},missing"
    _, [short] = await send(session, spinnaker, f"{path}&expand=false")
    assert (short["stages"][0]["status"], short["stages"][0]["context"]) == ("TERMINAL", {})
    _, [full] = await send(session, spinnaker, path)
    assert full["stages"][0]["context"]["exception"]["details"]["errors"] == ["no patience"]
    assert await send(session, spinnaker, f"GET /pipelines/{execution.id}") == (200, full)


async def test_a_missing_execution_is_a_404(
    spinnaker: Spinnaker, session: aiohttp.ClientSession
) -> None:
    for line in ("GET /pipelines/01X", "PUT /pipelines/01X/cancel"):
        status, document = await send(session, spinnaker, line)
        assert (status, document["status"], document["error"]) == (404, 404, "Not Found")


async def test_an_execution_is_canceled(
    spinnaker: Spinnaker, session: aiohttp.ClientSession
) -> None:
    spinnaker.hold("Wait")
    await trigger(session, spinnaker)
    await until(lambda: spinnaker.executions and spinnaker.executions[0].status == "RUNNING")
    [execution] = spinnaker.executions
    line = f"PUT /pipelines/{execution.id}/cancel?reason=enough"
    assert await send(session, spinnaker, line) == (200, None)
    _, document = await send(session, spinnaker, f"GET /pipelines/{execution.id}")
    assert (document["status"], document["cancellationReason"]) == ("CANCELED", "enough")


async def run(session: aiohttp.ClientSession, spinnaker: Spinnaker, **trigger: Any) -> Any:
    line = "POST /pipelines/shop/Deploy"
    status, document = await send(session, spinnaker, line, json=trigger)
    assert status == 202
    return document["ref"]


async def test_a_correlation_id_counts_until_the_execution_is_complete(
    spinnaker: Spinnaker, session: aiohttp.ClientSession
) -> None:
    spinnaker.hold("Wait")
    first = await run(session, spinnaker, correlationId="a")
    assert await run(session, spinnaker, correlationId="a") == first
    assert await run(session, spinnaker, correlationId="b") != first
    spinnaker.release("Wait")
    await until(lambda: spinnaker.executions[0].complete)
    assert await run(session, spinnaker, correlationId="a") != first


async def test_parameters_have_defaults(
    spinnaker: Spinnaker, session: aiohttp.ClientSession
) -> None:
    expected = [{"name": "size", "default": "1"}, {"name": "ref", "required": True}]
    spinnaker.pipelines[0].config["parameterConfig"] = expected
    await run(session, spinnaker, parameters={"ref": "main"})
    assert spinnaker.executions[0].trigger["parameters"] == {"ref": "main", "size": "1"}
    status, document = await send(session, spinnaker, "POST /pipelines/shop/Deploy", json={})
    assert (status, document["message"]) == (400, "Required parameter ref is missing")


@pytest.mark.parametrize("path", ["shop/deploy", "mail/Deploy"])
async def test_an_unknown_pipeline_is_a_404(
    spinnaker: Spinnaker, session: aiohttp.ClientSession, path: str
) -> None:
    assert (await send(session, spinnaker, f"POST /pipelines/{path}", json={}))[0] == 404


async def test_a_body_that_is_not_json_is_rejected(
    spinnaker: Spinnaker, session: aiohttp.ClientSession
) -> None:
    json_type = {"Content-Type": "application/json"}
    for line in ("POST /webhooks/webhook/github", "POST /pipelines/shop/Deploy"):
        for body in (b"{", b"[]"):
            status, _ = await send(session, spinnaker, line, data=body, headers=json_type)
            assert status == 400
        async with session.post(spinnaker.url + line.split()[1], data=b"{}") as response:
            assert response.status == 415


async def test_faults_can_be_injected(spinnaker: Spinnaker, session: aiohttp.ClientSession) -> None:
    spinnaker.faults.add("POST /webhooks/*", Fault.drop_after())
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await trigger(session, spinnaker)
    assert await only(spinnaker)

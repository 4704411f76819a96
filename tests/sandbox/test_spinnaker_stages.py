"""Stages of the stand-in for Spinnaker: how they run, and what its webhook stages send."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import yaml
from aiohttp import web

from sandbox.server import Server
from sandbox.spinnaker.expressions import render, with_defaults
from sandbox.spinnaker.model import Execution, Json
from sandbox.spinnaker.server import Spinnaker
from sandbox.spinnaker.webhook_stages import load


class Receiver(Server):
    """Stores what a stage sends; responds with `statuses` in their order, then with 200."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []
        self.bodies: list[str] = []
        self.headers: list[dict[str, str]] = []

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/{rest:.*}", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.text())
        self.headers.append(dict(request.headers))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


def a_webhook(**entry: Any) -> dict[str, Any]:
    return {
        "label": "Report",
        "type": "report",
        "url": "${trigger['payload']['url']}",
        "payload": '{"state": "${parameterValues[\'state\']}", "id": "${trigger.payload.id}"}',
    } | entry


def orca_local(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "orca-local.yml"
    path.write_text(yaml.safe_dump({"webhook": {"preconfigured": list(entries)}}))
    return path


async def ran(spinnaker: Spinnaker, trigger: Json | None = None, *stages: Json) -> Execution:
    """A pipeline with these stages, at its end."""
    config = {"application": "shop", "name": "Deploy", "stages": list(stages)}
    execution = spinnaker.orca.start(spinnaker.add_pipeline(config), trigger or {})
    deadline = monotonic() + 10
    while not execution.complete:
        assert monotonic() < deadline, "it did not end"
        await asyncio.sleep(0.005)
    return execution


async def run_webhook_stage(folder: Path, receiver: Receiver, **entry: Any) -> Execution:
    """A pipeline with a webhook stage, at its end."""
    async with Spinnaker(orca_local=orca_local(folder, a_webhook(**entry))) as spinnaker:
        spinnaker.orca.webhook_retry_delay = 0.01
        trigger = {"payload": {"url": f"{receiver.url}/reports", "id": 12}}
        stage = {"type": "report", "name": "Report", "parameterValues": {"state": "success"}}
        return await ran(spinnaker, trigger, stage)


async def test_a_webhook_stage_sends_its_evaluated_expressions(
    tmp_path: Path, receiver: Receiver
) -> None:
    headers = {"Authorization": ["Bearer ${parameterValues['state']}"], "X-Two": ["a", "b"]}
    execution = await run_webhook_stage(tmp_path, receiver, customHeaders=headers)
    assert execution.status == "SUCCEEDED"
    assert receiver.bodies == ['{"state": "success", "id": "12"}']
    assert receiver.headers[0]["Authorization"] == "Bearer success"


async def test_without_a_header_text_is_sent_as_plain_text(
    tmp_path: Path, receiver: Receiver
) -> None:
    await run_webhook_stage(tmp_path, receiver)
    assert receiver.headers[0]["Content-Type"] == "text/plain;charset=ISO-8859-1"


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_webhook_stage_tries_again_while_the_other_side_is_down(
    tmp_path: Path, receiver: Receiver, status: int
) -> None:
    receiver.statuses = [status, status]
    assert (await run_webhook_stage(tmp_path, receiver)).status == "SUCCEEDED"
    assert len(receiver.bodies) == 3


@pytest.mark.parametrize("status", [403, 504])
async def test_an_error_response_fails_the_stage(
    tmp_path: Path, receiver: Receiver, status: int
) -> None:
    receiver.statuses = [status]
    execution = await run_webhook_stage(tmp_path, receiver)
    assert execution.status == "TERMINAL"
    assert f"with status code {status}" in execution.stages[0].context["webhook"]["error"]
    assert len(receiver.bodies) == 1


async def test_expressions_in_sensitive_headers_are_not_evaluated(
    tmp_path: Path, receiver: Receiver
) -> None:
    text = "Bearer ${parameterValues['state']}"
    headers = {"Authorization": [text]}
    execution = await run_webhook_stage(tmp_path, receiver, sensitiveHeaders=headers)
    assert receiver.headers[0]["Authorization"] == text
    assert "Authorization" not in execution.stages[0].context["customHeaders"]


async def test_a_url_that_is_not_evaluated_is_not_called(
    tmp_path: Path, receiver: Receiver
) -> None:
    execution = await run_webhook_stage(tmp_path, receiver, url="${trigger['payload']['missing']}")
    assert execution.status == "TERMINAL"
    assert "URI not valid: ${" in execution.stages[0].context["webhook"]["error"]


async def test_a_disabled_webhook_does_not_exist(tmp_path: Path) -> None:
    assert load(orca_local(tmp_path, a_webhook(enabled=False))) == {}


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"lable": "x"}, "unknown keys: lable"),
        ({"customHeaders": {"Accept": "a"}}, "lists of values"),
        ({"parameters": [{"name": "a", "type": "number"}]}, "type is string"),
        ({"parameters": [{"name": "a", "typ": "string"}]}, "unknown keys: typ"),
    ],
)
def test_a_file_that_orca_does_not_accept_is_rejected(
    tmp_path: Path, entry: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        load(orca_local(tmp_path, a_webhook(**entry)))


def test_a_colon_in_an_expression_makes_a_default_value_of_the_rest() -> None:
    assert with_defaults("a ${b ?: 'c'} ${d}") == "a  'c' ${d}"


FAILS = "${trigger['missing']['deeper']}"
CONTEXT = {
    "trigger": {"payload": {"a": {"b": "c"}, "n": 12, "yes": True}},
    "parameters": {"size": "2"},
}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("plain", "plain"),
        ("${trigger['payload']['a']['b']}", "c"),
        ("${trigger.payload.a.b}", "c"),
        ("${ parameters['size'] }", "2"),
        ("${trigger['payload']['n']}", 12),
        ("<${trigger['payload']['n']}>", "<12>"),
        ("<${trigger['payload']['yes']}>", "<true>"),
        ("${trigger['payload']['missing']}", "${trigger['payload']['missing']}"),
        ("<${trigger['missing']}>", "<${trigger['missing']}>"),
        # One that fails leaves the whole text as it was.
        (f"{FAILS} ${{parameters.size}}", f"{FAILS} ${{parameters.size}}"),
        ("${unknown}", "${unknown}"),
        ("${T(java.lang.Runtime)}", "${T(java.lang.Runtime)}"),
        ("${trigger['payload'] != null}", True),
        ("${trigger['other'] == null}", True),
        ("${parameters['size'] == '2'}", True),
        ("${trigger.payload.n == 13}", False),
        ({"${parameters.size}": ["${parameters.size}"]}, {"2": ["2"]}),
    ],
)
def test_expressions(text: Any, rendered: Any) -> None:
    assert render(text, CONTEXT) == rendered


async def test_expressions_in_a_trigger_are_evaluated_too() -> None:
    """Expressions in a payload can read the rest of it."""
    async with Spinnaker() as spinnaker:
        payload = {"ref": "${trigger['payload']['token']}", "token": "secret"}
        execution = await ran(spinnaker, {"payload": payload})
    assert execution.trigger["payload"]["ref"] == "secret"


@pytest.mark.parametrize(
    ("config", "stage", "pipeline"),
    [
        ({}, "TERMINAL", "TERMINAL"),
        ({"failPipeline": False}, "STOPPED", "SUCCEEDED"),
        ({"failPipeline": False, "continuePipeline": True}, "FAILED_CONTINUE", "SUCCEEDED"),
    ],
)
async def test_what_a_failed_stage_does_to_its_pipeline(
    config: Json, stage: str, pipeline: str
) -> None:
    async with Spinnaker() as spinnaker:
        spinnaker.fail("Roll out", "no")
        second = {"type": "wait", "name": "Second"}
        execution = await ran(
            spinnaker, None, {"type": "deploy", "name": "Roll out"} | config, second
        )
    assert (execution.stage("Roll out").status, execution.status) == (stage, pipeline)
    continued = stage == "FAILED_CONTINUE"
    assert execution.stage("Second").status == ("SUCCEEDED" if continued else "NOT_STARTED")


@pytest.mark.parametrize(
    ("expression", "status"),
    [
        ("trigger['payload'] != null", "SKIPPED"),
        ("trigger['payload'] == null", "SUCCEEDED"),
        ("nonsense(", "SKIPPED"),
    ],
)
async def test_a_stage_may_depend_on_an_expression(expression: str, status: str) -> None:
    async with Spinnaker() as spinnaker:
        condition = {"type": "expression", "expression": expression}
        stage = {"type": "wait", "name": "Wait", "stageEnabled": condition}
        execution = await ran(spinnaker, None, stage)
    assert (execution.stages[0].status, execution.status) == (status, "SUCCEEDED")

"""The pieces of docs/how-to/http-tooling.md that are to be copied: they work as they are."""

import asyncio
import json
import re
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from werkzeug.serving import make_server

from handlers.contract import Deployment, ReportCredentials, Run, State
from handlers.endpoint import WAITING, EndpointOptions
from handlers.endpoint.protocol import signature, standard_document
from handlers.errors import Rejected
from handlers.http import Http
from tests.handlers.endpoints import an_endpoint
from tests.handlers.runs import a_deployment, eventually
from tests.handlers.tools import FakeTool
from webhook.config import load as config

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "http-tooling.md").read_text()
SECRET = "a long random word"


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
    return found


@pytest.fixture
async def relay() -> AsyncIterator[FakeTool]:
    """It accepts reports."""
    async with FakeTool() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with aiohttp.ClientSession() as session:
        yield Http(session)


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the page's receiver, which leaves a line for each command in `ran`."""
    command = tmp_path / "command"
    command.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/ran\ntest "$1" = production\n')
    command.chmod(0o755)
    (tmp_path / "keys").mkdir()
    for name, value in (("RELAY_SECRET", SECRET), ("KEYS", "keys"), ("COMMAND", "command")):
        monkeypatch.setenv(name, value if name == "RELAY_SECRET" else str(tmp_path / value))
    module: dict[str, Any] = {"__name__": "receiver"}
    exec(blocks("python")[0], module)
    server = make_server("127.0.0.1", 0, module["app"], threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/deploy"
    server.shutdown()
    thread.join()
    server.server_close()


def reporting_to(relay: FakeTool, **facts: Any) -> Deployment:
    report = ReportCredentials(f"{relay.url}/statuses", relay.url, "grt_token")
    return a_deployment(report=report, **facts)


def reports(relay: FakeTool) -> list[tuple[str, str]]:
    text = [json.loads(received.body) for received in relay.received]
    return [(report["state"], report["description"]) for report in text]


@pytest.mark.parametrize(
    ("environment", "end"),
    [("production", ("success", "exit code 0")), ("staging", ("failure", "exit code 1"))],
)
async def test_the_receiver_deploys_once_and_reports(
    receiver: str,
    relay: FakeTool,
    http: Http,
    tmp_path: Path,
    environment: str,
    end: tuple[str, str],
) -> None:
    deployment = reporting_to(relay, environment=environment)
    endpoint = an_endpoint(http, receiver, secret=SECRET)
    runs = await asyncio.gather(*(endpoint.start(deployment) for _ in range(3)))
    assert runs == [Run("1234567890", State.IN_PROGRESS, description=WAITING)] * 3
    await eventually(lambda: len(relay.received) == 2)
    assert reports(relay) == [("in_progress", ""), end]
    assert {received.headers["Authorization"] for received in relay.received} == {
        "Bearer grt_token"
    }
    assert (tmp_path / "ran").read_text() == f"{environment} {deployment.sha}\n"


async def test_the_receiver_reports_what_cannot_be_run(
    receiver: str, relay: FakeTool, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMAND", "/nonexistent")
    await an_endpoint(http, receiver, secret=SECRET).start(reporting_to(relay))
    await eventually(lambda: len(relay.received) == 2)
    assert reports(relay)[1][0] == "error"


@pytest.mark.slow
async def test_the_receiver_reports_again_when_the_relay_is_back(
    receiver: str, relay: FakeTool, http: Http
) -> None:
    relay.status = 503
    await an_endpoint(http, receiver, secret=SECRET).start(reporting_to(relay))
    await eventually(lambda: len(relay.received) == 1)
    relay.status = 201
    await eventually(lambda: len(relay.received) == 3)
    assert [state for state, _ in reports(relay)] == ["in_progress", "in_progress", "success"]


@pytest.mark.parametrize("secret", ["another", None])
async def test_the_receiver_rejects_a_wrong_credential(
    receiver: str, relay: FakeTool, http: Http, tmp_path: Path, secret: str | None
) -> None:
    with pytest.raises(Rejected, match="returned 401: the signature does not fit the body"):
        await an_endpoint(http, receiver, secret=secret).start(reporting_to(relay))
    assert list((tmp_path / "keys").iterdir()) == []


async def test_the_receiver_deploys_a_captured_request_no_second_time(
    receiver: str, relay: FakeTool, http: Http, tmp_path: Path
) -> None:
    deployment = reporting_to(relay)
    await an_endpoint(http, receiver, secret=SECRET).start(deployment)
    body = json.dumps(standard_document(deployment)).encode()
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": "42",
        "X-Hub-Signature-256": signature(SECRET, body),
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(receiver, data=body, headers=headers) as response,
    ):
        assert response.status == 202
    await eventually(lambda: len(relay.received) == 2)
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [str(deployment.id)]
    assert len((tmp_path / "ran").read_text().splitlines()) == 1


@pytest.mark.parametrize("facts", [{"environment": "--help"}, {"ref": "-x"}])
async def test_the_receiver_rejects_what_may_be_read_as_an_option(
    receiver: str, relay: FakeTool, http: Http, tmp_path: Path, facts: dict[str, str]
) -> None:
    with pytest.raises(Rejected, match="returned 422: an environment or ref that begins"):
        await an_endpoint(http, receiver, secret=SECRET).start(reporting_to(relay, **facts))
    assert list((tmp_path / "keys").iterdir()) == []


async def test_the_shells_report_arrives(relay: FakeTool) -> None:
    [script] = blocks("sh")
    environ = {"REPORT_URL": f"{relay.url}/statuses", "REPORT_TOKEN": "grt_token"}
    run = ["env", *(f"{name}={value}" for name, value in environ.items()), "sh", "-c", script]
    done = await asyncio.to_thread(subprocess.run, run, timeout=20)
    assert done.returncode == 0
    [received] = relay.received
    assert (received.method, received.target) == ("POST", "/statuses")
    assert received.headers["Authorization"] == "Bearer grt_token"
    assert json.loads(received.body)["state"] == "success"


def test_the_document_is_the_one_that_is_shown() -> None:
    [shown] = blocks("json")
    sent = standard_document(a_deployment(payload={"size": 3}))

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items()}
        return type(value)

    assert list(shape(json.loads(shown)).items()) == list(shape(sent).items())


@pytest.mark.parametrize("example", [block for block in blocks("yaml") if "envs:" in block])
def test_its_deploy_yml_loads(example: str) -> None:
    environ = {name: f"value of {name}" for name in re.findall(r"\$\{(\w+)\}", example)}
    options = {"endpoint": EndpointOptions}
    loaded = config.load(example, source="page", environ=environ, handler_options=options)
    assert loaded.envs[0].handler == "endpoint"


def test_every_key_is_in_its_table() -> None:
    for name in EndpointOptions.model_fields:
        assert re.search(rf"^\| `{name}(\.\w+)?` \|", PAGE, re.M), name

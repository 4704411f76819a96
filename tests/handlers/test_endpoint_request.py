"""What is sent to internal tooling, as the stand-in receives it."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from githubkit_schemas.latest import models

from handlers.contract import State
from handlers.endpoint import Endpoint
from handlers.endpoint.protocol import signature
from handlers.errors import Rejected
from handlers.http import Http
from sandbox.tooling import Mode, Tooling
from tests.handlers.endpoints import an_endpoint
from tests.handlers.runs import a_deployment
from tests.handlers.tools import FakeTool

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


async def test_the_standard_document_describes_the_whole_deployment(
    endpoint: Endpoint, tooling: Tooling
) -> None:
    at = datetime(2026, 11, 22, 10, 30, 7, 999, tzinfo=UTC)
    deployment = a_deployment(payload={"size": 3}, created_at=at, deadline=at.replace(hour=11))
    await endpoint.start(deployment)
    assert tooling.job(KEY).document == {
        "deployment": {
            "id": 1234567890,
            "environment": "production",
            "ref": "main",
            "sha": "f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
            "task": "deploy",
            "payload": {"size": 3},
            "creator": {"login": "octocat"},
            "created_at": "2026-11-22T10:30:07Z",
        },
        "repository": {
            "id": 777,
            "full_name": "acme/shop",
            "name": "shop",
            "owner": {"login": "acme"},
        },
        "deadline": "2026-11-22T11:30:07Z",
        "report": {
            "url": "https://relay.example/api/v3/repos/acme/shop/deployments/1234567890/statuses",
            "api": "https://relay.example/api/v3",
            "token": "grt_a-token-for-one-deployment",
        },
    }


async def test_its_names_are_githubs(endpoint: Endpoint, tooling: Tooling) -> None:
    await endpoint.start(a_deployment())
    document = tooling.job(KEY).document
    assert document["deployment"].keys() <= models.Deployment.model_fields.keys()
    assert document["repository"].keys() <= models.Repository.model_fields.keys()
    assert "login" in models.SimpleUser.model_fields


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        (None, None),
        ("", ""),
        ("text\nof lines \ud800", "text\nof lines \ud800"),
        ('{"size": 3}', {"size": 3}),
        ({"a": [1, None, "ü"]}, {"a": [1, None, "ü"]}),
    ],
)
async def test_any_payload_is_sent(
    endpoint: Endpoint, tooling: Tooling, payload: Any, sent: Any
) -> None:
    await endpoint.start(a_deployment(payload=payload))
    assert tooling.job(KEY).document["deployment"]["payload"] == sent


async def test_a_number_that_json_does_not_know_is_rejected(
    endpoint: Endpoint, tooling: Tooling
) -> None:
    with pytest.raises(Rejected, match="payload cannot be written as JSON"):
        await endpoint.start(a_deployment(payload={"size": json.loads("1e999")}))
    assert tooling.jobs == {}


async def test_the_headers_identify_the_request(endpoint: Endpoint, tooling: Tooling) -> None:
    await endpoint.start(a_deployment())
    headers = tooling.job(KEY).headers
    assert headers["Idempotency-Key"] == "1234567890"
    assert headers["X-Hub-Signature-256"].startswith("sha256=")
    assert headers["X-Gitploy-Event"] == "deployment"
    assert headers["Content-Type"] == headers["Accept"] == "application/json"
    assert headers["User-Agent"] == "gitploy-relay"


def test_the_signature_is_githubs() -> None:
    expected = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signature(SECRET, b"Hello, World!") == f"sha256={expected}"


async def test_without_a_secret_nothing_is_signed(http: Http, tooling: Tooling) -> None:
    tooling.secret = ""
    await an_endpoint(http, f"{tooling.url}/deploy").start(a_deployment())
    assert "X-Hub-Signature-256" not in tooling.job(KEY).headers


async def test_a_wrong_secret_is_reported_with_the_tools_message(
    http: Http, tooling: Tooling
) -> None:
    endpoint = an_endpoint(http, f"{tooling.url}/deploy", secret="another")
    with pytest.raises(Rejected, match="returned 401: the signature does not fit the body"):
        await endpoint.start(a_deployment())


async def test_address_headers_and_body_are_filled_in(http: Http, tooling: Tooling) -> None:
    tooling.mode = Mode.POLLED
    endpoint = an_endpoint(
        http,
        f"{tooling.url}/deploy/{{repo}}/a%20b?env={{environment}}&by={{creator}}&{{{{x}}}}=ü",
        method="PUT",
        secret=SECRET,
        headers={"Authorization": "Bearer t", "X-Ref": "{ref}", "User-Agent": "shop/{sha}"},
        body={
            "what": ["{sha}", {"size": "{payload.size}", "dry": False, "n": 1.5, "none": None}],
            "report": "{report_token}",
            "{ref}": "{{ref}}",
        },
    )
    environment = "a/b?c&d=e #é%2F"
    await endpoint.start(a_deployment(environment=environment, payload={"size": 3}))
    job = tooling.job(KEY)
    assert job.target == (
        "/deploy/acme%2Fshop/a%20b?env=a%2Fb%3Fc%26d%3De%20%23%C3%A9%252F&by=octocat&%7Bx%7D=%C3%BC"
    )
    assert [job.headers[name] for name in ("Authorization", "X-Ref", "User-Agent")] == [
        "Bearer t",
        "main",
        f"shop/{a_deployment().sha}",
    ]
    assert job.document == {
        "what": [a_deployment().sha, {"size": "3", "dry": False, "n": 1.5, "none": None}],
        "report": "grt_a-token-for-one-deployment",
        "{ref}": "{ref}",
    }


async def test_a_get_has_no_body(http: Http, tooling: Tooling) -> None:
    tooling.secret, tooling.mode = "", Mode.SYNCHRONOUS
    endpoint = an_endpoint(http, f"{tooling.url}/deploy?sha={{sha}}", method="GET")
    assert (await endpoint.start(a_deployment())).state is State.SUCCESS
    headers = tooling.job(KEY).headers
    assert headers["Idempotency-Key"] == "1234567890"
    assert not {"Content-Type", "Content-Length"} & headers.keys()


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-Region": "{payload.region}"}},
        {"body": {"region": ["{payload.region}"]}},
        {"query": "?region={payload.region}"},
    ],
)
async def test_a_missing_payload_key_is_rejected(
    http: Http, tooling: Tooling, options: dict[str, Any]
) -> None:
    url = f"{tooling.url}/deploy{options.pop('query', '')}"
    with pytest.raises(Rejected, match="payload has no 'region'"):
        await an_endpoint(http, url, secret=SECRET, **options).start(a_deployment())
    assert tooling.calls == []


async def test_a_line_break_cannot_get_into_a_header(http: Http, tooling: Tooling) -> None:
    endpoint = an_endpoint(http, tooling.url, headers={"X-Note": "{payload.note}"})
    with pytest.raises(Rejected, match="control character"):
        await endpoint.start(a_deployment(payload={"note": "a\r\nX-Admin: 1"}))


async def test_a_cancel_is_the_same_document_under_another_name(http: Http) -> None:
    async with FakeTool() as tool:
        cancel = {"url": f"{tool.url}/stop/{{repo}}/{{id}}", "method": "PUT"}
        endpoint = an_endpoint(http, f"{tool.url}/deploy", secret=SECRET, cancel=cancel)
        deployment = a_deployment()
        run = await endpoint.start(deployment)
        await endpoint.cancel(deployment, run)
        start, stop = tool.received
    assert (stop.method, stop.target) == ("PUT", "/stop/acme%2Fshop/1234567890")
    assert stop.body == start.body
    names = ("X-Gitploy-Event", "Idempotency-Key", "X-Hub-Signature-256")
    assert [stop.headers.get(name) for name in names] == [
        "cancel",
        None,
        signature(SECRET, start.body),
    ]

"""The status endpoint: what it rejects, with the documents that GitHub's clients know."""

from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from flask import Flask

from tests.status_api.reporting import Response, Tool, at_work, shared_world
from tests.world import World, until
from webhook.http import serve
from webhook.logs import Redactor
from webhook.security.signing import ReportTokens
from webhook.status_api import views
from webhook.store import database
from webhook.timing import DEFAULT_TIMING, Timing

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with shared_world(postgres, tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tool(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tool]:
    """One for all tests that change nothing."""
    async with at_work(world, tmp_path_factory.mktemp("tool") / "gate") as tool:
        yield tool


@pytest_asyncio.fixture(loop_scope="module")
async def own_tool(world: World, tmp_path: Path) -> AsyncIterator[Tool]:
    async with at_work(world, tmp_path / "gate") as tool:
        yield tool


def assert_rejected(response: Response, status: int, message: str) -> None:
    """A document as GitHub's."""
    assert (response.status, response.document["message"]) == (status, message)
    assert response.document["status"] == str(status)
    assert response.document["documentation_url"].startswith("https://docs.github.com/rest")
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"


async def report_state(tool: Tool, body: Any, path: str = "", **given: Any) -> Response:
    path = path or f"{tool.path}/statuses"
    return await tool.call("POST", path, body, **given)


def basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


async def test_each_way_in_which_clients_send_a_token_is_accepted(tool: Tool) -> None:
    token = tool.report.token
    ways = [f"token {token}", f"Bearer {token}", f"bearer {token}", f"TOKEN  {token}"]
    ways += [basic("x-access-token", token), basic(token, ""), basic(token, "x-oauth-basic")]
    for way in ways:
        response = await tool.call("GET", tool.path, Authorization=way)
        assert response.status == 200, way


async def test_without_a_token_the_response_reveals_nothing(tool: Tool) -> None:
    for path in ("", "/repos/acme/site", tool.path, f"{tool.path}/statuses"):
        response = await tool.call("GET", path or "/repos/no/such", Authorization="")
        assert_rejected(response, 401, "Requires authentication")
    assert_rejected(
        await report_state(tool, {"state": "success"}, Authorization=""),
        401,
        "Requires authentication",
    )


async def test_an_unknown_token_is_rejected(tool: Tool) -> None:
    token = tool.report.token
    for given in (
        "token ",
        "token",
        token,
        f"Digest {token}",
        f"token {token}x",
        "token ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "token grt_a=b",
        "Basic %%%",
        basic("x-access-token", "ghp_0123456789"),
        basic("", ""),
    ):
        assert_rejected(
            await tool.call("GET", tool.path, Authorization=given), 401, "Bad credentials"
        )


async def test_a_token_is_rejected_after_the_deadline(tool: Tool) -> None:
    settings = tool.world.setup.settings
    tokens = ReportTokens(settings.server_url, tool.world.setup.secret_keys)
    past = datetime.now(UTC) - timedelta(seconds=1)
    late = tokens.credentials("acme/site", tool.id, "slow", past).token
    assert_rejected(
        await report_state(tool, {"state": "success"}, token=late), 401, "Bad credentials"
    )
    assert tool.kept() == []


async def test_a_token_opens_no_other_deployment(tool: Tool, own_tool: Tool) -> None:
    token = own_tool.report.token
    for path in (tool.path, f"{tool.path}/statuses", f"{tool.path}/statuses/1"):
        assert_rejected(await tool.call("GET", path, token=token), 404, "Not Found")
    assert_rejected(await report_state(tool, {"state": "success"}, token=token), 404, "Not Found")
    assert tool.kept() == own_tool.kept() == []


async def test_a_token_opens_no_other_repository(tool: Tool) -> None:
    for path in ("/repos/acme/other", f"/repos/acme/other/deployments/{tool.id}"):
        assert_rejected(await tool.call("GET", path), 404, "Not Found")
    path = f"/repos/acme/other/statuses/{tool.deployment.sha}"
    assert_rejected(await report_state(tool, {"state": "success"}, path), 404, "Not Found")


@pytest.mark.parametrize("number", ["x", "0", "-1", "1.5", "9" * 40, "²"])
async def test_a_deployment_that_cannot_be_is_not_found(tool: Tool, number: str) -> None:
    response = await tool.call("GET", f"/repos/acme/site/deployments/{number}")
    assert_rejected(response, 404, "Not Found")
    response = await tool.call("GET", f"{tool.path}/statuses/{number}")
    assert_rejected(response, 404, "Not Found")


async def test_a_deployment_that_the_store_does_not_have_is_not_found(tool: Tool) -> None:
    setup = tool.world.setup
    later = datetime.now(UTC) + timedelta(hours=1)
    tokens = ReportTokens(setup.settings.server_url, setup.secret_keys)
    token = tokens.credentials("acme/site", 77, "slow", later).token
    response = await tool.call("GET", "/repos/acme/site/deployments/77", token=token)
    assert_rejected(response, 404, "Not Found")


async def test_a_token_is_good_for_its_environment_only(own_tool: Tool) -> None:
    update = "update deployments set environment = %s where id = %s"
    await own_tool.execute(update, "production", own_tool.id)
    assert_rejected(await own_tool.report_state("success"), 404, "Not Found")
    await own_tool.execute(update, "Slow", own_tool.id)
    assert (await own_tool.report_state("in_progress")).status == 201


async def test_the_token_ends_with_the_deployment(own_tool: Tool) -> None:
    await own_tool.report_state("failure", description="no")
    await own_tool.until_newest("failure", "no")
    expected = "This deployment has ended (failure); its token ended with it"
    assert_rejected(await own_tool.report_state("success"), 403, expected)
    assert_rejected(await report_state(own_tool, b"not JSON"), 403, expected)
    sha = own_tool.deployment.sha
    response = await report_state(
        own_tool, {"state": "success"}, f"/repos/acme/site/statuses/{sha}"
    )
    assert_rejected(response, 403, expected)
    for path in ("/repos/acme/site", own_tool.path, f"{own_tool.path}/statuses"):
        assert_rejected(await own_tool.call("GET", path), 403, expected)


async def test_the_token_ends_when_the_tools_run_does(own_tool: Tool) -> None:
    own_tool.gate.touch()
    await own_tool.world.github.wait_for(own_tool.id, "success")
    expected = "This deployment has ended (success); its token ended with it"
    assert_rejected(await own_tool.report_state("in_progress"), 403, expected)


async def test_the_token_ends_at_once_even_before_the_report_is_processed(
    own_tool: Tool,
) -> None:
    await own_tool.execute(
        "insert into timeline (deployment_id, actor, state, description, counted, judged)"
        " values (%s, 'command', 'success', '', false, false)",
        own_tool.id,
    )
    expected = "This deployment has ended; its token ended with it"
    assert_rejected(await own_tool.report_state("failure"), 403, expected)


STATES = "error, failure, inactive, in_progress, queued, pending, success"
INVALID: dict[str, tuple[dict[str, Any], str, str]] = {
    "no state": ({}, "state", "state is missing"),
    "null": ({"state": None}, "state", "state is missing"),
    "unknown": ({"state": "done"}, "state", f"state is not included in the list: {STATES}"),
    "upper case": ({"state": "SUCCESS"}, "state", f"state is not included in the list: {STATES}"),
    "a number": ({"state": 1}, "state", f"state is not included in the list: {STATES}"),
    "a list": ({"state": ["success"]}, "state", "state is not a string"),
    "text in an object": (
        {"state": "success", "description": {}},
        "description",
        "description is not a string",
    ),
    "no scheme": (
        {"state": "success", "environment_url": "site.example.com"},
        "environment_url",
        "environment_url must use http(s) scheme",
    ),
    "a script": (
        {"state": "success", "log_url": "javascript:alert(1)"},
        "log_url",
        "log_url must use http(s) scheme",
    ),
    "a break": (
        {"state": "success", "target_url": "https://a\nb"},
        "target_url",
        "target_url must use http(s) scheme",
    ),
    "a long address": (
        {"state": "success", "log_url": "https://a/" + "x" * 2048},
        "log_url",
        "log_url is too long (maximum is 2048 characters)",
    ),
}


@pytest.mark.parametrize("case", INVALID)
async def test_a_wrong_field_is_named_as_github_names_it(tool: Tool, case: str) -> None:
    body, field, expected = INVALID[case]
    response = await report_state(tool, body)
    assert_rejected(response, 422, "Validation Failed")
    [error] = response.document["errors"]
    assert (error["resource"], error["field"]) == ("DeploymentStatus", field)
    assert error["message"] == expected
    assert error["code"] == ("missing_field" if "missing" in expected else "custom")
    assert response.document["documentation_url"].endswith("#create-a-deployment-status")
    assert tool.kept() == []


@pytest.mark.parametrize("state", ["in_progress", "inactive", "queued", "running"])
async def test_a_commit_status_has_fewer_states(tool: Tool, state: str) -> None:
    path = f"/repos/acme/site/statuses/{tool.deployment.sha}"
    response = await report_state(tool, {"state": state}, path)
    assert_rejected(response, 422, "Validation Failed")
    assert response.document["errors"][0]["resource"] == "Status"
    assert response.document["documentation_url"].endswith("#create-a-commit-status")


@pytest.mark.parametrize("sha", ["0" * 40, "main", "x" * 500])
async def test_the_status_of_another_commit_is_rejected(tool: Tool, sha: str) -> None:
    response = await report_state(tool, {"state": "success"}, f"/repos/acme/site/statuses/{sha}")
    assert_rejected(response, 422, f"No commit found for SHA: {sha}")
    assert tool.kept() == []


@pytest.mark.parametrize(
    "body",
    [b"", b"state=success", b'{"state": "success"', b"\xff\xfe", b'{"state": NaN}', b"[" * 20_000],
)
async def test_a_body_that_is_not_json_is_rejected(tool: Tool, body: bytes) -> None:
    assert_rejected(await report_state(tool, body), 400, "Problems parsing JSON")
    assert tool.kept() == []


@pytest.mark.parametrize("body", [b"[]", b"null", b'"success"', b"1"])
async def test_a_body_that_is_not_an_object_is_rejected(tool: Tool, body: bytes) -> None:
    assert_rejected(await report_state(tool, body), 400, "Body should be a JSON object")


async def test_a_body_of_64_kib_is_accepted_and_a_larger_one_is_not(own_tool: Tool) -> None:
    frame = b'{"state": "in_progress", "log": ""}'
    largest = frame[:-2] + b"x" * (64 * 1024 - len(frame)) + frame[-2:]
    assert (await report_state(own_tool, largest)).status == 201
    assert_rejected(
        await report_state(own_tool, largest + b" "), 413, "The body is larger than 64 KiB"
    )


async def test_a_large_body_without_a_length_is_rejected_too(tool: Tool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b" " * 1024

    assert_rejected(await report_state(tool, pieces()), 413, "The body is larger than 64 KiB")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/user"),
        ("GET", "/repos/acme"),
        ("POST", "/repos/acme/site/deployments"),
        ("PATCH", "/repos/acme/site"),
        ("GET", "/repos/acme/site/contents/README.md"),
        ("GET", "/repos/acme/site/statuses/main"),
        ("DELETE", "{deployment}"),
        ("PUT", "{deployment}/statuses"),
        ("POST", "{deployment}"),
    ],
)
async def test_the_rest_of_githubs_api_is_not_there(tool: Tool, method: str, path: str) -> None:
    path = path.format(deployment=tool.path)
    assert_rejected(await tool.call(method, path), 404, "Not Found")
    if path.startswith("/repos/"):
        assert_rejected(await tool.call(method, path, base=tool.world.url), 404, "Not Found")


async def test_other_addresses_still_get_the_page_for_people(tool: Tool) -> None:
    response = await tool.call("GET", "/nothing", base=tool.world.url)
    assert response.status == 404
    assert "There is nothing at this address" in response.document


async def test_the_response_to_head_has_no_body(tool: Tool) -> None:
    response = await tool.call("HEAD", tool.path)
    assert response.status == 200
    assert int(response.headers["Content-Length"]) > 0


async def test_a_tool_in_a_loop_cannot_fill_the_store_and_can_still_end(own_tool: Tool) -> None:
    await own_tool.execute(
        "insert into timeline (deployment_id, actor, state, description, counted)"
        " select %s, 'command', 'in_progress', 'again', false from generate_series(1, 998)",
        own_tool.id,
    )
    response = await own_tool.report_state("in_progress")
    assert_rejected(response, 422, "Validation Failed")
    expected = "This deployment has reached the maximum number of statuses."
    assert response.document["errors"][0]["message"] == expected
    assert (await own_tool.report_state("inactive")).status == 422
    assert (await own_tool.report_state("success", description="at last")).status == 201
    await own_tool.until_newest("success", "at last")


async def test_without_a_store_the_response_is_503_with_retry_after() -> None:
    app = Flask(__name__)
    gone = "postgresql:///nothing?host=/nowhere"
    impatient = Timing(connection_within=timedelta(milliseconds=100))
    with database.sync_pool(gone, 1, impatient) as pool:
        serve(app, views.blueprint(pool, "http://relay", ["a key"], Redactor(())), views.ERRORS)
        later = datetime.now(UTC) + timedelta(hours=1)
        report = ReportTokens("http://relay", ["a key"]).credentials("acme/site", 7, "slow", later)
        headers = {"Authorization": f"token {report.token}"}
        response = app.test_client().post(report.url, json={"state": "success"}, headers=headers)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    document = response.get_json()
    assert document["message"] == "The relay's store does not respond; try again in a minute"
    assert document["status"] == "503"


async def test_a_row_that_somebody_holds_is_not_waited_for_for_ever(own_tool: Tool) -> None:
    assert DEFAULT_TIMING.lock_within == timedelta(seconds=3)
    impatient = Timing(lock_within=timedelta(milliseconds=200))
    headers = {"Authorization": f"token {own_tool.report.token}"}
    setup, app = own_tool.world.setup, Flask(__name__)
    async with await own_tool.connect() as connection:
        await connection.execute("select from deployments where id = %s for update", [own_tool.id])
        with database.sync_pool(own_tool.world.store_url, 1, impatient) as pool:
            url, keys = setup.settings.server_url, setup.secret_keys
            serve(app, views.blueprint(pool, url, keys, Redactor(setup.secrets)), views.ERRORS)
            browser, url = app.test_client(), own_tool.report.url
            assert browser.get(url, headers=headers).status_code == 200
            response = browser.post(url, json={"state": "success"}, headers=headers)
            assert response.status_code == 503
    assert own_tool.kept() == []
    assert (await own_tool.report_state("success", description="now")).status == 201
    await until(lambda: "success" in own_tool.world.github.states(own_tool.id) or None)

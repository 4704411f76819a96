"""The stand-in for Woodpecker CI, as a client uses it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from sandbox.faults import Fault
from sandbox.woodpecker import Repo, Woodpecker
from tests.handlers.runs import eventually

SHA = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"
DEPLOY = {"event": "deployment", "deploy_to": "production"}
Send = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
async def woodpecker() -> AsyncIterator[Woodpecker]:
    async with Woodpecker() as server:
        yield server


@pytest.fixture
def repo(woodpecker: Woodpecker) -> Repo:
    repo = woodpecker.add_repo("acme/shop")
    repo.add(SHA)
    return repo


@pytest.fixture
def send(woodpecker: Woodpecker, session: aiohttp.ClientSession) -> Send:
    """The status and what came with it: JSON, or else text."""

    async def request(
        method: str, path: str, token: str = woodpecker.token, **query: str
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{woodpecker.url}/api/repos/{path}"
        async with session.request(method, url, params=query, headers=headers) as response:
            as_json = response.content_type == "application/json"
            return response.status, await (response.json() if as_json else response.text())

    return request


async def test_a_repository_is_found_by_its_name(repo: Repo, send: Send) -> None:
    status, found = await send("GET", "lookup/acme/shop")
    assert (status, found["id"]) == (200, repo.id)
    assert (await send("GET", f"{found['id']}")) == (status, found)


async def test_a_restart_as_a_deployment_is_a_new_pipeline(repo: Repo, send: Send) -> None:
    status, new = await send("POST", "1/pipelines/1", **DEPLOY, deploy_task="t", REGION="eu")
    assert (status, new["number"], new["parent"], new["rerun_count"]) == (200, 2, 1, 1)
    assert (new["event"], new["status"], new["commit"]) == ("deployment", "pending", SHA)
    assert (new["deploy_to"], new["deploy_task"]) == ("production", "t")
    assert [workflow["name"] for workflow in new["workflows"]] == ["deploy"]
    assert await send("GET", "1/pipelines/2") == (200, new)
    assert repo.pipelines[0].status == "success"


async def test_variables_reach_the_steps_and_no_document(repo: Repo, send: Send) -> None:
    _, new = await send("POST", "1/pipelines/1", **DEPLOY, REGION="eu", fork="true")
    assert repo.pipelines[1].variables == {"REGION": "eu"}
    assert "eu" not in str(new)


async def test_a_restart_without_an_event_copies_its_pipeline(repo: Repo, send: Send) -> None:
    await send("POST", "1/pipelines/1", **DEPLOY, deploy_task="t")
    _, copy = await send("POST", "1/pipelines/2", deploy_to="staging")
    assert (copy["event"], copy["parent"]) == ("deployment", 2)
    assert (copy["deploy_to"], copy["deploy_task"]) == ("production", "t")


async def test_a_list_is_newest_first_and_has_no_workflows(repo: Repo, send: Send) -> None:
    repo.add(SHA, event="tag")
    _, listed = await send("GET", "1/pipelines")
    assert [pipeline["number"] for pipeline in listed] == [2, 1]
    assert "workflows" not in listed[0]


async def test_a_list_has_50_on_a_page(repo: Repo, send: Send) -> None:
    for _ in range(69):
        repo.add(SHA)
    sizes = [len((await send("GET", "1/pipelines", page=page))[1]) for page in ("", "1", "2", "3")]
    assert sizes == [50, 50, 20, 0]


async def test_a_list_is_narrowed_by_event_status_and_time(repo: Repo, send: Send) -> None:
    repo.add(SHA, event="tag", status="failure")
    repo.add(SHA, event="cron", created=time.time() + 3600)

    async def numbers(**query: str) -> list[int]:
        return [pipeline["number"] for pipeline in (await send("GET", "1/pipelines", **query))[1]]

    assert await numbers(event="push,tag") == [2, 1]
    assert await numbers(event="push,tag", status="success") == [1]
    assert await numbers(after="2020-01-01T00:00:00Z", status="failure") == [2]
    later = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 60))
    assert await numbers(after=later) == [3]


@pytest.mark.parametrize(
    "query",
    [{"event": "push,deploy"}, {"status": "ok"}, {"after": "today"}, {"after": "2026-01-01T00:00"}],
)
async def test_an_invalid_filter_is_rejected(repo: Repo, send: Send, query: dict[str, str]) -> None:
    assert await send("GET", "1/pipelines", **query) == (400, "")


@pytest.mark.parametrize(
    ("facts", "token", "read", "write"),
    [
        ({}, "wrong", 401, 401),
        ({}, "", 401, 401),
        ({"public": True}, "wrong", 200, 401),
        ({"push": False}, "woodpecker-token", 200, 404),
        ({"pull": False, "push": False}, "woodpecker-token", 404, 404),
    ],
)
async def test_a_user_without_permission_gets_a_404(
    repo: Repo, send: Send, facts: dict[str, bool], token: str, read: int, write: int
) -> None:
    for name, value in facts.items():
        setattr(repo, name, value)
    for path in ("lookup/acme/shop", "1", "1/pipelines", "1/pipelines/1"):
        assert (await send("GET", path, token))[0] == read
    assert await send("POST", "1/pipelines/1", token) == (write, "")
    assert await send("POST", "1/pipelines/1/cancel", token) == (write, "")


async def test_what_is_not_possible_is_rejected(repo: Repo, send: Send) -> None:
    assert await send("GET", "lookup/acme/else") == (404, "")
    assert await send("GET", "1/pipelines/9") == (404, "")
    assert await send("GET", "1/pipelines/last") == (400, "")
    assert await send("POST", "1/pipelines/1", event="push") == (400, "")
    repo.allow_deploy = False
    assert await send("POST", "1/pipelines/1", **DEPLOY) == (403, "")
    repo.pipelines[0].status = "blocked"
    text = "cannot restart a pipeline with status blocked"
    assert await send("POST", "1/pipelines/1") == (400, text)
    assert len(repo.pipelines) == 1


async def test_a_broken_configuration_is_a_500_and_a_pipeline(repo: Repo, send: Send) -> None:
    repo.pipelines[0].config = "broken"
    assert await send("POST", "1/pipelines/1", **DEPLOY) == (500, "")
    assert repo.deployments[0].status == "error"
    repo.pipelines[0].config = "missing"
    status, new = await send("POST", "1/pipelines/1", **DEPLOY)
    assert (status, new["status"]) == (200, "error")


@pytest.mark.parametrize(
    ("status", "then"), [("pending", "canceled"), ("running", "killed"), ("blocked", "killed")]
)
async def test_a_cancelled_pipeline_has_ended(
    repo: Repo, send: Send, status: str, then: str
) -> None:
    repo.pipelines[0].status = status
    assert await send("POST", "1/pipelines/1/cancel") == (204, "")
    assert repo.pipelines[0].status == then
    text = "Cannot cancel a non-running or non-pending or non-blocked pipeline"
    assert await send("POST", "1/pipelines/1/cancel") == (400, text)


@pytest.mark.parametrize("outcome", ["success", "failure"])
async def test_a_deployment_with_takes_runs_by_itself(
    woodpecker: Woodpecker, repo: Repo, send: Send, outcome: str
) -> None:
    woodpecker.takes, woodpecker.outcome = 60, outcome
    _, new = await send("POST", "1/pipelines/1", **DEPLOY)
    seen = [new["status"]]
    for _ in range(2):
        repo.deployments[0].created -= 60
        _, new = await send("GET", "1/pipelines/2")
        seen.append(new["status"])
    assert seen == ["pending", "running", outcome]


async def test_a_deployment_without_a_workflow_stays_pending(
    woodpecker: Woodpecker, repo: Repo, send: Send
) -> None:
    woodpecker.takes, repo.deploys = 0, ()
    await send("POST", "1/pipelines/1", **DEPLOY)
    _, shown = await send("GET", "1/pipelines/2")
    assert shown["status"] == "pending"
    assert "workflows" not in shown


async def test_any_other_address_is_the_web_page(
    woodpecker: Woodpecker, session: aiohttp.ClientSession
) -> None:
    async with session.post(f"{woodpecker.url}/ci/api/repos/1") as response:
        assert (response.status, response.content_type) == (200, "text/html")


async def test_faults_can_be_injected(woodpecker: Woodpecker, repo: Repo, send: Send) -> None:
    woodpecker.faults.add("POST /repos/*/pipelines/*", Fault.drop_after())
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await send("POST", "1/pipelines/1", **DEPLOY)
    await eventually(lambda: repo.deployments)

"""The status endpoint, through clients that were written for GitHub: some as they are, of others
what they send, byte for byte as far as it matters."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import github
import pytest
import pytest_asyncio
from gidgethub import BadRequest, InvalidField, ValidationError
from gidgethub.aiohttp import GitHubAPI

from tests.status_api.reporting import CLIENTS, Response, Tool, at_work, octokit, shared_world
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with shared_world(postgres, tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def tool(world: World, tmp_path: Path) -> AsyncIterator[Tool]:
    async with at_work(world, tmp_path / "gate") as tool:
        yield tool


def pygithub(tool: Tool, token: str) -> github.Github:
    return github.Github(
        auth=github.Auth.Token(token),
        base_url=tool.report.api,
        seconds_between_requests=0,
        seconds_between_writes=0,
    )


async def test_pygithub(tool: Tool) -> None:
    """Source: PyGithub, `github.Repository` and `github.Deployment`."""

    def report() -> None:
        client = pygithub(tool, tool.report.token)
        repository = client.get_repo("acme/site")
        [deployment] = repository.get_deployments(environment="slow")
        assert deployment.id == tool.id
        deployment = repository.get_deployment(tool.id)
        assert (deployment.sha, deployment.creator.login) == (tool.deployment.sha, "octocat")
        with pytest.raises(github.GithubException, match="state is not included") as wrong:
            deployment.create_status("done")
        assert wrong.value.status == 422
        status = deployment.create_status("in_progress", description="PyGithub is at it")
        assert deployment.get_status(status.id).description == "PyGithub is at it"
        assert [one.state for one in deployment.get_statuses()][-1] == "queued"
        deployment.create_status(
            "success", description="PyGithub is done", environment_url="https://site.example.com"
        )
        with pytest.raises(github.GithubException, match="its token ended") as ended:
            deployment.create_status("success")
        assert ended.value.status == 403
        with pytest.raises(github.BadCredentialsException):
            pygithub(tool, "x").get_repo("acme/site")
        client.close()

    await asyncio.to_thread(report)
    written = await tool.until_newest("success", "PyGithub is done")
    assert written[-2] == ("in_progress", "PyGithub is at it")


async def test_gidgethub(tool: Tool) -> None:
    """Source: gidgethub, `gidgethub.aiohttp.GitHubAPI`."""
    async with aiohttp.ClientSession() as session:
        client = GitHubAPI(
            session, "a tool", oauth_token=tool.report.token, base_url=tool.report.api
        )
        statuses = f"{tool.path}/statuses"
        with pytest.raises(ValidationError, match="state is not included"):
            await client.post(statuses, data={"state": "done"})
        with pytest.raises(InvalidField, match="'state'"):
            await client.post(statuses, data={})
        begun = await client.post(statuses, data={"state": "in_progress", "description": "begun"})
        assert begun["creator"]["login"] == "command[bot]"
        every = client.getiter(f"{statuses}?per_page=1")
        assert [one["state"] async for one in every] == ["in_progress", "in_progress", "queued"]
        assert (await client.getitem(begun["deployment_url"]))["id"] == tool.id
        await client.post(statuses, data={"state": "failure", "description": "no"})
        with pytest.raises(BadRequest, match="its token ended with it"):
            await client.getitem(statuses)
    await tool.until_newest("failure", "no")


@pytest.mark.slow
async def test_octokit(tool: Tool) -> None:
    """Source: octokit.js, as npm installs it from `tests/clients/package-lock.json`."""
    results = await _run_octokit(tool)
    assert results == {
        "listed": [tool.id],
        "begun": [201, "in_progress", "command[bot]"],
        "statuses": ["octokit is at it", "Running (command)", "Accepted (next: command)"],
        "ended": [201, "https://site.example.com"],
        "refused": [403, results["refused"][1]],
    }
    assert "its token ended with it" in results["refused"][1]
    written = await tool.until_newest("success", "octokit is done")
    assert written[-2] == ("in_progress", "octokit is at it")


async def _run_octokit(tool: Tool) -> Any:
    process = await asyncio.create_subprocess_exec(
        octokit(),
        str(CLIENTS / "octokit.mjs"),
        env={
            "API": tool.report.api,
            "TOKEN": tool.report.token,
            "ID": str(tool.id),
            "ENVIRONMENT": "slow",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(printed)


async def test_chrnorm_deployment_status(tool: Tool) -> None:
    """Source: github.com/chrnorm/deployment-status v2, `src/main.ts`: octokit 3, one POST; what is
    not set in the workflow is left out or empty."""

    async def send(state: str, **fields: Any) -> Response:
        body = {"auto_inactive": True, "state": state, "environment_url": "", **fields}
        return await tool.call(
            "POST",
            f"{tool.path}/statuses",
            {"log_url": "https://github.com/acme/site/commit/abc/checks", **body},
            Accept="application/vnd.github.v3+json",
            User_Agent="octokit-core.js/3.6.0 Node.js/20.20.2 (linux; x64)",
            Content_Type="application/json; charset=utf-8",
        )

    assert (await send("in_progress", description="")).status == 201
    response = await send("done", description="")
    assert response.document["errors"][0]["field"] == "state"
    url = "https://site.example.com"
    results = await send("success", description="up", environment="slow", environment_url=url)
    assert results.status == 201
    assert isinstance(results.document["id"], int)
    await tool.until_newest("success", "up")
    assert tool.world.github.statuses(tool.id)[-1].environment_url == url
    assert tool.kept()[0]["log_url"] == "https://github.com/acme/site/commit/abc/checks"


async def bobheadxi(tool: Tool, method: str, path: str, body: Any = None) -> Any:
    """Source: github.com/bobheadxi/deployments v1.5, `src/lib` and `src/steps`: octokit 3 with two
    previews."""
    previews = "application/vnd.github.ant-man-preview+json"
    response = await tool.call(
        method,
        path,
        body,
        Accept=f"{previews},application/vnd.github.flash-preview+json",
        User_Agent="octokit-core.js/3.6.0 Node.js/20.20.2 (linux; x64)",
        Content_Type="application/json; charset=utf-8" if body else "",
    )
    assert response.status in (200, 201), response.document
    return response.document


async def bobheadxi_deactivates(tool: Tool) -> None:
    """All deployments of the environment, the one under way too, before each `finish`."""
    listed = await bobheadxi(
        tool, "GET", "/repos/acme/site/deployments?environment=slow&per_page=100"
    )
    for deployment in listed:
        statuses = f"/repos/acme/site/deployments/{deployment['id']}/statuses"
        newest = await bobheadxi(tool, "GET", f"{statuses}?per_page=1")
        if len(newest) == 1 and newest[0]["state"] == "inactive":
            continue
        response = await bobheadxi(tool, "POST", statuses, {"state": "inactive"})
        assert response["url"]
        assert response["state"] == "inactive"
    assert [deployment["id"] for deployment in listed] == [tool.id]


LOG_URL = "https://github.com/acme/site/commit/abc/checks"


async def test_bobheadxi_deployments(tool: Tool) -> None:
    """`start` with a deployment_id, then `finish`, which has `override` on by itself."""
    statuses = f"{tool.path}/statuses"
    start = {"state": "in_progress", "log_url": LOG_URL, "ref": "refs/heads/main"}
    assert (await bobheadxi(tool, "POST", statuses, start))["id"]
    await bobheadxi_deactivates(tool)
    finish = {
        "state": "success",
        "description": "deployed by bobheadxi/deployments",
        "ref": "refs/heads/main",
        "environment_url": "https://site.example.com",
        "log_url": LOG_URL,
        "auto_inactive": True,
    }
    assert (await bobheadxi(tool, "POST", statuses, finish))["id"]
    written = await tool.until_newest("success", "deployed by bobheadxi/deployments")
    assert "inactive" not in [state for state, _ in written]
    assert tool.world.github.statuses(tool.id)[-1].environment_url == "https://site.example.com"


async def test_bobheadxi_deployments_after_a_cancelled_job(tool: Tool) -> None:
    """`finish` sends `inactive` twice then, the second time with more fields."""
    await bobheadxi_deactivates(tool)
    finish = {
        "state": "inactive",
        "ref": "refs/heads/main",
        "environment_url": "",
        "log_url": LOG_URL,
        "auto_inactive": True,
    }
    await bobheadxi(tool, "POST", f"{tool.path}/statuses", finish)
    await tool.world.github.wait_for(tool.id, "inactive")
    assert (await tool.report_state("success")).status == 403


@pytest.mark.parametrize("endpoint", ["/api/v3", "/api/v3/", ""])
async def test_drone_status(tool: Tool, endpoint: str) -> None:
    """Source: github.com/cedrichopf/drone-status, `github/github.py` and `main.py`: requests, one
    POST of a commit status; settings that are not set are null. It ignores the response."""

    async def send(state: str | None, description: str | None) -> Response:
        return await tool.call(
            "POST",
            f"/repos/acme/site/statuses/{tool.deployment.sha}",
            {
                "state": state,
                "target_url": "https://drone.example.com/acme/site/7",
                "description": description,
                "context": None,
            },
            base=tool.world.url + endpoint,
            Accept="*/*",
            User_Agent="python-requests/2.25.1",
        )

    assert (await send("pending", None)).status == 201
    assert (await send(None, None)).status == 422
    assert (await send("success", "deployed by Drone")).status == 201
    await tool.until_newest("success", "deployed by Drone")
    assert tool.kept()[-1]["log_url"] == "https://drone.example.com/acme/site/7"


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
async def test_curl(tool: Tool, content_type: str) -> None:
    """`curl -d` sends everything as a form unless a header is given."""

    async def send(body: bytes) -> Response:
        bearer = f"Bearer {tool.report.token}"
        headers = {"Content_Type": content_type, "Accept": "*/*", "User_Agent": "curl/8.5.0"}
        path = tool.report.url.removeprefix(tool.report.api)
        return await tool.call("POST", path, body, Authorization=bearer, **headers)

    assert (await send(b'{"state": "in_progress", "description": "by curl"}')).status == 201
    assert (await send(b'{"state": "failure", "description": "no"}')).status == 201
    await tool.until_newest("failure", "no")


async def test_a_webhook_stage_of_spinnaker(tool: Tool) -> None:
    """Source: spinnaker.io, "Custom webhook stages": the operator writes method, headers and
    payload; what comes from the pipeline arrives as strings."""
    headers = {"Authorization": f"token {tool.report.token}", "Accept": "application/json, */*"}
    payload = {"state": "success", "description": "7", "auto_inactive": "false", "id": str(tool.id)}
    response = await tool.call("POST", f"{tool.path}/statuses", payload, **headers)
    assert response.status == 201
    await tool.until_newest("success", "7")

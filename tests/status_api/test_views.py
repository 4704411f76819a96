"""The status endpoint: what a tool reports reaches GitHub and Slack; its responses."""

import asyncio
import json
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox.slack.screen import render
from tests.status_api.reporting import Tool, at_work, shared_world
from tests.world import World, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with shared_world(postgres, tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def tool(world: World, tmp_path: Path) -> AsyncIterator[Tool]:
    async with at_work(world, tmp_path / "gate") as tool:
        yield tool


def shaped(name: str, document: Any) -> None:
    """As GitHub's own description has it."""
    models = import_module("githubkit_schemas.latest.models")
    getattr(models, name).model_validate(document)


async def test_what_a_tool_reports_becomes_the_deployments_on_github_and_in_slack(
    tool: Tool,
) -> None:
    assert (await tool.report_state("in_progress", description="2 of 5 done")).status == 201
    await tool.until_newest("in_progress", "2 of 5 done")
    response = await tool.report_state(
        "success", description="5 of 5 done", environment_url="https://site.example.com"
    )
    assert response.status == 201
    written = await tool.until_newest("success", "5 of 5 done")
    assert written[-2] == ("in_progress", "2 of 5 done")
    last = tool.world.github.statuses(tool.id)[-1]
    assert last.environment_url == "https://site.example.com"
    assert last.by_app
    tool.gate.touch()
    await tool.world.idle()
    message = render(tool.world.messages()[-1])
    assert "acme/site to slow succeeded" in message
    assert tool.world.github.states(tool.id)[-1] == "success"


async def test_a_failure_is_reported_with_the_tools_description(tool: Tool) -> None:
    await tool.report_state("failure", description="the smoke test failed")
    await tool.until_newest("failure", "the smoke test failed")
    tool.gate.touch()
    await tool.world.idle()
    assert "the smoke test failed" in render(tool.world.messages()[-1])


async def test_a_command_reports_with_its_environment_variables(world: World) -> None:
    deployment = await world.deployed("by-itself")
    written = [(s.state, s.description) for s in world.github.statuses(deployment.id)]
    assert written[-2:] == [
        ("in_progress", "in_progress, it says"),
        ("success", "success, it says"),
    ]
    assert world.github.statuses(deployment.id)[-1].environment_url == "https://it"
    query = "select chunk from output where deployment_id = %s order by at_byte"
    printed = b"".join(row["chunk"] for row in world.rows(query, deployment.id))
    assert printed == b"201\n201\nmy token is ***\n"


async def test_reports_reach_github_in_their_order(tool: Tool) -> None:
    for n in range(10):
        await tool.report_state("in_progress", description=f"{n} of 10")
    await tool.report_state("error", description="no more")
    written = await tool.until_newest("error", "no more")
    assert [reported for _, reported in written[-11:]] == [
        *(f"{n} of 10" for n in range(10)),
        "no more",
    ]


async def test_of_several_ends_at_once_one_counts(tool: Tool) -> None:
    held = "select from deployments where id = %s for update"
    waiting = "select 1 from pg_locks where not granted and locktype in ('transactionid', 'tuple')"
    async with await tool.connect() as connection:
        await connection.execute(held, [tool.id])
        ends = [
            asyncio.create_task(tool.report_state(state, description=state))
            for state in ("success", "failure", "error")
        ]
        await until(lambda: len(tool.world.rows(waiting)) >= len(ends) or None)
    responses = await asyncio.gather(*ends)
    assert sorted(response.status for response in responses) == [201, 403, 403]
    [accepted] = [response.document["state"] for response in responses if response.status == 201]
    written = await tool.until_newest(accepted, accepted)
    assert [state for state, _ in written] == ["queued", "in_progress", accepted]


async def test_the_response_to_a_status_is_githubs_document(tool: Tool) -> None:
    response = await tool.report_state(
        "in_progress", description="half way", log_url="https://ci/7"
    )
    status = response.document
    shaped("DeploymentStatus", status)
    here = f"{tool.world.url}/api/v3{tool.path}"
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Location"] == status["url"] == f"{here}/statuses/{status['id']}"
    assert status["deployment_url"] == here
    assert status["repository_url"] == f"{tool.world.url}/api/v3/repos/acme/site"
    assert (status["state"], status["description"]) == ("in_progress", "half way")
    assert status["log_url"] == status["target_url"] == "https://ci/7"
    assert status["environment"] == "slow"
    assert (status["creator"]["login"], status["creator"]["type"]) == ("command[bot]", "Bot")
    assert (await tool.call("GET", f"{tool.path}/statuses/{status['id']}")).document == status


async def test_the_deployment_and_its_repository_can_be_read(tool: Tool) -> None:
    deployment = (await tool.call("GET", tool.path)).document
    shaped("Deployment", deployment)
    assert (deployment["id"], deployment["environment"]) == (tool.id, "slow")
    assert (deployment["sha"], deployment["ref"]) == (tool.deployment.sha, "main")
    assert deployment["creator"]["login"] == "octocat"
    assert deployment["payload"] == {"gate": str(tool.gate)}
    repository = (await tool.call("GET", "/repos/acme/site")).document
    assert repository["full_name"] == "acme/site"
    assert repository["url"] == deployment["repository_url"]
    shaped("SimpleUser", repository["owner"])
    shaped("FullRepository", repository)


async def test_only_the_deployment_of_the_token_is_listed(tool: Tool, tmp_path: Path) -> None:
    async with at_work(tool.world, tmp_path / "other"):
        listed = await tool.call("GET", "/repos/acme/site/deployments")
    assert [deployment["id"] for deployment in listed.document] == [tool.id]


async def test_the_list_of_deployments_can_be_filtered_as_githubs(tool: Tool) -> None:
    sha = tool.deployment.sha
    for query in ("environment=SLOW", f"sha={sha}&ref=main&task=deploy", "ref=none", "per_page=1"):
        assert len((await tool.call("GET", f"/repos/acme/site/deployments?{query}")).document) == 1
    for query in ("environment=production", "sha=0", "ref=v1", "task=migrate", "page=2"):
        assert (await tool.call("GET", f"/repos/acme/site/deployments?{query}")).document == []


async def test_statuses_are_listed_in_pages_the_newest_first(tool: Tool) -> None:
    await tool.report_state("in_progress", description="half way")
    every = (await tool.call("GET", f"{tool.path}/statuses")).document
    assert [status["state"] for status in every] == ["in_progress", "in_progress", "queued"]
    assert every[0]["description"] == "half way"
    assert [status["creator"]["login"] for status in every[:2]] == ["command[bot]", "relay[bot]"]
    for status in every:
        shaped("DeploymentStatus", status)
    first = await tool.call("GET", f"{tool.path}/statuses?per_page=2")
    assert first.document == every[:2]
    links = f"{tool.world.url}/api/v3{tool.path}/statuses?per_page=2&page=2"
    assert first.headers["Link"] == f'<{links}>; rel="next", <{links}>; rel="last"'
    second = await tool.call("GET", f"{tool.path}/statuses?per_page=2&page=2")
    assert second.document == every[2:]
    assert 'rel="prev"' in second.headers["Link"]


async def test_invalid_page_numbers_are_ignored(tool: Tool) -> None:
    for query in ("per_page=0", "per_page=x", "page=-1", "page=²", f"page={'9' * 400}"):
        response = await tool.call("GET", f"{tool.path}/statuses?{query}")
        assert len(response.document) == 2


async def test_what_somebody_else_wrote_on_github_is_listed_too(tool: Tool) -> None:
    await tool.world.github.create_status(tool.id, "in_progress", description="by hand")
    query = "select 1 from timeline where deployment_id = %s and actor = 'octocat'"
    await until(lambda: tool.world.rows(query, tool.id) or None)
    newest = (await tool.call("GET", f"{tool.path}/statuses")).document[0]
    shaped("DeploymentStatus", newest)
    assert (newest["description"], newest["creator"]["login"]) == ("by hand", "octocat")


async def test_a_commit_status_is_a_report_too(tool: Tool) -> None:
    path = f"/repos/acme/site/statuses/{tool.deployment.sha}"
    body = {"state": "pending", "target_url": "https://ci/7", "description": "on", "context": "ci"}
    response = await tool.call("POST", path, body)
    assert response.status == 201
    shaped("Status", response.document)
    assert response.document["state"] == "pending"
    assert response.document["context"] == "ci"
    assert response.document["target_url"] == "https://ci/7"
    await tool.until_newest("in_progress", "on")
    await tool.call("POST", path, {"state": "failure", "description": "broken"})
    await tool.until_newest("failure", "broken")
    assert tool.kept()[0]["log_url"] == "https://ci/7"


@pytest.mark.parametrize("base", ["", "/api/v3", "/api/v3/", "/"])
async def test_the_base_url_may_have_the_prefix_of_an_enterprise_server_or_a_slash(
    tool: Tool, base: str
) -> None:
    base = tool.world.url + base
    fields = {"state": "in_progress"}
    assert (await tool.call("POST", f"{tool.path}/statuses", fields, base=base)).status == 201
    assert (await tool.call("GET", tool.path, base=base)).document["id"] == tool.id


async def test_upper_and_lower_case_are_alike_in_the_repositorys_name(tool: Tool) -> None:
    path = f"/repos/Acme/SITE/deployments/{tool.id}/statuses"
    assert (await tool.call("POST", path, {"state": "in_progress"})).status == 201


async def test_everything_that_clients_send_besides_is_ignored(tool: Tool) -> None:
    response = await tool.report_state(
        "in_progress", auto_inactive="true", ref="main", environment="production", new={"a": [1]}
    )
    assert response.status == 201
    assert response.document["environment"] == "slow"


async def test_null_is_as_good_as_absent_and_a_number_as_good_as_its_text(tool: Tool) -> None:
    response = await tool.report_state(
        "in_progress", description=42, log_url=None, environment_url=""
    )
    assert (response.status, response.document["description"]) == (201, "42")
    assert response.document["log_url"] == response.document["environment_url"] == ""
    response = await tool.report_state("in_progress", description=True, target_url="http://ci/7")
    assert (response.document["description"], response.document["log_url"]) == (
        "true",
        "http://ci/7",
    )


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8", "other"],
)
async def test_the_body_is_json_whatever_its_content_type(tool: Tool, content_type: str) -> None:
    body = json.dumps({"state": "in_progress", "description": "läuft"}).encode()
    path = f"{tool.path}/statuses"
    response = await tool.call("POST", path, body, Content_Type=content_type, Accept="text/unknown")
    assert (response.status, response.document["description"]) == (201, "läuft")


async def test_a_long_description_is_shortened_rather_than_rejected(tool: Tool) -> None:
    response = await tool.report_state("in_progress", description="x" * 150)
    assert response.document["description"] == "x" * 139 + "…"
    response = await tool.report_state("in_progress", description="two\nlines\x00 \ud800")
    assert response.status == 201
    assert response.document["description"].startswith("two lines")


async def test_inactive_and_no_more_is_kept_but_ends_nothing(tool: Tool) -> None:
    """As GitHub has it: a deployment may become active again."""
    assert (await tool.report_state("inactive")).document["state"] == "inactive"
    assert (await tool.report_state("success", description="it works")).status == 201
    await tool.until_newest("success", "it works")
    assert "inactive" not in tool.world.github.states(tool.id)


async def test_inactive_with_a_description_ends_the_deployment(tool: Tool) -> None:
    assert (await tool.report_state("inactive", description="called off")).status == 201
    await tool.until_newest("inactive", "called off")
    assert (await tool.report_state("success")).status == 403


async def test_a_report_by_the_name_before_a_rename_is_accepted(tool: Tool) -> None:
    github = tool.world.github
    github.rename_repository("acme/site", "acme/renamed")
    other = await github.create_deployment("acme/renamed", environment="broken")
    await tool.world.phase(other.id, "failure")
    for path in (tool.path, tool.path.replace("/site/", "/renamed/")):
        response = await tool.call("GET", path)
        # What is under way keeps the name that its environment was found by.
        assert response.document["repository_url"].endswith("/repos/acme/site")
    assert (await tool.report_state("in_progress", description="Half")).status == 201
    await tool.until_newest("in_progress", "Half")
    github.rename_repository("acme/renamed", "acme/site")
    back = await github.create_deployment("acme/site", environment="broken")
    await tool.world.phase(back.id, "failure")
    row = await tool.world.phase(other.id, "failure")
    assert row["repo"] == "acme/site"

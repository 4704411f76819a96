"""One deployment as its users see it: statuses on GitHub, messages in Slack, the page."""

import json
from pathlib import Path

import aiohttp
import pytest

from sandbox.sandbox import REPOSITORY
from sandbox.slack.screen import render
from tests.world import DEPLOY_YML, World, live


async def test_a_deployment_runs_its_command_and_github_and_slack_are_updated(world: World) -> None:
    deployment = await world.deployed(ref="v1.0")
    statuses = world.github.statuses(deployment.id)
    assert [status.state for status in statuses] == ["queued", "in_progress", "success"]
    assert all(status.by_app for status in statuses)
    assert all(status.description for status in statuses)
    [message] = world.messages()
    assert message.edits in (1, 2)  # two changes in one moment are one edit
    text = render(message)
    assert "acme/site to production succeeded" in text
    assert "v1.0 @" in text
    assert "by octocat" in text
    [row] = world.rows("select convert_from(chunk, 'UTF8') as chunk from output")
    assert row["chunk"] == "deploying v1.0\n"


async def test_the_log_url_opens_the_page_at_that_status(world: World) -> None:
    deployment = await world.deployed(ref="v1.0")
    log_url = world.github.statuses(deployment.id)[-1].log_url
    page, _, fragment = log_url.partition("#")
    async with aiohttp.ClientSession() as session, session.get(page) as response:
        html = await response.text()
    assert response.status == 200
    assert "deploying v1.0" in html
    assert f'id="{fragment}"' in html


async def test_a_failure_shows_its_reason_on_github_and_in_both_channels(world: World) -> None:
    deployment = await world.deployed("broken")
    last = world.github.statuses(deployment.id)[-1]
    assert (last.state, last.description) == ("failure", "exit code 3: the disk is full")
    [message], [*_, reply] = world.messages(), world.replies()
    assert "failed" in render(message)
    assert (reply.thread_ts, reply.broadcast) == (message.ts, True)
    assert "the disk is full" in render(reply)
    [alert] = world.slack.messages("#oncall")
    assert "the disk is full" in render(alert)


async def test_a_deployment_of_a_workflow_is_watched_and_never_run(world: World) -> None:
    deployment = await world.deploy("production", workflow_run={})
    await world.phase(deployment.id, "queued")
    await world.github.create_status(deployment.id, "in_progress")
    await world.phase(deployment.id, "in_progress")
    await world.github.create_status(
        deployment.id, "success", environment_url="https://site.example"
    )
    await world.phase(deployment.id, "success")
    await world.idle()
    assert not any(status.by_app for status in world.github.statuses(deployment.id))
    assert world.rows("select 1 from output") == []
    [message] = world.messages()
    assert "succeeded" in render(message)
    assert "Environment" in render(message)


async def test_a_status_by_a_person_ends_a_deployment_and_later_ones_are_only_recorded(
    world: World, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    deployment = await world.begin_slow(gate)
    await world.github.wait_for(deployment.id, "in_progress")
    await world.github.create_status(deployment.id, "failure", description="seen in the logs")
    row = await world.phase(deployment.id, "failure")
    assert row["status_description"] == "seen in the logs"
    await world.github.create_status(deployment.id, "in_progress", description="late")
    await world.github.create_status(deployment.id, "success", description="even later")
    gate.touch()
    await world.idle()
    await world.phase(deployment.id, "failure")
    entries = world.rows("select actor, state, counted from timeline order by id")
    assert sorted((e["actor"], e["state"], e["counted"]) for e in entries) == [
        ("command", "success", False),
        ("octocat", "failure", True),
        ("octocat", "in_progress", False),
        ("octocat", "success", False),
        ("relay", "in_progress", True),
        ("relay", "queued", True),
    ]
    assert world.github.states(deployment.id).count("failure") == 1


@pytest.mark.slow
async def test_a_success_makes_the_deployment_before_it_inactive(
    store_url: str, tmp_path: Path
) -> None:
    deploy_yml = DEPLOY_YML.replace("name: production", "name: staging")
    async with live(store_url, tmp_path, deploy_yml) as world:
        first = await world.deployed("staging", ref="v1")
        second = await world.deployed("staging", ref="v2")
        assert world.github.states(first.id)[-1] == "inactive"
        await world.phase(first.id, "inactive")
        await world.phase(second.id, "success")
        assert f"Diff to {first.sha[:7]}" in render(world.messages()[-1])


@pytest.mark.slow
async def test_slack_shows_the_deployment_before_as_replaced(
    store_url: str, tmp_path: Path
) -> None:
    deploy_yml = DEPLOY_YML.replace("name: production", "name: staging")
    async with live(store_url, tmp_path, deploy_yml) as world:
        for ref in ("v1", "v2"):
            deployment = await world.deploy("staging", ref=ref)
            await world.github.wait_for(deployment.id, "success", within=20)
        await world.idle()
        first, second = world.messages()
        assert ", replaced since" in render(first)
        assert "replaced" not in render(second)


@pytest.mark.slow
async def test_two_workers_write_each_status_and_message_once(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=2) as world:
        requested = [await world.deploy("production") for _ in range(10)]
        for deployment in requested:
            await world.github.wait_for(deployment.id, "success", within=30)
        await world.idle()
        for deployment in requested:
            states = [s for s in world.github.states(deployment.id) if s != "inactive"]
            assert states == ["queued", "in_progress", "success"]
        assert len(world.messages()) == 10


async def test_no_secret_is_in_what_people_see(world: World) -> None:
    deployment = await world.deployed()
    seen = json.dumps(
        [m.text + render(m) for m in world.messages()]
        + [s.description + s.log_url for s in world.github.statuses(deployment.id)]
    )
    assert not any(secret in seen for secret in world.setup.secrets)
    assert REPOSITORY in seen


async def test_a_secret_of_deploy_yml_is_redacted_on_github_and_in_slack(
    store_url: str, tmp_path: Path
) -> None:
    deploy_yml = """
slack: {channel: "#deploys"}
envs:
  - name: production
    handler: command
    with: {run: ["echo", "{payload.user}:${DEPLOY_WORD}"]}
"""
    secret = {"DEPLOY_WORD": "hunter2-very-secret"}
    async with live(store_url, tmp_path, deploy_yml, environ=secret) as world:
        deployment = await world.deploy(payload={"user": "-x"})
        status = await world.github.wait_for(deployment.id, "error", within=20)
        await world.idle()
        shown = status.description + "".join(map(render, world.messages()))
        assert "***" in shown
        assert "hunter2" not in shown

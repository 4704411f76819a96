"""The main job as its users see it: a deployment on GitHub, statuses on GitHub, Slack."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from sandbox.demo.screen import render
from sandbox.faults import Fault
from sandbox.sandbox import REPOSITORY
from tests.world import DEPLOY_YML, World, live

STATUSES = "POST /repos/*/deployments/*/statuses"


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path) as world:
        yield world


async def test_a_deployment_runs_its_command_and_github_and_slack_hear_of_it(world: World) -> None:
    deployment = await world.deployed(ref="v1.0")
    statuses = world.github.statuses(deployment.id)
    assert [status.state for status in statuses] == ["queued", "in_progress", "success"]
    assert all(status.by_app for status in statuses)
    assert all(status.description for status in statuses)
    [message] = world.told()
    assert message.edits in (1, 2)  # two changes in one moment are one edit
    text = render(message)
    assert "acme/site to production succeeded" in text
    assert "v1.0 @" in text
    assert "by octocat" in text
    [row] = world.rows("select convert_from(chunk, 'UTF8') as chunk from output")
    assert row["chunk"] == "deploying v1.0\n"


async def test_the_log_url_opens_the_page_of_that_step(world: World) -> None:
    deployment = await world.deployed(ref="v1.0")
    log_url = world.github.statuses(deployment.id)[-1].log_url
    page, _, fragment = log_url.partition("#")
    async with aiohttp.ClientSession() as session, session.get(page) as response:
        html = await response.text()
    assert response.status == 200
    assert "deploying v1.0" in html
    assert f'id="{fragment}"' in html


async def test_a_failure_tells_its_reason_everywhere(world: World) -> None:
    deployment = await world.deployed("broken")
    last = world.github.statuses(deployment.id)[-1]
    assert (last.state, last.description) == ("failure", "exit code 3: the disk is full")
    [message], [*_, reply] = world.told(), world.replies()
    assert "failed" in render(message)
    assert (reply.thread_ts, reply.broadcast) == (message.ts, True)
    assert "the disk is full" in render(reply)
    [alarm] = world.slack.messages("#oncall")
    assert "the disk is full" in render(alarm)


async def test_a_redelivery_starts_nothing_new(world: World) -> None:
    deployment = await world.deployed()
    for delivery in list(world.github.deliveries):
        await world.github.redeliver(delivery.guid)
    await world.idle()
    assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]
    assert len(world.told()) == 1
    assert {row["arrivals"] for row in world.rows("select arrivals from deliveries")} == {2}


async def test_our_own_statuses_come_back_and_change_nothing(world: World) -> None:
    await world.deployed()
    assert world.notes()["ignored"] == ["a status of our own"] * 3


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
    [message] = world.told()
    assert "succeeded" in render(message)
    assert "Environment" in render(message)


async def test_a_status_by_a_person_ends_a_deployment_and_late_ones_are_only_kept(
    world: World, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    deployment = await world.begin_slow(gate)
    await world.github.wait_for(deployment.id, "in_progress")
    await world.github.create_status(deployment.id, "failure", description="seen in the logs")
    row = await world.phase(deployment.id, "failure")
    assert row["words"] == "seen in the logs"
    await world.github.create_status(deployment.id, "in_progress", description="late")
    await world.github.create_status(deployment.id, "success", description="later")
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


async def test_a_status_may_arrive_before_its_deployment(world: World) -> None:
    world.github.webhook_url, address = "", world.github.webhook_url
    deployment = await world.deploy("production")
    status = await world.github.create_status(deployment.id, "queued", description="first")
    world.github.webhook_url = address
    await world.github.deliver(
        "deployment_status", world.github.events.deployment_status(deployment, status)
    )
    await world.phase(deployment.id, "queued")
    await world.github.deliver("deployment", world.github.events.deployment(deployment))
    await world.github.wait_for(deployment.id, "success", within=20)


async def test_a_state_that_nobody_knows_is_kept_and_changes_nothing(world: World) -> None:
    deployment = await world.deployed()
    body = world.github.events.deployment_status(
        deployment, await world.github.create_status(deployment.id, "success")
    )
    body["deployment_status"] |= {"id": 999_999, "state": "enchanted"}
    await world.github.deliver("deployment_status", body)
    await world.idle()
    assert world.rows("select 1 from timeline where state = 'enchanted' and not counted")


async def test_the_next_success_makes_the_one_before_inactive(
    store_url: str, tmp_path: Path
) -> None:
    deploy_yml = DEPLOY_YML.replace("name: production", "name: staging")
    async with live(store_url, tmp_path, deploy_yml) as world:
        first = await world.deployed("staging", ref="v1")
        second = await world.deployed("staging", ref="v2")
        assert world.github.states(first.id)[-1] == "inactive"
        await world.phase(first.id, "inactive")
        await world.phase(second.id, "success")
        assert f"Diff to {first.sha[:7]}" in render(world.told()[-1])


async def test_no_status_is_lost_or_written_twice_when_github_gives_no_clear_answer(
    world: World,
) -> None:
    odd = [Fault.drop_after(), Fault.drop_before(), Fault.status(502, acts=True), Fault.status(500)]
    for fault in odd:
        world.github.faults.add(STATUSES, fault, times=2)
    asked = [await world.deploy() for _ in odd]
    for deployment in asked:
        await world.github.wait_for(deployment.id, "success", within=30)
    await world.idle()
    for deployment in asked:
        assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]
    assert len(world.github.faults.fired) == 2 * len(odd)


@pytest.mark.parametrize("limit", [Fault.rate_limited, Fault.secondary_limit, Fault.primary_limit])
async def test_githubs_limits_are_heeded(world: World, limit: Callable[[int], Fault]) -> None:
    world.github.faults.add(STATUSES, limit(1))
    deployment = await world.deployed()
    assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]
    refused, again = world.github.called("POST", "/statuses")[:2]
    assert again.time - refused.time >= 0.9


async def test_one_token_serves_a_deployment_and_a_refused_one_is_replaced(world: World) -> None:
    deployment = await world.deployed()
    assert world.github.token_requests == 1
    world.github.world.tokens.clear()
    another = await world.deployed()
    assert world.github.token_requests == 2
    assert world.github.states(deployment.id) == world.github.states(another.id)


async def test_two_workers_share_the_work(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, workers=2) as world:
        asked = [await world.deploy("production") for _ in range(10)]
        for deployment in asked:
            await world.github.wait_for(deployment.id, "success", within=30)
        await world.idle()
        for deployment in asked:
            states = [s for s in world.github.states(deployment.id) if s != "inactive"]
            assert states == ["queued", "in_progress", "success"]
        assert len(world.told()) == 10


async def test_no_secret_is_in_what_people_see(world: World) -> None:
    deployment = await world.deployed()
    seen = json.dumps(
        [m.text + render(m) for m in world.told()]
        + [s.description + s.log_url for s in world.github.statuses(deployment.id)]
    )
    assert not any(secret in seen for secret in world.setup.secrets)
    assert REPOSITORY in seen

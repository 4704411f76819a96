"""Odd deployments, odd deliveries, Apps without rights: each gets an answer."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox.demo.screen import render
from tests.world import DEPLOY_YML, World, live, until


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path) as world:
        yield world


async def test_an_environment_that_nobody_knows_is_answered_with_those_that_are(
    world: World,
) -> None:
    deployment = await world.deployed("moon")
    [status] = world.github.statuses(deployment.id)
    assert status.state == "error"
    assert status.description == (
        "No route for environment 'moon' in this relay; known here: production, broken, slow*"
    )


async def test_unrouted_deployments_may_be_left_to_others(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, "unrouted: ignore\n" + DEPLOY_YML) as world:
        deployment = await world.deploy("moon")
        await world.idle()
        assert world.github.states(deployment.id) == []
        assert "No route" in world.notes()["ignored"][0]


@pytest.mark.parametrize("payload", [None, "plain words", '{"inner": 1}', {"deep": {"er": [1]}}])
async def test_any_payload_is_deployed(world: World, payload: Any) -> None:
    deployment = await world.deployed(payload=payload if payload is not None else {})
    assert world.github.states(deployment.id)[-1] == "success"


@pytest.mark.parametrize("name", ["a/b/c", "🚀 launch", "x" * 255])
async def test_any_environment_name_is_routed(store_url: str, tmp_path: Path, name: str) -> None:
    deploy_yml = """
slack: {channel: "#deploys"}
envs: [{name: "*", handler: command, with: {run: ["true"]}}]
"""
    async with live(store_url, tmp_path, deploy_yml) as world:
        deployment = await world.deployed(name)
        assert world.github.states(deployment.id)[-1] == "success"
        assert len(world.told()) == 1


async def test_a_delivery_that_is_not_what_it_says_is_kept_with_the_reason(world: World) -> None:
    for body in (b'{"action": "created"}', b'{"action": '):
        headers = world.github.delivery_headers("deployment", body)
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{world.url}/webhook", data=body, headers=headers) as response,
        ):
            assert response.status == 202
    await world.idle()
    missing, broken = world.notes()["failed"]
    assert "missing" in missing
    assert "not JSON" in broken


async def test_events_that_the_relay_does_not_know_are_kept_as_ignored(world: World) -> None:
    await world.github.deliver("star", {"action": "created"})
    await world.github.deliver("deployment", {"action": "destroyed"})
    await world.github.ping()
    await world.idle()
    found = world.notes()
    assert found["done"] == ["the webhook works"]
    assert sorted(found["ignored"]) == [
        "the relay does not act on 'deployment' events with action 'destroyed'",
        "the relay does not act on 'star' events",
    ]


async def test_an_unknown_installation_is_told_on_the_page_and_nothing_runs(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0) as world:
        deployment = await world.deploy("production")
        await world.github.settled()
        world.github.world.installations.clear()
        world.start_worker()
        row = await world.phase(deployment.id, "error")
        assert "does not know installation" in row["words"]
        assert row["run"] is None


async def test_a_suspended_installation_hears_of_it_as_soon_as_it_is_back(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0) as world:
        deployment = await world.deploy("production")
        await world.github.settled()
        installation = world.sandbox.installation
        installation.suspended = True
        world.start_worker()
        row = await world.phase(deployment.id, "error")
        assert "suspended" in row["words"]
        waiting = "select 1 from outbox where kind = 'status' and state = 'waiting' and error <> ''"
        await until(lambda: world.rows(waiting) or None)
        installation.suspended = False
        body = {"action": "unsuspend", "installation": {"id": installation.id}}
        await world.github.deliver("installation", body)
        await world.github.wait_for(deployment.id, "error", within=20)
        [message, *_] = world.told()
        assert "suspended" in render(message)


async def test_a_repository_of_another_owner_has_routes_of_its_own(
    store_url: str, tmp_path: Path
) -> None:
    deploy_yml = DEPLOY_YML.replace(
        "handler: command", 'repos: ["else/*"]\n    handler: command', 1
    )
    async with live(store_url, tmp_path, deploy_yml) as world:
        deployment = await world.deployed("production")
        assert "known here: broken" in world.github.statuses(deployment.id)[0].description

"""Drone's handler with `mode: native`: Drone's own webhook starts the build."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from handlers.contract import State
from handlers.errors import Rejected
from tests.handlers.drone_runs import SHA, SLUG, World, a_world, ended, started_ago, waits
from tests.handlers.runs import a_deployment


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Builds keep their status until the test changes it."""
    async with a_world(takes=None) as world:
        yield world


async def test_its_promotion_is_followed_and_nothing_is_started() -> None:
    async with a_world() as world:
        handler, deployment = world.handler(mode="native"), a_deployment()
        world.drone.deployment_hook(SLUG, 5, SHA, "production")
        assert await handler.find(deployment) is None
        assert await waits(handler, deployment) == "Waiting for Drone to start it by itself"
        created = world.drone.deployment_hook(SLUG, deployment.id, SHA, "production")
        assert created is not None
        run = await handler.find(deployment)
        assert run is not None
        shown = await ended(handler, deployment, run)
        assert (shown[-1].state, shown[-1].url) == (State.SUCCESS, world.page(created))
        assert world.posts() == []


async def test_one_that_is_there_already_is_found(world: World) -> None:
    world.drone.deployment_hook(SLUG, a_deployment().id, SHA, "production")
    found = await world.handler(mode="native").find(a_deployment())
    assert found is not None
    assert found.id == "1"


async def test_one_that_does_not_come_is_an_error(world: World) -> None:
    world.drone.deployment_hook(SLUG, a_deployment().id, SHA, "moon")
    world.built()
    handler = world.handler(mode="native")
    assert await handler.find(started_ago(minutes=3)) is None
    with pytest.raises(Rejected, match=r"event 'Deployments'.*for 'production'"):
        await handler.start(started_ago(minutes=3))
    await waits(world.handler(mode="native", start_within="5m"), started_ago(minutes=3))
    assert world.posts() == []


async def test_cancel_kills_it(world: World) -> None:
    created = world.drone.deployment_hook(SLUG, a_deployment().id, SHA, "production")
    assert created is not None
    handler = world.handler(mode="native")
    run = await handler.find(a_deployment())
    assert run is not None
    await handler.cancel(a_deployment(), run)
    assert created.status == "killed"


async def test_an_unsigned_yaml_waits_for_approval(world: World) -> None:
    world.repo.approval = True
    world.drone.deployment_hook(SLUG, a_deployment().id, SHA, "production")
    handler = world.handler(mode="native")
    run = await handler.find(a_deployment())
    assert run is not None
    run = await handler.check(a_deployment(), replace(run, state=State.IN_PROGRESS))
    assert run.description == "Build #1 is waiting for approval in Drone"

"""Drone's handler with `build: create`: a build is created where none exists."""

from collections.abc import AsyncIterator

import pytest

from handlers.contract import State
from handlers.errors import Rejected
from sandbox.faults import Fault
from tests.handlers.drone_runs import SHA, SHORT, SLUG, World, a_world, waits
from tests.handlers.runs import a_deployment
from tests.handlers.tools import unknown_outcome


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Builds keep their status until the test changes it."""
    async with a_world(takes=None) as world:
        yield world


async def test_a_build_is_created_and_then_promoted(world: World) -> None:
    handler, deployment = world.handler(build="create"), a_deployment(payload={"a": "b"})
    waiting = f"Waiting for Drone's build #1 of {SHORT}"
    assert [await waits(handler, deployment) for _ in range(3)] == [waiting] * 3
    [created] = world.drone.builds(SLUG)
    assert (created.event, created.after, created.ref) == ("custom", SHA, "refs/heads/main")
    assert created.params == {"GITPLOY_BUILD_FOR": str(deployment.id)}
    world.drone.end(created)
    run = await handler.start(deployment)
    [promotion] = world.promotions()
    assert (run.id, promotion.parent) == ("2", created.number)
    assert promotion.params["a"] == "b"


async def test_no_build_is_created_where_one_exists(world: World) -> None:
    handler = world.handler(build="create")
    world.built("failure")
    assert (await handler.start(a_deployment())).state is State.ERROR
    world.built("running")
    await waits(handler, a_deployment())
    world.built("success")
    await handler.start(a_deployment())
    assert world.drone.builds(SLUG, "custom") == []


async def test_the_branch_can_be_configured(world: World) -> None:
    await waits(world.handler(build="create", branch="release/{ref}"), a_deployment(ref="1"))
    assert world.drone.builds(SLUG)[0].ref == "refs/heads/release/1"


async def test_a_build_whose_response_was_lost_is_not_created_again(world: World) -> None:
    world.drone.faults.add("POST /repos/acme/shop/builds", Fault.drop_after())
    handler, deployment = world.handler(build="create"), a_deployment()
    await unknown_outcome(handler.start(deployment))
    assert await handler.find(deployment) is None
    assert "build #1 " in await waits(handler, deployment)
    assert len(world.drone.builds(SLUG)) == 1


async def test_a_build_created_for_staging_serves_for_production(world: World) -> None:
    await waits(world.handler(build="create"), a_deployment(id=1, environment="staging"))
    world.drone.end(world.drone.builds(SLUG)[0])
    await world.handler(build="create").start(a_deployment())
    assert len(world.drone.builds(SLUG, "custom")) == len(world.promotions()) == 1


async def test_one_whose_yaml_is_bad_is_an_error_at_once(world: World) -> None:
    """Drone forgets the mark of such a build: there would be another with each try."""
    world.repo.bad_yaml = "yaml: line 3"
    run = await world.handler(build="create").start(a_deployment())
    assert (run.state, run.url) == (State.ERROR, f"{world.drone.url}/{SLUG}/1")
    assert run.description.startswith(f"Build #1 of {SHORT} could not be run by Drone")


async def test_one_that_nothing_builds_is_an_error(world: World) -> None:
    world.drone.add_repo(SLUG, builds_on=("push",))
    with pytest.raises(Rejected, match="triggered by the event 'custom'"):
        await world.handler(build="create").start(a_deployment())


async def test_one_that_fails_is_not_promoted(world: World) -> None:
    handler, deployment = world.handler(build="create"), a_deployment()
    await waits(handler, deployment)
    world.drone.end(world.drone.builds(SLUG)[0], "failure")
    run = await handler.start(deployment)
    assert (run.state, world.promotions()) == (State.ERROR, [])

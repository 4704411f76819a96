"""Drone's handler with `build: create`: a build is made where none is there."""

from collections.abc import AsyncIterator

import pytest

from handlers.contract import State, ToolRejected, ToolUnavailable
from tests.handlers.drone_runs import SHA, SLUG, World, a_world, ended
from tests.handlers.runs import a_deployment
from webhook.sandbox.faults import Fault


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Builds stay as they are until they are told."""
    async with a_world(takes=None) as world:
        yield world


async def test_one_is_made_and_then_promoted() -> None:
    async with a_world() as world:
        handler, deployment = world.handler(build="create"), a_deployment(payload={"a": "b"})
        seen = await ended(handler, deployment, await handler.start(deployment))
        assert seen[-1].state is State.SUCCESS
        made, promotion = world.drone.builds(SLUG)
        assert (made.event, made.after, made.ref) == ("custom", SHA, "refs/heads/main")
        assert made.params == {"GITPLOY_BUILD_FOR": str(deployment.id)}
        assert (promotion.event, promotion.parent) == ("promote", made.number)
        assert promotion.params["a"] == "b"


async def test_none_is_made_where_one_is_there(world: World) -> None:
    for status in ("failure", "running", "success"):
        world.built(status)
        await world.handler(build="create").start(a_deployment())
    assert world.drone.builds(SLUG, "custom") == []


async def test_the_branch_may_be_said(world: World) -> None:
    await world.handler(build="create", branch="release/{ref}").start(a_deployment(ref="1"))
    assert world.drone.builds(SLUG)[0].ref == "refs/heads/release/1"


async def test_one_whose_answer_was_lost_is_not_made_again(world: World) -> None:
    world.drone.faults.add("POST /repos/acme/shop/builds", Fault.drop_after())
    handler, deployment = world.handler(build="create"), a_deployment()
    with pytest.raises(ToolUnavailable):
        await handler.start(deployment)
    assert await handler.find(deployment) is None
    run = await handler.start(deployment)
    [made] = world.drone.builds(SLUG)
    assert run.url == world.page(made)


async def test_one_that_was_made_for_staging_will_do_for_production(world: World) -> None:
    await world.handler(build="create").start(a_deployment(id=1, environment="staging"))
    world.drone.end(world.drone.builds(SLUG)[0])
    await world.handler(build="create").start(a_deployment())
    assert len(world.drone.builds(SLUG, "custom")) == len(world.promotions()) == 1


async def test_one_that_nothing_builds_is_an_error(world: World) -> None:
    world.drone.add_repo(SLUG, builds_on=("push",))
    with pytest.raises(ToolRejected, match="triggered by the event 'custom'"):
        await world.handler(build="create").start(a_deployment())


async def test_one_that_fails_is_not_promoted(world: World) -> None:
    handler, deployment = world.handler(build="create"), a_deployment()
    run = await handler.start(deployment)
    world.drone.end(world.drone.builds(SLUG)[0], "failure")
    run = await handler.check(deployment, run)
    assert (run.state, world.promotions()) == (State.ERROR, [])


async def test_cancel_kills_it(world: World) -> None:
    handler, deployment = world.handler(build="create"), a_deployment()
    run = await handler.start(deployment)
    await handler.cancel(deployment, run)
    assert [build.status for build in world.drone.builds(SLUG)] == ["killed"]

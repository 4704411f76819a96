"""Drone's handler where no green build of the commit is there yet."""

from collections.abc import AsyncIterator

import pytest

from handlers.contract import State
from handlers.errors import NotReady, Rejected, Unavailable
from sandbox.faults import Fault
from tests.handlers.drone_runs import OTHER_SHA, SHORT, World, a_world, started_ago, waits
from tests.handlers.runs import a_deployment
from tests.handlers.tools import not_done, unknown_outcome

LIST = "GET /repos/acme/shop/builds"
PROMOTE = "POST /repos/acme/shop/builds/*/promote"
WAITING = f"Waiting for Drone's build #1 of {SHORT}"
NOT_THERE = f"Waiting for the Drone build of {SHORT}"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Builds keep their status until the test changes it."""
    async with a_world(takes=None) as world:
        yield world


async def test_a_build_that_still_runs_is_waited_for_and_then_promoted(world: World) -> None:
    built = world.built("running")
    handler, deployment = world.handler(), a_deployment()
    assert [await waits(handler, deployment) for _ in range(2)] == [WAITING] * 2
    assert world.posts() == []
    world.drone.end(built)
    run = await handler.start(deployment)
    [promotion] = world.promotions()
    assert (run.id, run.url, promotion.parent) == ("2", world.page(promotion), built.number)


async def test_a_build_that_is_not_there_yet_is_waited_for(world: World) -> None:
    handler, deployment = world.handler(), a_deployment()
    assert await waits(handler, deployment) == NOT_THERE
    built = world.built("pending")
    assert await waits(handler, deployment) == WAITING
    world.drone.end(built)
    assert (await handler.start(deployment)).id == "2"


async def test_a_build_that_does_not_come_is_an_error(world: World) -> None:
    deployment = started_ago(minutes=3)
    with pytest.raises(Rejected, match=f"no push or tag build of {SHORT}: push it, or set"):
        await world.handler().start(deployment)
    assert await waits(world.handler(start_within="5m"), deployment) == NOT_THERE


async def test_a_build_that_runs_is_waited_for_longer_than_one_that_is_not_there(
    world: World,
) -> None:
    world.built("running")
    assert await waits(world.handler(), started_ago(minutes=50)) == WAITING


@pytest.mark.parametrize("status", ["failure", "error", "killed", "declined", "skipped"])
async def test_a_red_build_is_not_promoted(world: World, status: str) -> None:
    built = world.built(status)
    run = await world.handler().start(a_deployment())
    assert (run.id, run.state, run.url) == ("1", State.ERROR, world.page(built))
    assert run.description.startswith(f"Build #1 of {SHORT} ")
    assert run.description.endswith(", so it is not promoted: restart or fix it")
    assert world.posts() == []


async def test_a_red_build_that_is_restarted_is_waited_for(world: World) -> None:
    world.built("failure")
    world.built("running")
    assert "build #2 " in await waits(world.handler(), a_deployment())


async def test_a_build_of_unknown_status_is_waited_for(world: World) -> None:
    world.built("dreaming")
    assert await waits(world.handler(), a_deployment()) == WAITING


async def test_that_the_build_waits_for_approval_is_reported(world: World) -> None:
    built = world.built("pending")
    built.blocked = True
    message = await waits(world.handler(), a_deployment())
    assert message == f"{WAITING}, which waits for approval"


async def test_what_the_payload_lacks_is_reported_at_once(world: World) -> None:
    world.built("running")
    with pytest.raises(Rejected, match="the deployment's payload has no 'size'"):
        await world.handler(parameters={"SIZE": "{payload.size}"}).start(a_deployment())


async def test_it_is_promoted_once_even_if_nobody_recorded_it(world: World) -> None:
    built = world.built("running")
    deployment = a_deployment()
    await waits(world.handler(), deployment)
    world.drone.end(built)
    runs = [await world.handler().start(deployment) for _ in range(3)]
    assert {run.id for run in runs} == {"2"}
    assert len(world.promotions()) == 1


async def test_a_promotion_whose_response_was_lost_is_found(world: World) -> None:
    built = world.built("running")
    handler, deployment = world.handler(), a_deployment()
    await waits(handler, deployment)
    world.drone.end(built)
    world.drone.faults.add(PROMOTE, Fault.drop_after())
    await unknown_outcome(handler.start(deployment))
    found = await handler.find(deployment)
    assert found is not None
    assert found.id == "2"
    assert len(world.promotions()) == 1


@pytest.mark.parametrize("fault", [Fault.status(500), Fault.drop_before(), Fault.rate_limited(7)])
async def test_a_failed_call_while_it_waits_is_no_end(world: World, fault: Fault) -> None:
    world.built("running")
    handler, deployment = world.handler(), a_deployment()
    await waits(handler, deployment)
    world.drone.faults.add(LIST, fault)
    assert not isinstance(await not_done(handler.start(deployment)), NotReady)
    assert await waits(handler, deployment) == WAITING


async def test_a_rate_limited_promotion_is_retried_when_drone_allows(world: World) -> None:
    world.built()
    world.drone.faults.add(PROMOTE, Fault.rate_limited(7))
    with pytest.raises(Unavailable) as caught:
        await world.handler().start(a_deployment())
    assert caught.value.retry_at is not None
    assert (await world.handler().start(a_deployment())).id == "2"


async def test_a_very_long_list_is_not_read_to_its_end(world: World) -> None:
    for _ in range(1100):
        world.built(sha=OTHER_SHA, created=1)
    await waits(world.handler(), a_deployment())
    assert len(world.drone.calls) == 10

"""Drone's handler where no green build of the commit is there yet."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from handlers.contract import Run, State, ToolRejected, ToolUnavailable
from handlers.drone.handler import Drone
from handlers.drone.options import DroneOptions
from tests.handlers.drone_runs import OTHER_SHA, SHORT, SLUG, World, a_world, asked_ago
from tests.handlers.runs import a_deployment, lent
from webhook.sandbox.faults import Fault

LIST = "GET /repos/acme/shop/builds"
PROMOTE = "POST /repos/acme/shop/builds/*/promote"
WAITING = f"Waiting for the Drone build of {SHORT}"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Builds stay as they are until they are told."""
    async with a_world(takes=None) as world:
        yield world


class Impatient(Drone):
    appears_within = timedelta(0)


async def test_a_build_that_still_runs_is_waited_for_and_then_promoted(world: World) -> None:
    built = world.built("running")
    handler, deployment = world.handler(), a_deployment()
    run = await handler.start(deployment)
    assert (run.state, run.url, run.description) == (State.QUEUED, world.page(built), WAITING)
    run = await handler.check(deployment, run)
    assert (run.state, world.posts()) == (State.QUEUED, [])
    world.drone.end(built)
    run = await handler.check(deployment, run)
    [promotion] = world.promotions()
    assert (run.id, run.url, promotion.parent) == ("2", world.page(promotion), built.number)


async def test_a_build_that_is_not_there_yet_is_waited_for(world: World) -> None:
    handler, deployment = world.handler(), a_deployment()
    run = await handler.start(deployment)
    assert (run.state, run.description) == (State.QUEUED, WAITING)
    run = await handler.check(deployment, run)
    world.built("pending")
    run = await handler.check(deployment, run)
    assert (run.state, run.url) == (State.QUEUED, f"{world.drone.url}/{SLUG}/1")
    world.drone.end(world.drone.builds(SLUG)[0])
    assert (await handler.check(deployment, run)).id == "2"


async def test_a_build_that_does_not_come_is_an_error(world: World) -> None:
    deployment = asked_ago(minutes=3)
    waiting = Run("waiting", State.QUEUED)
    for asking in (world.handler().start(deployment), world.handler().check(deployment, waiting)):
        with pytest.raises(ToolRejected, match=f"no push or tag build of {SHORT}: push it, or set"):
            await asking
    patient = world.handler(start_within="5m")
    assert (await patient.check(deployment, waiting)).state is State.QUEUED


async def test_a_build_that_runs_is_waited_for_longer_than_one_that_is_not_there(
    world: World,
) -> None:
    world.built("running")
    assert (await world.handler().start(asked_ago(minutes=50))).state is State.QUEUED


@pytest.mark.parametrize("status", ["failure", "error", "killed", "declined", "skipped"])
async def test_a_red_build_is_not_promoted(world: World, status: str) -> None:
    built = world.built(status)
    run = await world.handler().start(a_deployment())
    assert (run.state, run.url) == (State.ERROR, world.page(built))
    assert run.description.startswith(f"Build #1 of {SHORT} ")
    assert run.description.endswith(", so it is not promoted: restart or mend it")
    assert world.posts() == []


async def test_a_red_build_that_is_restarted_is_waited_for(world: World) -> None:
    world.built("failure")
    world.built("running")
    assert (await world.handler().start(a_deployment())).state is State.QUEUED


async def test_a_build_of_unknown_status_is_waited_for(world: World) -> None:
    world.built("dreaming")
    assert (await world.handler().start(a_deployment())).state is State.QUEUED


async def test_that_the_build_waits_for_approval_is_told(world: World) -> None:
    built = world.built("pending")
    built.blocked = True
    run = await world.handler().start(a_deployment())
    assert run.description == f"{WAITING}, which waits for approval"


async def test_what_the_payload_lacks_is_told_at_once(world: World) -> None:
    world.built("running")
    with pytest.raises(ToolRejected, match="the deployment's payload has no 'size'"):
        await world.handler(parameters={"SIZE": "{payload.size}"}).start(a_deployment())


async def test_it_is_promoted_once_even_if_nobody_recorded_it(world: World) -> None:
    built = world.built("running")
    deployment = a_deployment()
    waiting = await world.handler().start(deployment)
    world.drone.end(built)
    runs = [await world.handler().check(deployment, waiting) for _ in range(3)]
    assert {run.id for run in runs} == {"2"}
    assert len(world.promotions()) == 1


async def test_a_promotion_whose_answer_was_lost_is_found(world: World) -> None:
    built = world.built("running")
    handler, deployment = world.handler(), a_deployment()
    waiting = await handler.start(deployment)
    world.drone.end(built)
    world.drone.faults.add(PROMOTE, Fault.drop_after())
    unsure = await handler.check(deployment, waiting)
    assert unsure.state is State.QUEUED
    assert unsure.description.endswith("; looking whether it was promoted")
    assert (await handler.check(deployment, unsure)).id == "2"
    assert len(world.promotions()) == 1


async def test_after_no_answer_it_is_looked_for_before_it_is_promoted_again(world: World) -> None:
    built = world.built("running")
    handler, deployment = world.handler(), a_deployment()
    waiting = await handler.start(deployment)
    world.drone.end(built)
    world.drone.faults.add(PROMOTE, Fault.drop_before())
    unsure = await handler.check(deployment, waiting)
    assert [await handler.check(deployment, unsure) for _ in range(3)] == [unsure] * 3
    assert len(world.drone.called("POST", "/promote")) == 1
    options = DroneOptions(url=world.drone.url, token=world.drone.token)
    later = Impatient(options, lent(Path("/nowhere"), http=world.http))
    assert (await later.check(deployment, unsure)).id == "2"


async def test_a_cancel_in_doubt_is_not_taken_for_done(world: World) -> None:
    built = world.built("running")
    handler, deployment = world.handler(), a_deployment()
    waiting = await handler.start(deployment)
    world.drone.end(built)
    world.drone.faults.add(PROMOTE, Fault.drop_before())
    unsure = await handler.check(deployment, waiting)
    with pytest.raises(ToolUnavailable, match="does not show the build yet"):
        await handler.cancel(deployment, unsure)


async def test_trouble_while_it_waits_is_no_end(world: World) -> None:
    built = world.built("running")
    handler, deployment = world.handler(), a_deployment()
    waiting = await handler.start(deployment)
    for status in (401, 403, 404, 302, 500):
        world.drone.faults.add(LIST, Fault.status(status))
        with pytest.raises(ToolUnavailable):
            await handler.check(deployment, waiting)
    world.drone.end(built)
    world.drone.faults.add(PROMOTE, Fault.rate_limited(7))
    with pytest.raises(ToolUnavailable) as caught:
        await handler.check(deployment, waiting)
    assert caught.value.retry_at is not None
    assert (await handler.check(deployment, waiting)).id == "2"


async def test_nothing_is_promoted_after_the_deadline(world: World) -> None:
    built = world.built("running")
    waiting = await world.handler().start(a_deployment())
    world.drone.end(built)
    with pytest.raises(ToolRejected, match="the time for it was over"):
        await world.handler().check(a_deployment(lasting=-1), waiting)
    assert world.posts() == []


async def test_cancel_leaves_the_build_of_the_push_alone(world: World) -> None:
    built = world.built("running")
    handler, deployment = world.handler(), a_deployment()
    waiting = await handler.start(deployment)
    await handler.cancel(deployment, waiting)
    assert (built.status, world.posts()) == ("running", [])


async def test_cancel_kills_a_promotion_that_nobody_recorded(world: World) -> None:
    built = world.built("running")
    handler, deployment = world.handler(), a_deployment()
    waiting = await handler.start(deployment)
    world.drone.end(built)
    await handler.check(deployment, waiting)
    await handler.cancel(deployment, waiting)
    assert [promotion.status for promotion in world.promotions()] == ["killed"]


async def test_the_whole_list_is_read_once_while_nothing_is_there(world: World) -> None:
    for _ in range(150):
        world.built(sha=OTHER_SHA, created=1)
    handler, deployment = world.handler(), a_deployment()
    waiting = await handler.start(deployment)
    assert len(world.drone.calls) == 2
    await handler.check(deployment, waiting)
    assert len(world.drone.calls) == 3


async def test_a_very_long_list_is_not_read_to_its_end(world: World) -> None:
    for _ in range(1100):
        world.built(sha=OTHER_SHA, created=1)
    await world.handler().start(a_deployment())
    assert len(world.drone.calls) == 10

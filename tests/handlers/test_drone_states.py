"""What the statuses of Drone's builds mean."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from handlers.contract import Run, State
from tests.handlers.drone_runs import SLUG, World, a_world, ended
from tests.handlers.runs import a_deployment


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Builds keep their status until the test changes it."""
    async with a_world(takes=None) as world:
        yield world


STATUSES = {
    "blocked": (State.QUEUED, "Build #2 is waiting for approval in Drone"),
    "waiting_on_dependencies": (
        State.QUEUED,
        "Build #2 is waiting for another pipeline in Drone",
    ),
    "pending": (State.QUEUED, "Build #2 is waiting for a runner of Drone"),
    "running": (State.IN_PROGRESS, ""),
    "success": (State.SUCCESS, ""),
    "failure": (State.FAILURE, "Build #2 failed in Drone: step 'deploy', exit code 1"),
    "error": (State.ERROR, "Build #2 could not be run by Drone"),
    "killed": (State.ERROR, "Build #2 was killed in Drone"),
    "declined": (State.ERROR, "Build #2 was declined in Drone"),
    "skipped": (State.ERROR, "Build #2 was skipped by Drone"),
}


@pytest.mark.parametrize("status", STATUSES)
async def test_each_status_of_drone_has_its_meaning(world: World, status: str) -> None:
    world.built()
    handler, deployment = world.handler(), a_deployment()
    run = await handler.start(deployment)
    world.drone.end(world.promotions()[0], status)
    state, message = STATUSES[status]
    assert await handler.check(deployment, run) == Run(
        "2", state, run.url, message, held=status == "blocked"
    )
    found = await handler.find(deployment)
    assert found is not None
    assert found.state is state


async def test_a_step_that_may_fail_is_not_blamed(world: World) -> None:
    world.built()
    handler, deployment = world.handler(), a_deployment()
    run = await handler.start(deployment)
    world.promotions()[0].ignored = "lint"
    world.drone.end(world.promotions()[0], "failure")
    assert (await handler.check(deployment, run)).description == STATUSES["failure"][1]


@pytest.mark.parametrize("status", ["pending", "blocked", "waiting_on_dependencies"])
async def test_what_ran_does_not_go_back_to_the_queue(world: World, status: str) -> None:
    world.built()
    handler, deployment = world.handler(), a_deployment()
    run = replace(await handler.start(deployment), state=State.IN_PROGRESS)
    world.drone.end(world.promotions()[0], status)
    checked = await handler.check(deployment, run)
    assert (checked.state, checked.description) == (State.IN_PROGRESS, STATUSES[status][1])


@pytest.mark.parametrize("state", [State.QUEUED, State.IN_PROGRESS])
async def test_an_unknown_status_keeps_the_state_and_is_described(
    world: World, state: State
) -> None:
    world.built()
    handler, deployment = world.handler(), a_deployment()
    run = replace(await handler.start(deployment), state=state)
    world.promotions()[0].status = "dreaming\n" + "x" * 30
    checked = await handler.check(deployment, run)
    message = f"Drone says 'dreaming {'x' * 30}', which the relay does not know"
    assert (checked.state, checked.description) == (state, message)


async def test_approval_in_drone_is_waited_for(world: World) -> None:
    world.built()
    world.repo.approval = True
    handler, deployment = world.handler(), a_deployment()
    run = await handler.check(deployment, await handler.start(deployment))
    [promotion] = world.promotions()
    message = "Build #2 is waiting for approval in Drone"
    assert run == Run("2", State.QUEUED, world.page(promotion), message, held=True)
    world.drone.takes = 0.05
    world.drone.approve(SLUG, promotion)
    assert (await ended(handler, deployment, run))[-1].state is State.SUCCESS


async def test_a_bad_yaml_is_an_error_with_drones_message(world: World) -> None:
    world.built()
    world.repo.bad_yaml = "yaml: line 3:\n\x1bmapping values are not allowed in this context"
    run = await world.handler().start(a_deployment())
    assert run.state is State.ERROR
    assert run.description == (
        "Build #2 could not be run by Drone:"
        " yaml: line 3: mapping values are not allowed in this context"
    )

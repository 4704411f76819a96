"""The App's own key: a clock that is wrong, and one odd response of GitHub's."""

from datetime import timedelta

import pytest

from sandbox.faults import Fault
from tests.world import World

TOKENS = "POST /app/installations/*/access_tokens"


@pytest.mark.slow
async def test_a_wrong_clock_ends_no_deployment_nor_does_setting_it_right(world: World) -> None:
    for ahead in (-90, 500, 0):  # of GitHub's clock
        world.github.world.ahead = timedelta(seconds=ahead)
        world.github.world.tokens.clear()
        deployment = await world.deployed()
        assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]


async def test_one_odd_response_to_the_request_for_a_token_changes_nothing(world: World) -> None:
    for status in (401, 403, 404, 422):
        world.github.world.tokens.clear()
        world.github.faults.add(TOKENS, Fault.status(status, {"message": "odd"}))
        deployment = await world.deployed()
        assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]
    assert len(world.github.faults.fired) == 4

"""The App's own key: a clock that is wrong."""

from datetime import timedelta

from tests.world import World


async def test_a_wrong_clock_ends_no_deployment_nor_does_setting_it_right(world: World) -> None:
    for ahead in (-90, 500, 0):  # of GitHub's clock
        world.github.world.ahead = timedelta(seconds=ahead)
        world.github.world.tokens.clear()
        deployment = await world.deployed()
        assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]

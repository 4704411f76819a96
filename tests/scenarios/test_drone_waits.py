"""A deployment that is asked for while Drone still builds its commit."""

from pathlib import Path

from sandbox.faults import Fault
from sandbox.sandbox import REPOSITORY
from tests.scenarios.all_tools import ENVIRONMENTS, relay_with_tools
from tests.world import until


async def test_the_build_is_waited_for_and_promoted_once(store_url: str, tmp_path: Path) -> None:
    """Even where the answer to the promotion is lost."""
    async with relay_with_tools(store_url, tmp_path) as (world, tools):
        sha = world.github.world.repository(REPOSITORY).sha("v1")
        built = tools.drone.add_build(REPOSITORY, sha, status="running")
        tools.drone.faults.add("POST /repos/*/promote", Fault.drop_after())
        deployment = await world.deploy(ENVIRONMENTS["drone"], ref="v1")

        def told() -> list[tuple[str, str]]:
            statuses = world.github.statuses(deployment.id)
            return [(status.state, status.description) for status in statuses]

        waiting = ("queued", f"Waiting for Drone's build #{built.number} of {sha[:7]}")
        await until(lambda: waiting in told() or None)
        assert tools.started("drone") == 0
        tools.drone.end(built)
        await world.github.wait_for(deployment.id, "success", within=30)
        assert tools.started("drone") == 1
        assert told().count(waiting) == 1
        assert world.rows("select 1 from deployments where tool_trouble <> ''") == []

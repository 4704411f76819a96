"""Which environment of deploy.yml a deployment belongs to, and what happens where there is none."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.scenarios.all_tools import ENVIRONMENTS, relay_with_tools
from tests.world import DEPLOY_YML, World, live, until
from webhook import startup


async def test_an_unknown_environment_is_an_error_that_lists_the_known_ones(
    world: World,
) -> None:
    deployment = await world.deployed("moon")
    [status] = world.github.statuses(deployment.id)
    assert status.state == "error"
    assert status.description == (
        "No route for environment 'moon' in this relay; known here: production, broken, slow*"
    )


async def test_unrouted_deployments_can_be_ignored(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, "unrouted: ignore\n" + DEPLOY_YML) as world:
        deployment = await world.deploy("moon")
        await world.idle()
        assert world.github.states(deployment.id) == []
        assert "No route" in world.delivery_outcomes()["ignored"][0]


@pytest.mark.parametrize("name", ["a/b/c", "🚀 launch", "x" * 255])
async def test_any_environment_name_is_routed(store_url: str, tmp_path: Path, name: str) -> None:
    deploy_yml = """
slack: {channel: "#deploys"}
envs: [{name: "*", handler: command, with: {run: ["true"]}}]
"""
    async with live(store_url, tmp_path, deploy_yml) as world:
        deployment = await world.deployed(name)
        assert world.github.states(deployment.id)[-1] == "success"
        assert len(world.messages()) == 1


async def test_a_repository_of_another_owner_has_routes_of_its_own(
    store_url: str, tmp_path: Path
) -> None:
    deploy_yml = DEPLOY_YML.replace(
        "handler: command", 'repos: ["else/*"]\n    handler: command', 1
    )
    async with live(store_url, tmp_path, deploy_yml) as world:
        deployment = await world.deployed("production")
        assert "known here: broken" in world.github.statuses(deployment.id)[0].description
        assert (
            "its repos leave out acme/site" in world.github.statuses(deployment.id)[0].description
        )


def begun_by_an_older_version(world: World) -> None:
    """Which did not record with which deploy.yml; what runs follows the present one then."""
    world.execute("update deployments set config_digest = ''")


async def test_a_removed_route_ends_its_deployments_once(idle_world: World, tmp_path: Path) -> None:
    world = idle_world
    world.start_worker()
    gate = tmp_path / "gate"
    deployment = await world.begin_slow(gate)
    await world.stop_workers()
    begun_by_an_older_version(world)
    file = tmp_path / "deploy.yml"
    file.write_text(DEPLOY_YML[: DEPLOY_YML.index('  - name: "slow*"')])
    config = startup.read_config(world.setup.environ)
    world.setup = replace(world.setup, config=config)
    world.start_worker()
    await world.github.wait_for(deployment.id, "error", within=20)
    await world.github.create_status(deployment.id, "in_progress")
    gate.touch()
    await world.idle()
    assert world.github.states(deployment.id).count("error") == 1


async def test_a_run_is_not_given_to_another_handler(store_url: str, tmp_path: Path) -> None:
    async with relay_with_tools(store_url, tmp_path, takes=600) as (world, tools):
        tools.build("v1")
        deployment = await world.deploy(ENVIRONMENTS["drone"], ref="v1")
        await until(lambda: tools.started("drone") or None)
        await until(lambda: world.rows("select 1 from deployments where run is not null") or None)
        await world.stop_workers()
        begun_by_an_older_version(world)
        file = tmp_path / "deploy.yml"
        names = {"qa": "never", "edge": "qa"}
        text = file.read_text()
        for old, new in names.items():
            text = text.replace(f'"name": "{old}"', f'"name": "{new}"')
        file.write_text(text)
        world.setup = replace(world.setup, config=startup.read_config(world.setup.environ))
        world.start_worker()
        status = await world.github.wait_for(deployment.id, "error", within=20)
        assert "'endpoint' now; 'drone' had begun it" in status.description
        assert tools.started("endpoint") == 0

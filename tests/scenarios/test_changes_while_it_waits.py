"""What becomes of a deployment whose environment, branch or repository goes while it waits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import aiohttp

from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY
from sandbox.slack.screen import render
from tests.world import QUICK, World, live, until
from webhook import startup
from webhook.gates import GATES
from webhook.gates.contract import ALLOW, Gate, Snapshot, Verdict, Wait

DEPLOY_YML = """
slack: {channel: "#deploys"}
envs:
  - name: staging
    handler: command
    with: {run: ["touch", "started"], cwd: "${PLACE}"}
  - name: production
    handler: command
    with: {run: ["touch", "started"], cwd: "${PLACE}"}
  - name: workflow
    handler: github-actions
    with: {mode: dispatch, workflow: deploy.yml, inputs: {}}
"""
ASKED_OFTEN = replace(QUICK, gates_asked_again_after=timedelta(seconds=0.2))


class Closed:
    """A gate that waits until it is opened."""

    def __init__(self) -> None:
        self.open = False

    def decide(self, snapshot: Snapshot) -> Verdict:
        return ALLOW if self.open else Wait(reason="The hatch is closed")


@asynccontextmanager
async def closed_world(store_url: str, folder: Path) -> AsyncIterator[tuple[World, Closed]]:
    closed = Closed()
    gates = {**GATES, "hatch": Gate(name="hatch", decide=closed.decide)}
    environ = {"PLACE": str(folder)}
    async with live(
        store_url, folder, DEPLOY_YML, environ=environ, gates=gates, timing=ASKED_OFTEN
    ) as world:
        yield world, closed


async def waiting(world: World, environment: str, ref: str = "main") -> Deployment:
    deployment = await world.deploy(environment, ref=ref, auto_merge=False)
    held = "select 1 from deployments where id = %s and waiting"
    await until(lambda: world.rows(held, deployment.id) or None)
    statuses = partial(world.github.statuses, deployment.id)
    await until(lambda: any("hatch" in one.description for one in statuses()) or None)
    return deployment


async def page(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        return await response.text()


async def test_its_environment_is_removed_from_the_file(store_url: str, tmp_path: Path) -> None:
    async with closed_world(store_url, tmp_path) as (world, _):
        removed, kept = await waiting(world, "PRODUCTION"), await waiting(world, "staging")
        await world.stop_workers()
        file = tmp_path / "deploy.yml"
        file.write_text(DEPLOY_YML.replace("name: production", "name: live"))
        world.setup = replace(world.setup, config=startup.read_config(world.setup.environ))
        world.start_worker()
        status = await world.github.wait_for(removed.id, "error", within=20)
        assert status.description == (
            "No route for environment 'PRODUCTION' in this relay; known here: staging, live,"
            " workflow"
        )
        assert world.github.states(kept.id)[-1] == "queued"
        assert not (tmp_path / "started").exists()


async def test_it_is_deleted_on_github(store_url: str, tmp_path: Path) -> None:
    async with closed_world(store_url, tmp_path) as (world, closed):
        deployment = await waiting(world, "production")
        url = world.github.statuses(deployment.id)[-1].log_url
        world.github.delete_deployment(deployment.id)
        closed.open = True
        await world.phase(deployment.id, "error")
        said = "It was deleted on GitHub while it waited"
        assert said in await page(url)
        await until(lambda: said in render(world.messages()[0]) or None)
        assert not (tmp_path / "started").exists()


async def test_its_branch_or_its_repository_s_name_goes(store_url: str, tmp_path: Path) -> None:
    async with closed_world(store_url, tmp_path) as (world, closed):
        world.github.actions.add_workflow(REPOSITORY, on=("workflow_dispatch",))
        branch = await waiting(world, "workflow", "feature")
        older = await waiting(world, "Production")
        world.github.actions.deleted_refs.add("feature")
        world.github.rename_repository(REPOSITORY, "acme/shop")
        newer = await world.github.create_deployment(
            "acme/shop", environment="production", required_contexts=[]
        )
        await world.phase(newer.id, "queued")
        closed.open = True
        status = await world.github.wait_for(branch.id, "error", within=20)
        assert status.description == (
            "GitHub has no branch or tag 'feature' (any more) to dispatch 'deploy.yml' on; deploy"
            " another, or set `ref` in deploy.yml"
        )
        await world.github.wait_for(newer.id, "success", within=20)
        # Another spelling and another name are the same environment of the same repository.
        assert world.github.states(older.id)[-1] == "inactive"
        descriptions = [one.description for one in world.github.statuses(older.id)]
        assert f"Superseded by deployment {newer.id} (main)" in descriptions


async def test_a_transfer_does_not_lead_past_the_gates_of_the_old_name(
    store_url: str, tmp_path: Path
) -> None:
    """Unless deploy.yml itself has the new name."""
    deploy_yml = """
envs:
  - name: production
    repos: ["acme/*"]
    handler: command
    review: {enabled: true, reviewers: [octocat, hubot]}
    with: {run: ["true"]}
  - name: production
    repos: [newco/named, newco/*]
    handler: command
    with: {run: ["true"]}
"""
    async with live(store_url, tmp_path, deploy_yml) as world:
        await world.deploy("production")
        await until(lambda: world.rows("select 1 from deployments where waiting") or None)
        world.github.rename_repository(REPOSITORY, "newco/shop")
        world.github.add_installation("newco", ["newco/shop"])
        moved = await world.github.create_deployment(
            "newco/shop", environment="production", required_contexts=[]
        )
        said = "acme/site is now newco/shop, which deploy.yml gives other gates (no known end)."
        await until(
            lambda: any(said in one.description for one in world.github.statuses(moved.id)) or None
        )
        assert world.rows("select 1 from deployments where started_at is not null") == []
        world.github.rename_repository("newco/shop", "newco/named")
        named = await world.github.create_deployment(
            "newco/named", environment="production", required_contexts=[]
        )
        await world.github.wait_for(named.id, "success")

"""Whose deployments the relay takes: Apps that deploy by themselves are left alone."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from sandbox.github.model import Json
from tests.world import DEPLOY_YML, World, live
from webhook.__main__ import main

OTHERS = """
  - name: site
    creators: [vercel, mona]
    handler: command
    serialization: false
    with: {run: ["true"]}
"""


async def test_what_another_app_made_is_left_alone(world: World) -> None:
    vercel = world.github.add_user("vercel[bot]")
    routed = await world.deploy("Production", by=vercel)
    unrouted = await world.deploy("nowhere", by=vercel)
    for deployment in (routed, unrouted):
        await world.github.create_status(deployment.id, "in_progress", by=vercel)
        await world.github.create_status(deployment.id, "success", by=vercel)
    await world.idle()
    assert not any(s.by_app for d in (routed, unrouted) for s in world.github.statuses(d.id))
    assert not world.messages()
    reasons = world.delivery_outcomes()["ignored"]
    assert len(reasons) == 6
    assert all("created by the App 'vercel'" in reason for reason in reasons)
    assert not world.rows("select 1 from deployments")
    # Whoever expects them to be deployed finds the remedy.
    environ = {**world.setup.environ, "GITPLOY_STORE_SOURCE": world.store_url}
    listed = await asyncio.to_thread(CliRunner().invoke, main, ["deliveries"], env=environ)
    assert listed.stdout.count("'creators' in deploy.yml do not name it") == 2


async def test_an_environment_names_whose_deployments_it_takes(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, DEPLOY_YML + OTHERS) as world:
        vercel, pages, mona = map(
            world.github.add_user, ("vercel[bot]", "github-pages[bot]", "Mona")
        )
        taken = [await world.deploy("site", by=by) for by in (vercel, mona)]
        left = [await world.deploy("site", by=by) for by in (world.sandbox.user, pages)]
        for deployment in taken:
            await world.github.wait_for(deployment.id, "success")
        await world.idle()
        assert not any(world.github.statuses(deployment.id) for deployment in left)
        reasons = " ".join(world.delivery_outcomes()["ignored"])
        assert "created by the user 'octocat'" in reasons
        assert "created by the App 'github-pages'" in reasons


@pytest.mark.parametrize("watched", [False, True])
async def test_github_actions_deploys_and_is_watched_as_before(
    world: World, *, watched: bool
) -> None:
    actions = world.github.add_user("github-actions[bot]")
    run: Json | None = {} if watched else None
    deployment = await world.deploy("production", by=actions, workflow_run=run)
    await world.idle()
    ran = any(status.by_app for status in world.github.statuses(deployment.id))
    assert ran is not watched
    assert len(world.messages()) == 1

"""Slack in rare moments: lost responses, changed settings, tokens revoked during a deployment."""

import asyncio
import time
from pathlib import Path

import psycopg
import pytest

from sandbox.faults import Fault
from sandbox.sandbox import Sandbox
from sandbox.slack.screen import render
from tests.scenarios.all_tools import ENVIRONMENTS, relay_with_tools
from tests.slack.actions.test_cancel import cancel, description
from tests.slack.install.installing import browser
from tests.world import RECURRING, World, live, until
from webhook import startup

POST = "POST /chat.postMessage"
DEPLOY_YML = """
envs:
  - name: "*"
    handler: command
    with: {run: ["true"]}
    slack: {channel: CHANNEL}
"""


def deploy_yml(channel: str, more: str = "") -> str:
    return DEPLOY_YML.replace("CHANNEL", f'"{channel}"{more}')


async def restarted(world: World, folder: Path, text: str) -> None:
    """The workers, with another deploy.yml."""
    await world.stop_workers()
    (folder / "deploy.yml").write_text(text)
    world.setup = startup.set_up(world.setup.environ)
    world.start_worker()


async def hurry(world: World, since: str = "now()") -> None:
    """What waits to be tried again is tried now; what is under way ends first."""
    under_way = "select 1 from schedule where claimed_by is not null"
    await until(lambda: not world.rows(under_way) or None)

    def change() -> None:
        with psycopg.connect(world.store_url) as connection:
            connection.execute(f"update deployments set phase_at = {since}")
            connection.execute("update schedule set due_at = now() where claimed_by is null")

    # In a thread: a worker that has locked a row continues in this one.
    await asyncio.to_thread(change)


async def test_a_lost_response_is_remembered_through_other_errors(
    store_url: str, tmp_path: Path
) -> None:
    sandbox = Sandbox()
    text = deploy_yml(sandbox.deploys.id)
    async with live(store_url, tmp_path, text, sandbox=sandbox) as world:
        world.slack.faults.add(POST, Fault.drop_after())
        await world.deploy(workflow_run={})
        await until(lambda: world.messages() or None)
        world.slack.auth_error = "account_inactive"
        rejected = "select 1 from outbox where starts_with(error, 'Slack returned')"
        await until(lambda: world.rows(rejected) or None)
        world.slack.auth_error = ""
        await restarted(world, tmp_path, text)
        await hurry(world)
        await until(lambda: not world.rows(rejected) or None)
        assert len(world.messages()) == 1


async def test_after_a_day_of_rejections_delivery_is_given_up(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, deploy_yml("#deploys")) as world:
        deployment = await world.deploy(workflow_run={})
        await until(lambda: world.messages() or None)
        await world.idle()
        world.slack.channel("#deploys").archived = True
        await world.github.create_status(deployment.id, "success")
        rejected = "select 1 from outbox where purpose = 'reply' and state = 'rejected'"
        await until(lambda: world.rows(rejected) or None)
        await hurry(world, "now() - interval '25 hours'")
        left = f"select 1 from schedule where not {RECURRING}"
        await until(lambda: not world.rows(left) or None)


async def test_another_channel_gets_no_message_about_a_finished_deployment(
    store_url: str, tmp_path: Path
) -> None:
    sandbox = Sandbox(interactive=True)
    sandbox.slack.add_channel("releases")
    text = deploy_yml("#releases", ', failures: "#oncall"')
    async with live(store_url, tmp_path, deploy_yml("#deploys"), sandbox=sandbox) as world:
        failed = await world.deploy("a", workflow_run={})
        await world.github.create_status(failed.id, "failure")
        await world.phase(failed.id, "failure")
        in_progress = await world.deploy("b", workflow_run={})
        await until(lambda: True if len(world.messages()) == 2 else None)
        await world.idle()
        await restarted(world, tmp_path, text)
        await world.deploy("a", workflow_run={})
        await until(lambda: world.messages("#releases") or None)
        # What began elsewhere is kept up to date there.
        await world.github.create_status(in_progress.id, "success")
        await until(lambda: True if "succeeded" in render(world.messages()[1]) else None)
        assert not any("failed" in message.text for message in world.messages("#releases"))
        assert world.slack.messages("#oncall") == []


@pytest.mark.slow
async def test_a_reply_that_waits_does_not_hide_what_comes_after_it(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, deploy_yml("#deploys")) as world:
        deployment = await world.deploy(workflow_run={})
        await until(lambda: world.messages() or None)
        world.slack.faults.add(POST, Fault.rate_limited(2), times=100)
        await world.github.create_status(deployment.id, "in_progress")
        await until(lambda: world.rows("select 1 from rate_limits where epoch > 0") or None)
        world.slack.faults.clear()
        await restarted(world, tmp_path, deploy_yml("#deploys", ", only: failures"))
        await world.github.create_status(deployment.id, "failure", description="it broke")
        shown = await until(lambda: [r for r in world.replies() if r.broadcast] or None)
        assert "it broke" in render(shown[0])


@pytest.mark.slow
async def test_a_token_that_expired_early_is_refreshed(store_url: str, tmp_path: Path) -> None:
    sandbox = Sandbox(oauth=True)
    sandbox.slack.app.rotates = True
    text = deploy_yml("#deploys")
    async with live(store_url, tmp_path, text, sandbox=sandbox) as world, browser() as person:
        await person.install(world)
        await world.deployed()
        for token in world.slack.workspace.tokens:
            token.expires = time.time() - 1
        await world.deployed()
        assert len(world.messages()) == 2
        assert world.rows("select 1 from slack_installations where error <> ''") == []


async def test_the_end_of_one_workspace_does_not_silence_the_other(
    store_url: str, tmp_path: Path
) -> None:
    sandbox = Sandbox(oauth=True, interactive=True)
    other = sandbox.slack.add_workspace("Other")
    other.add_channel("deploys")
    text = deploy_yml("#deploys")
    async with live(store_url, tmp_path, text, sandbox=sandbox) as world, browser() as person:
        await person.install(world)
        await world.slack.workspace.uninstall()
        await person.install(world, other)
        await world.deployed()
        assert any("succeeded" in message.text for message in other.messages("#deploys"))


async def test_a_cancel_says_that_a_start_may_have_got_through(
    store_url: str, tmp_path: Path
) -> None:
    async with relay_with_tools(store_url, tmp_path, takes=60, interactive=True) as (world, tools):
        tools.tooling.faults.add("POST *", Fault.drop_after(), times=3)
        deployment = await world.deploy(ENVIRONMENTS["endpoint"], ref="v1")
        await until(lambda: tools.started("endpoint") or None)
        await cancel(world)
        visible = await description(world, deployment.id)
        assert "an earlier start may have got through; its run may go on" in visible

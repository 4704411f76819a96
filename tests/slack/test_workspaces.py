"""Workspaces are removed and added: deployments continue, and missed messages are sent later."""

from pathlib import Path

import pytest

from sandbox.faults import Fault
from sandbox.sandbox import Sandbox
from sandbox.slack.screen import render
from tests.slack.install.installing import browser
from tests.world import World, live, until
from webhook.check.run import check

DEPLOY_YML = """
envs:
  - name: "*"
    handler: command
    with: {run: ["true"]}
    slack:
      - {channel: "#deploys"}
"""


async def checked(world: World) -> str:
    lines: list[str] = []
    environ = {**world.setup.environ, "GITPLOY_STORE_SOURCE": world.store_url}
    await check(environ, lines.append)
    return "\n".join(lines)


@pytest.mark.slow
async def test_a_workspace_gets_the_missed_messages_after_reinstalling(
    store_url: str, tmp_path: Path
) -> None:
    sandbox = Sandbox(oauth=True, interactive=True)
    async with live(store_url, tmp_path, DEPLOY_YML, sandbox=sandbox) as world:
        first = await world.deployed()
        assert world.messages() == []
        expected = "installed in no workspace; run: python -m webhook slack install-link"
        assert expected in await world.page(first.id)
        assert expected in await checked(world)

        async with browser() as person:
            await person.install(world)
            [message] = await until(lambda: world.messages() or None)
            assert "succeeded" in render(message)
            assert "the bot is @relay in Acme (T" in await checked(world)

            # The token is used until the relay receives the event of its revocation.
            await world.idle()
            calls = len(world.slack.calls)
            await world.slack.workspace.uninstall()
            second = await world.deployed()
            assert len(world.slack.calls) == calls
            gone = "install it again (python -m webhook slack install-link)"
            assert gone in await world.page(second.id)
            assert gone in await checked(world)

            await person.install(world)
            messages = await until(lambda: world.messages() if len(world.messages()) == 2 else None)
            await until(lambda: True if "succeeded" in render(messages[1]) else None)
            assert gone not in await checked(world)
            await world.idle()

            # No event: the relay learns it from Slack's response.
            world.slack.events_url = ""
            await world.slack.workspace.revoke()
            third = await world.deployed()
            assert "token_revoked" in await world.page(third.id)
            calls = len(world.slack.calls)
            await world.deployed()
            assert len(world.slack.calls) == calls


async def test_a_workspace_whose_token_slack_rejects_once_is_not_lost(
    store_url: str, tmp_path: Path
) -> None:
    sandbox = Sandbox(oauth=True)
    async with (
        live(store_url, tmp_path, DEPLOY_YML, sandbox=sandbox) as world,
        browser() as person,
    ):
        await person.install(world)
        world.slack.faults.add("POST /chat.postMessage", Fault.slack("invalid_auth"))
        await world.deploy()
        await until(lambda: world.messages() or None)
        assert len(world.slack.faults.fired) == 1
        assert world.rows("select 1 from slack_installations where error <> ''") == []


async def test_with_several_workspaces_deploy_yml_names_one(store_url: str, tmp_path: Path) -> None:
    sandbox = Sandbox(oauth=True)
    other = sandbox.slack.add_workspace("Other")
    other.add_channel("deploys")
    deploy_yml = f'{DEPLOY_YML}      - {{workspace: {other.id}, channel: "#deploys"}}\n'
    async with (
        live(store_url, tmp_path, deploy_yml, sandbox=sandbox) as world,
        browser() as person,
    ):
        await person.install(world)
        await person.install(world, other)
        deployment = await world.deployed()
        assert world.messages() == []
        [*_, message] = [m for m in other.messages("#deploys") if not m.is_reply]
        assert "succeeded" in render(message)
        expected = "installed in several workspaces"
        assert expected in await world.page(deployment.id)
        output = await checked(world)
        assert "name the workspace of #deploys" in output

"""Slack is slow, down or rejects: the deployment continues, and the error is shown."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic

import pytest

from sandbox.faults import Fault
from sandbox.sandbox import Sandbox
from sandbox.slack.model import Channel, Message
from sandbox.slack.screen import render
from tests.world import DEPLOY_YML, World, live

POST = "POST /chat.postMessage"
EDIT = "POST /chat.update"


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path) as world:
        yield world


@pytest.mark.slow
@pytest.mark.parametrize("call", [POST, EDIT])
async def test_slack_still_gets_the_final_state(store_url: str, tmp_path: Path, call: str) -> None:
    unclear = [Fault.drop_before(), Fault.status(500), Fault.slack("fatal_error")]
    sandbox = Sandbox()
    deploy_yml = DEPLOY_YML.replace('"#deploys"', f'"{sandbox.deploys.id}"')
    async with live(store_url, tmp_path, deploy_yml, sandbox=sandbox) as world:
        for fault in (*unclear, Fault.rate_limited(1)):
            world.slack.faults.add(call, fault, times=2)
        requested = [await world.deploy() for _ in range(4)]
        for deployment in requested:
            await world.github.wait_for(deployment.id, "success", within=20)
        await world.idle()
        messages = world.messages()
        assert len(messages) == len(requested)
        assert all("succeeded" in render(message) for message in messages)
        assert len(world.slack.faults.fired) == 8


async def test_a_slack_that_posts_and_fails_is_not_posted_to_for_ever(world: World) -> None:
    """The bot cannot search a channel that it knows by name only."""
    world.slack.faults.add(POST, Fault.status(503, acts=True), times=100)
    await world.deployed()
    assert len(world.messages()) == 2


async def test_githubs_part_does_not_wait_for_slack(world: World) -> None:
    world.slack.faults.add("POST /*", Fault.hang(30), times=5)
    deployment = await world.deploy()
    await world.github.wait_for(deployment.id, "success", within=25)
    assert world.messages() == []
    await world.slack.stop()  # or the worker waits for it at its end


@pytest.mark.slow
async def test_a_slack_that_hangs_does_not_use_up_the_worker(world: World) -> None:
    world.slack.faults.add("POST /*", Fault.hang(60), times=1000)
    began = monotonic()
    requested = [await world.deploy() for _ in range(24)]
    for deployment in requested:
        await world.github.wait_for(deployment.id, "success", within=40)
    # Eight at a time, given up after ten seconds each.
    assert 0 < len(world.slack.calls) <= 8 * (2 + (monotonic() - began) // 10)
    await world.slack.stop()


async def test_a_post_whose_response_was_lost_is_found_again(
    store_url: str, tmp_path: Path
) -> None:
    """Needs channels:history and a channel given by its id, or one that was posted to before."""
    sandbox = Sandbox()
    deploy_yml = DEPLOY_YML.replace('"#deploys"', f'"{sandbox.deploys.id}"')
    async with live(store_url, tmp_path, deploy_yml, sandbox=sandbox) as world:
        world.slack.faults.add(POST, Fault.drop_after())
        world.slack.on_change.append(_many_messages_follow(world))
        await world.deployed()
        [message] = [m for m in world.messages() if m.user != "U0HUMAN"]
        assert "succeeded" in render(message)


def _many_messages_follow(world: World) -> Callable[[Channel, Message], None]:
    """By others, before a worker can search for the post: more than one page of the history."""

    def talk(channel: Channel, message: Message) -> None:
        if message.user != "U0HUMAN" and len(channel.messages) == 1:
            for number in range(250):
                world.slack.add_message(channel.id, f"Something else, {number}")

    return talk


@pytest.mark.slow
async def test_a_reply_whose_response_was_lost_is_found_again(world: World) -> None:
    await world.deployed()  # from now on the id of #deploys is known
    deployment = await world.deploy("broken")
    await world.phase(deployment.id, "in_progress", "failure")
    world.slack.faults.add(POST, Fault.drop_after(), times=2)
    await world.github.wait_for(deployment.id, "failure", within=20)
    await world.idle(within=40)
    assert len([reply for reply in world.replies() if reply.broadcast]) == 1


async def test_a_deleted_message_is_posted_again(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    deployment = await world.begin_slow(gate)
    await world.github.wait_for(deployment.id, "in_progress")
    world.slack.channel("#deploys").messages.clear()
    gate.touch()
    await world.github.wait_for(deployment.id, "success", within=20)
    await world.idle()
    [message] = world.messages()
    assert "succeeded" in render(message)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("not_in_channel", "/invite @relay in #deploys"),
        ("is_archived", "#deploys is archived"),
    ],
)
async def test_a_channel_that_cannot_be_posted_to_is_named_on_the_page(
    world: World, error: str, expected: str
) -> None:
    channel = world.slack.channel("#deploys")
    channel.member = error != "not_in_channel"
    channel.archived = error == "is_archived"
    deployment = await world.deployed()
    assert world.github.states(deployment.id)[-1] == "success"
    assert expected in await world.page(deployment.id)


@pytest.mark.parametrize("error", ["token_revoked", "account_inactive", "invalid_auth"])
async def test_a_dead_token_does_not_stop_deployments(world: World, error: str) -> None:
    world.slack.auth_error = error
    deployment = await world.deployed()
    assert world.github.states(deployment.id) == ["queued", "in_progress", "success"]
    assert error in await world.page(deployment.id)
    assert world.messages() == []


@pytest.mark.slow
async def test_only_the_newest_state_is_sent_when_slack_was_slow(world: World) -> None:
    world.slack.faults.add(EDIT, Fault.rate_limited(3))
    await world.deployed()
    [message] = world.messages()
    assert message.edits == 1
    assert "succeeded" in render(message)


async def test_text_from_outside_cannot_mention_or_link(world: World) -> None:
    deployment = await world.deploy(
        "production", ref="<!channel>&<https://evil.example|click>", description="<!here>"
    )
    await world.github.wait_for(deployment.id, "success", "error", "failure", within=20)
    await world.idle()
    [message, *_] = world.messages()
    written = str(message.blocks) + message.text
    assert "<!channel>" not in written
    assert "|click>" not in written
    assert "&lt;!channel&gt;" in written

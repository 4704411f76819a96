"""What Slack rejects because of its form or its thread is shown in another form or place."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest

from sandbox.faults import Fault
from sandbox.slack.model import Message
from sandbox.slack.screen import render
from tests.world import World, live, until

POST, EDIT = "POST /chat.postMessage", "POST /chat.update"


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path) as world:
        yield world


async def in_progress(world: World) -> Message:
    """The message, as soon as it says so."""
    found: Message = await until(
        lambda: next((one for one in world.messages() if "in progress" in one.text), None)
    )
    return found


async def test_what_slack_rejects_because_of_its_blocks_is_shown_as_text(world: World) -> None:
    world.slack.unsupported_blocks = {"context", "section"}
    deployment = await world.deployed("broken")
    [message] = world.messages()
    assert message.blocks == []
    assert "acme/site to broken failed" in render(message)
    assert "Logs" in render(message)
    [alert] = world.messages("#oncall")
    assert "the disk is full" in render(alert)
    [*_, shown] = [reply for reply in world.replies() if reply.broadcast]
    assert "failed" in render(shown)
    assert "unsupported type: section [json-pointer:/blocks/0/type]" in await world.page(
        deployment.id
    )


async def test_a_message_sent_as_text_is_edited_and_gets_its_blocks_back(
    world: World, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    world.slack.unsupported_blocks = {"section"}
    deployment = await world.begin_slow(gate)
    message = await in_progress(world)
    assert not message.blocks
    assert "in a simpler form" in await world.page(deployment.id)

    edits, world.slack.unsupported_blocks = message.edits, set()
    gate.touch()
    await world.github.wait_for(deployment.id, "success")
    await world.idle()
    [message] = world.messages()
    assert message.edits > edits
    assert "succeeded" in render(message)
    assert message.blocks
    [kept] = world.rows("select error from outbox where purpose = 'main'")
    assert kept["error"] == ""


async def test_an_edit_whose_form_is_rejected_removes_the_old_blocks(
    world: World, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    deployment = await world.begin_slow(gate)
    assert (await in_progress(world)).blocks
    world.slack.faults.add(EDIT, Fault.slack("msg_blocks_too_long"))
    gate.touch()
    await world.github.wait_for(deployment.id, "success")
    await world.idle()
    [message] = world.messages()
    assert message.blocks == []
    assert "succeeded" in render(message)


Thread = Literal["locked", "impossible"]


@pytest.mark.parametrize("thread", ["locked", "impossible"])
async def test_a_failure_that_its_thread_does_not_accept_is_shown_in_the_channel(
    world: World, thread: Thread
) -> None:
    def close(_: Any, message: Any) -> None:
        message.thread = thread

    world.slack.on_change.append(close)
    await world.deployed("broken")
    assert world.replies() == []
    main, failure = world.messages()
    assert "failed" in render(main)
    assert "the disk is full" in render(failure)


async def test_a_channel_without_threads_shows_failures_and_names_the_remedy(world: World) -> None:
    world.slack.channel("#deploys").restriction = "non_threadable_channel"
    deployment = await world.deployed("broken")
    assert len(world.messages()) == 2
    shown = await world.page(deployment.id)
    assert "Slack: sent to #deploys in another form or place" in shown
    assert "accepts no replies in threads; allow them" in shown

"""What people do in the stand-in for Slack reaches the App as Slack would send it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.slack.model import EphemeralMessage, Message, User
from sandbox.slack.server import Slack
from tests.sandbox.slack_receiver import Receiver

PLAIN = {"type": "plain_text", "text": "Cancel"}
CANCEL = {"type": "button", "action_id": "cancel", "text": PLAIN, "value": "7", "style": "danger"}
BLOCKS: list[dict[str, Any]] = [
    {"type": "section", "text": {"type": "mrkdwn", "text": "running"}},
    {"type": "actions", "block_id": "acts", "elements": [CANCEL]},
]


@pytest.fixture
async def app(slack: Slack) -> AsyncIterator[Receiver]:
    async with Receiver(slack) as receiver:
        yield receiver


@pytest.fixture
def ada(slack: Slack) -> User:
    return slack.add_user("ada", "ada@acme.test")


@pytest.fixture
async def message(slack: Slack, bot: AsyncWebClient) -> Message:
    await bot.chat_postMessage(channel="deploys", text="running", blocks=BLOCKS)
    return slack.messages("deploys")[0]


async def answer_to(url: str, **said: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.post(url, json=said) as response:
        return response.status, await response.text()


async def test_the_payload_of_a_press_has_user_button_and_message(
    slack: Slack, app: Receiver, message: Message, ada: User
) -> None:
    answer = await slack.press(message, "cancel", ada)
    assert (answer.status, answer.error, answer.timed_out) == (200, "", False)
    [said] = app.got
    assert said["type"] == "block_actions"
    assert said["user"] == {
        "id": ada.id,
        "username": "ada",
        "name": "ada",
        "team_id": slack.bot.team_id,
    }
    assert said["api_app_id"] == slack.app.id
    assert said["team"] == {"id": slack.bot.team_id, "domain": "acme"}
    assert said["channel"] == {"id": "C00000001", "name": "deploys"}
    assert said["container"] == {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": "C00000001",
        "is_ephemeral": False,
    }
    assert said["message"]["blocks"] == BLOCKS
    [action] = said["actions"]
    assert action.pop("action_ts") > message.ts
    assert action == CANCEL | {"block_id": "acts"}
    assert said["response_url"].startswith(slack.url)
    assert said["trigger_id"]


async def test_only_a_button_that_is_there_can_be_pressed(
    slack: Slack, app: Receiver, bot: AsyncWebClient, message: Message, ada: User
) -> None:
    place = ("deploys", message.ts)
    assert slack.button(place, "cancel")["style"] == "danger"
    await bot.chat_update(channel="C00000001", ts=message.ts, text="done")
    with pytest.raises(LookupError, match="no button cancel"):
        await slack.press(place, "cancel", ada)
    slack.delete("deploys", message)
    for gone in (place, message):
        with pytest.raises(LookupError):
            await slack.press(gone, "cancel", ada)
    assert app.got == []


async def test_a_double_click_sends_two_and_a_redelivery_the_same(
    slack: Slack, app: Receiver, message: Message, ada: User
) -> None:
    answer = await slack.press(message, "cancel", ada, times=2)
    assert [twin.status for twin in answer.duplicates] == [200]
    assert len({said["trigger_id"] for said in app.got}) == 2
    again = await slack.redeliver(answer)
    assert again.delivery is answer.delivery
    assert app.raw[2] in app.raw[:2]


async def test_a_late_app_and_a_broken_one_have_different_errors(
    slack: Slack, app: Receiver, message: Message, ada: User
) -> None:
    app.status = 500
    broken = await slack.press(message, "cancel", ada)
    assert (broken.status, broken.error) == (500, "dispatch_failed")
    app.waits, slack.response_timeout = 5, 0.05
    late = await slack.press(message, "cancel", ada)
    assert (late.status, late.error, late.timed_out) == (None, "operation_timeout", True)
    assert 0.05 <= late.seconds < 1
    await app.stop()
    assert (await slack.press(message, "cancel", ada)).error == "dispatch_failed"


async def test_a_response_url_can_be_used_five_times(
    slack: Slack, app: Receiver, message: Message, ada: User
) -> None:
    await slack.press(message, "cancel", ada)
    url = app.got[0]["response_url"]
    assert await answer_to(url, text="only you") == (200, "ok")
    assert slack.ephemeral_messages == [
        EphemeralMessage(ada.id, "C00000001", "only you", ts=slack.ephemeral_messages[0].ts)
    ]
    in_thread = {"response_type": "in_channel", "thread_ts": message.ts}
    assert await answer_to(url, text="all", **in_thread) == (200, "ok")
    assert slack.messages("deploys")[-1].thread_ts == message.ts
    assert await answer_to(url, text="edited", replace_original=True) == (200, "ok")
    assert (message.text, message.blocks, message.edits) == ("edited", [], 1)
    wrong = await answer_to(url, text="a", blocks=[{"type": "shout"}])
    assert wrong[0] == 400
    assert await answer_to(url, text="four") == (200, "ok")
    assert await answer_to(url, delete_original=True) == (200, "ok")
    assert message not in slack.messages("deploys")
    assert await answer_to(url, text="six") == (404, "used_url")


async def test_a_response_url_expires(
    slack: Slack, app: Receiver, message: Message, ada: User
) -> None:
    await slack.press(message, "cancel", ada)
    slack.response_url_lifetime = 0
    assert await answer_to(app.got[0]["response_url"], text="a") == (404, "expired_url")
    assert (await answer_to(f"{slack.url}/response/unknown", text="a"))[0] == 404
    assert slack.ephemeral_messages == []


async def test_a_command_is_a_form_and_its_response_is_shown(
    slack: Slack, app: Receiver, ada: User
) -> None:
    app.says = {"text": "started"}
    answer = await slack.command("/deploy", "acme/site production", ada, "#deploys")
    assert answer.document == {"text": "started"}
    [said] = app.got
    for name in ("response_url", "trigger_id", "token"):
        assert said.pop(name)
    assert said == {
        "team_id": slack.bot.team_id,
        "team_domain": "acme",
        "channel_id": "C00000001",
        "channel_name": "deploys",
        "user_id": ada.id,
        "user_name": "ada",
        "command": "/deploy",
        "text": "acme/site production",
        "api_app_id": slack.app.id,
        "is_enterprise_install": "false",
    }
    assert [(w.user, w.text) for w in slack.ephemeral_messages] == [(ada.id, "started")]
    app.says = None
    await slack.command("/deploy", "", ada)
    assert len(slack.ephemeral_messages) == 1


async def test_a_button_in_an_ephemeral_message_can_be_pressed(
    slack: Slack, app: Receiver, ada: User
) -> None:
    app.says = {"text": "sure?", "blocks": BLOCKS}
    await slack.command("/deploy", "", ada)
    [ephemeral] = slack.ephemeral_messages
    app.says = None
    await slack.press(ephemeral, "cancel", ada)
    pressed = app.got[1]
    assert pressed["container"]["is_ephemeral"] is True
    assert "message" not in pressed
    replaced = await answer_to(pressed["response_url"], text="done", replace_original=True)
    assert (replaced[0], ephemeral.text, ephemeral.blocks) == (200, "done", [])
    await answer_to(pressed["response_url"], delete_original=True)
    assert slack.ephemeral_messages == slack.channel("deploys").ephemeral_messages == []


async def test_events_have_an_envelope_and_are_repeated(slack: Slack, app: Receiver) -> None:
    answer = await slack.event({"type": "app_home_opened"})
    assert answer.status == 200
    again = await slack.redeliver(answer, retry=1, reason="http_timeout")
    first, second = app.got
    assert again.status == 200
    assert first == second
    assert (first["type"], first["team_id"]) == ("event_callback", slack.bot.team_id)
    assert (first["api_app_id"], first["event"]["type"]) == (slack.app.id, "app_home_opened")
    assert first["event_id"].startswith("Ev")
    headers = app.raw[1][1]
    assert headers["X-Slack-Retry-Num"] == "1"
    assert headers["X-Slack-Retry-Reason"] == "http_timeout"


async def test_the_events_url_is_verified(slack: Slack, app: Receiver) -> None:
    answer = await slack.verify_events_url()
    assert answer.document == {"challenge": app.got[0]["challenge"]}
    assert app.got[0]["type"] == "url_verification"


async def test_an_uninstallation_sends_events(slack: Slack, app: Receiver) -> None:
    beta = slack.add_workspace("Beta")
    await asyncio.gather(beta.uninstall(), slack.workspace.revoke())
    told = {(said["team_id"], said["event"]["type"]) for said in app.got}
    assert told == {
        (beta.id, "tokens_revoked"),
        (beta.id, "app_uninstalled"),
        (slack.bot.team_id, "tokens_revoked"),
    }
    revoked = [s["event"] for s in app.got if s["event"]["type"] == "tokens_revoked"]
    assert {tuple(event["tokens"]["bot"]) for event in revoked} == {
        (beta.bot.user,),
        (slack.bot.user,),
    }

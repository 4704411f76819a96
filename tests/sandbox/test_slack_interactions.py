"""What users do in the stand-in for Slack is sent to the App as Slack sends it."""

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


async def post_response(url: str, **payload: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.post(url, json=payload) as response:
        return response.status, await response.text()


async def test_the_payload_of_a_press_has_user_button_and_message(
    slack: Slack, app: Receiver, message: Message, ada: User
) -> None:
    response = await slack.press(message, "cancel", ada)
    assert (response.status, response.error, response.timed_out) == (200, "", False)
    [payload] = app.received
    assert payload["type"] == "block_actions"
    assert payload["user"] == {
        "id": ada.id,
        "username": "ada",
        "name": "ada",
        "team_id": slack.bot.team_id,
    }
    assert payload["api_app_id"] == slack.app.id
    assert payload["team"] == {"id": slack.bot.team_id, "domain": "acme"}
    assert payload["channel"] == {"id": "C00000001", "name": "deploys"}
    assert payload["container"] == {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": "C00000001",
        "is_ephemeral": False,
    }
    assert payload["message"]["blocks"] == BLOCKS
    [action] = payload["actions"]
    assert action.pop("action_ts") > message.ts
    assert action == CANCEL | {"block_id": "acts"}
    assert payload["response_url"].startswith(slack.url)
    assert payload["trigger_id"]


async def test_only_a_button_that_is_there_can_be_pressed(
    slack: Slack, app: Receiver, bot: AsyncWebClient, message: Message, ada: User
) -> None:
    target = ("deploys", message.ts)
    assert slack.button(target, "cancel")["style"] == "danger"
    await bot.chat_update(channel="C00000001", ts=message.ts, text="done")
    with pytest.raises(LookupError, match="no button cancel"):
        await slack.press(target, "cancel", ada)
    slack.delete("deploys", message)
    for gone in (target, message):
        with pytest.raises(LookupError):
            await slack.press(gone, "cancel", ada)
    assert app.received == []


async def test_a_double_click_sends_two_and_a_redelivery_the_same(
    slack: Slack, app: Receiver, message: Message, ada: User
) -> None:
    response = await slack.press(message, "cancel", ada, times=2)
    assert [duplicate.status for duplicate in response.duplicates] == [200]
    assert len({payload["trigger_id"] for payload in app.received}) == 2
    again = await slack.redeliver(response)
    assert again.delivery is response.delivery
    assert app.raw[2] in app.raw[:2]


async def test_a_late_app_and_a_broken_one_have_different_errors(
    slack: Slack, app: Receiver, message: Message, ada: User
) -> None:
    app.status = 500
    broken = await slack.press(message, "cancel", ada)
    assert (broken.status, broken.error) == (500, "dispatch_failed")
    app.delay, slack.response_timeout = 5, 0.05
    late = await slack.press(message, "cancel", ada)
    assert (late.status, late.error, late.timed_out) == (None, "operation_timeout", True)
    assert 0.05 <= late.seconds < app.delay
    await app.stop()
    assert (await slack.press(message, "cancel", ada)).error == "dispatch_failed"


async def test_a_response_url_can_be_used_five_times(
    slack: Slack, app: Receiver, message: Message, ada: User
) -> None:
    await slack.press(message, "cancel", ada)
    url = app.received[0]["response_url"]
    assert await post_response(url, text="only you") == (200, "ok")
    assert slack.ephemeral_messages == [
        EphemeralMessage(ada.id, "C00000001", "only you", ts=slack.ephemeral_messages[0].ts)
    ]
    in_thread = {"response_type": "in_channel", "thread_ts": message.ts}
    assert await post_response(url, text="all", **in_thread) == (200, "ok")
    assert slack.messages("deploys")[-1].thread_ts == message.ts
    assert await post_response(url, text="edited", replace_original=True) == (200, "ok")
    assert (message.text, message.blocks, message.edits) == ("edited", [], 1)
    wrong = await post_response(url, text="a", blocks=[{"type": "shout"}])
    assert wrong[0] == 400
    assert await post_response(url, text="four") == (200, "ok")
    assert await post_response(url, delete_original=True) == (200, "ok")
    assert message not in slack.messages("deploys")
    assert await post_response(url, text="six") == (404, "used_url")


async def test_a_response_url_expires(
    slack: Slack, app: Receiver, message: Message, ada: User
) -> None:
    await slack.press(message, "cancel", ada)
    slack.response_url_lifetime = 0
    assert await post_response(app.received[0]["response_url"], text="a") == (404, "expired_url")
    assert (await post_response(f"{slack.url}/response/unknown", text="a"))[0] == 404
    assert slack.ephemeral_messages == []


async def test_a_command_is_a_form_and_its_response_is_shown(
    slack: Slack, app: Receiver, ada: User
) -> None:
    app.response = {"text": "started"}
    response = await slack.command("/deploy", "acme/site production", ada, "#deploys")
    assert response.document == {"text": "started"}
    [payload] = app.received
    for name in ("response_url", "trigger_id", "token"):
        assert payload.pop(name)
    assert payload == {
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
    app.response = None
    await slack.command("/deploy", "", ada)
    assert len(slack.ephemeral_messages) == 1


async def test_a_button_in_an_ephemeral_message_can_be_pressed(
    slack: Slack, app: Receiver, ada: User
) -> None:
    app.response = {"text": "sure?", "blocks": BLOCKS}
    await slack.command("/deploy", "", ada)
    [ephemeral] = slack.ephemeral_messages
    app.response = None
    await slack.press(ephemeral, "cancel", ada)
    pressed = app.received[1]
    assert pressed["container"]["is_ephemeral"] is True
    assert "message" not in pressed
    replaced = await post_response(pressed["response_url"], text="done", replace_original=True)
    assert (replaced[0], ephemeral.text, ephemeral.blocks) == (200, "done", [])
    await post_response(pressed["response_url"], delete_original=True)
    assert slack.ephemeral_messages == slack.channel("deploys").ephemeral_messages == []


async def test_events_have_an_envelope_and_are_repeated(slack: Slack, app: Receiver) -> None:
    response = await slack.event({"type": "app_home_opened"})
    assert response.status == 200
    again = await slack.redeliver(response, retry=1, reason="http_timeout")
    first, second = app.received
    assert again.status == 200
    assert first == second
    assert (first["type"], first["team_id"]) == ("event_callback", slack.bot.team_id)
    assert (first["api_app_id"], first["event"]["type"]) == (slack.app.id, "app_home_opened")
    assert first["event_id"].startswith("Ev")
    headers = app.raw[1][1]
    assert headers["X-Slack-Retry-Num"] == "1"
    assert headers["X-Slack-Retry-Reason"] == "http_timeout"


async def test_the_events_url_is_verified(slack: Slack, app: Receiver) -> None:
    response = await slack.verify_events_url()
    assert response.document == {"challenge": app.received[0]["challenge"]}
    assert app.received[0]["type"] == "url_verification"


async def test_an_uninstallation_sends_events(slack: Slack, app: Receiver) -> None:
    beta = slack.add_workspace("Beta")
    await asyncio.gather(beta.uninstall(), slack.workspace.revoke())
    sent = {(payload["team_id"], payload["event"]["type"]) for payload in app.received}
    assert sent == {
        (beta.id, "tokens_revoked"),
        (beta.id, "app_uninstalled"),
        (slack.bot.team_id, "tokens_revoked"),
    }
    revoked = [s["event"] for s in app.received if s["event"]["type"] == "tokens_revoked"]
    assert {tuple(event["tokens"]["bot"]) for event in revoked} == {
        (beta.bot.user,),
        (slack.bot.user,),
    }

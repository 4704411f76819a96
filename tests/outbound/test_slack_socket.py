"""Socket Mode: Slack speaks through the relay's own connection, and the same comes of it."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.deployments.test_slack_actions import CONFIG
from tests.inbound.test_slack_answers import SETTINGS, rows
from webhook import logs
from webhook.outbound import slack_socket
from webhook.outbound.slack_socket import listen
from webhook.sandbox.faults import Fault
from webhook.sandbox.slack import Slack
from webhook.sandbox.slack_model import Message, User
from webhook.settings import SlackSettings
from webhook.store.database import sync_pool
from webhook.work.answer_intake import AnswerIntake

TEXT = {"type": "plain_text", "text": "Retry"}
BUTTON = {"type": "button", "action_id": "retry", "text": TEXT, "value": "7"}


@dataclass
class Listening:
    slack: Slack
    ada: User
    store_url: str
    intake: AnswerIntake
    away: bool = False
    heard: list[str] = field(default_factory=list)

    async def on_envelope(self, kind: str, payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        self.heard.append(kind)
        if self.away:
            raise ConnectionError("the store is away")
        return await asyncio.to_thread(self.intake.envelope, kind, payload)

    def settings(self) -> SlackSettings:
        token, url = self.slack.app.app_token, self.slack.api_url
        return SlackSettings(
            client_id=None,
            client_secret=None,
            scopes=SETTINGS.scopes,
            bot_token=self.slack.token,
            signing_secret=None,
            app_token=token,
            base_url=url,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        listening = asyncio.create_task(listen(self.settings(), self.on_envelope))
        try:
            async with asyncio.timeout(10):
                await self.slack.sockets.connected()
            yield
            assert not listening.done()
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening

    def kept(self) -> int:
        return len(rows(self.store_url, "select 1 from actions"))

    def button(self) -> Message:
        workspace = self.slack.workspace
        blocks = [{"type": "actions", "elements": [BUTTON]}]
        said = Message(self.slack.clock.ts(), workspace.bot.user, "failed", blocks)
        return workspace.put(workspace.channel("deploys"), said)


@pytest.fixture
async def there(store_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listening]:
    monkeypatch.setattr(slack_socket, "SHORTEST_PAUSE", 0.05)
    async with Slack() as slack:
        slack.socket_mode = True
        slack.add_channel("deploys")
        with sync_pool(store_url, 2) as pool:
            yield Listening(slack, slack.add_user("ada"), store_url, AnswerIntake(pool, CONFIG))


async def test_what_people_do_is_kept_and_then_acknowledged(there: Listening) -> None:
    slack = there.slack
    async with there.running():
        pressed = await slack.press(there.button(), "retry", there.ada)
        assert (pressed.status, pressed.body, pressed.attempts) == (200, "", 1)
        assert there.kept() == 1
        # The same once more, as Slack does where it saw no acknowledgement.
        assert (await slack.redeliver(pressed)).status == 200
        assert there.kept() == 1
        asked = await slack.command("/deploy", "acme/site production", there.ada)
        assert asked.status == 200
        assert there.kept() == 2
        jobs = rows(there.store_url, "select task_name from procrastinate_jobs")
        assert [job["task_name"] for job in jobs] == ["answer"] * 2
        helped = await slack.command("/deploy", "acme/site nowhere", there.ada)
        assert "known: production" in helped.document["text"]
        assert (await slack.event({"type": "app_uninstalled"})).status == 200
        # What is not understood is acknowledged: it would only come again.
        del pressed.delivery.payload["user"]
        assert (await slack.redeliver(pressed)).status == 200
    assert there.heard == ["interactive"] * 2 + ["slash_commands"] * 2 + [
        "events_api",
        "interactive",
    ]


async def test_what_could_not_be_kept_is_not_acknowledged_and_comes_again(
    there: Listening,
) -> None:
    there.slack.patience = 0.3
    async with there.running():
        there.away = True
        lost = await there.slack.press(there.button(), "retry", there.ada)
        assert lost.timed_out
        assert there.heard == ["interactive"] * 2
        there.away = False
        again = await there.slack.press(there.button(), "retry", there.ada)
        assert again.status == 200
        assert there.kept() == 1


async def test_it_connects_again_whatever_happens_and_says_nothing_secret(
    there: Listening, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slack_socket, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(slack_socket, "WITHOUT_CONNECTION", 0.4)
    slack = there.slack
    log = io.StringIO()
    logs.set_up({slack.app.app_token}, log)
    slack.faults.add("POST /apps.connections.open", Fault.slack("invalid_auth"))
    slack.faults.add("POST /apps.connections.open", Fault.status(502))
    slack.faults.add("GET /link/*", Fault.status(403))
    async with there.running(), asyncio.timeout(10):
        assert (await slack.press(there.button(), "retry", there.ada)).status == 200
        await slack.sockets.disconnect()
        await slack.sockets.connected()
        assert (await slack.press(there.button(), "retry", there.ada)).status == 200
        await slack.sockets.drop()
        await slack.sockets.connected()
        assert (await slack.press(there.button(), "retry", there.ada)).status == 200
    assert there.kept() == 3
    said = caplog.text + log.getvalue()
    assert "set GITPLOY_SLACK_APP_TOKEN anew" in said
    assert slack.app.app_token not in said
    assert "ticket=" not in said

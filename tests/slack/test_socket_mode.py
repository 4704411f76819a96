"""Socket Mode: requests arrive through the relay's own connection, and have the same results."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.faults import Fault
from sandbox.sandbox import Sandbox
from sandbox.slack.model import Message, User
from sandbox.slack.server import Slack
from tests.slack.actions.test_http import rows
from tests.slack.actions.test_payloads import DEPLOY_YML
from webhook import logs, startup
from webhook.slack.actions import ACTIONS
from webhook.slack.socket_mode import listening
from webhook.startup import Setup
from webhook.store.database import connect
from webhook.timing import Timing

TEXT = {"type": "plain_text", "text": "Retry"}
BUTTON = {"type": "button", "action_id": "retry", "text": TEXT, "value": "7"}


@dataclass
class Listening:
    sandbox: Sandbox
    setup: Setup
    ada: User
    store_url: str
    timing: Timing

    @property
    def slack(self) -> Slack:
        return self.sandbox.slack

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with listening(
            self.setup.settings.slack,
            self.setup.config,
            self.store_url,
            actions=ACTIONS,
            timing=self.timing,
        ):
            async with asyncio.timeout(10):
                await self.slack.sockets.connected()
            yield

    def kept(self) -> int:
        return len(rows(self.store_url, "select 1 from actions"))

    def button(self) -> Message:
        workspace = self.slack.workspace
        blocks = [{"type": "actions", "elements": [BUTTON]}]
        sent = Message(self.slack.clock.ts(), workspace.bot.user, "failed", blocks)
        return workspace.publish(workspace.channel("deploys"), sent)


@pytest.fixture
async def there(store_url: str, tmp_path: Path) -> AsyncIterator[Listening]:
    timing = Timing(socket_retry_at_least=timedelta(seconds=0.05))
    config = tmp_path / "deploy.yml"
    config.write_text(DEPLOY_YML)
    async with Sandbox() as sandbox:
        sandbox.slack.socket_mode = True
        token = {"GITPLOY_SLACK_APP_TOKEN": sandbox.slack.app.app_token}
        setup = startup.set_up(sandbox.environ(tmp_path, config, 1) | token)
        yield Listening(sandbox, setup, sandbox.slack.add_user("ada"), store_url, timing)


async def test_what_people_do_is_kept_and_then_acknowledged(there: Listening) -> None:
    slack = there.slack
    async with there.running():
        pressed = await slack.press(there.button(), "retry", there.ada)
        assert (pressed.status, pressed.body, pressed.attempts) == (200, "", 1)
        assert there.kept() == 1
        # The same once more, as Slack does where it saw no acknowledgement.
        assert (await slack.redeliver(pressed)).status == 200
        assert there.kept() == 1
        response = await slack.command("/deploy", "acme/site production", there.ada)
        assert response.status == 200
        assert there.kept() == 2
        due = rows(there.store_url, "select task from schedule")
        assert [one["task"] for one in due] == ["run_action"] * 2
        helped = await slack.command("/deploy", "acme/site nowhere", there.ada)
        assert "known: production" in helped.document["text"]
        assert (await slack.event({"type": "app_uninstalled"})).status == 200
        # What is not understood is acknowledged: it would only come again.
        del pressed.delivery.payload["user"]
        assert (await slack.redeliver(pressed)).status == 200


async def test_what_could_not_be_kept_is_not_acknowledged_and_comes_again(
    there: Listening,
) -> None:
    there.slack.response_timeout = 0.3
    async with there.running():
        with connect(there.store_url) as connection, connection.transaction():
            connection.execute("lock table actions")
            lost = await there.slack.press(there.button(), "retry", there.ada)
            assert (lost.timed_out, lost.attempts) == (True, 2)
        again = await there.slack.redeliver(lost)
        assert again.status == 200
        assert there.kept() == 1


@pytest.mark.slow
async def test_it_always_reconnects_and_logs_no_secret(
    there: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    there.timing = replace(
        there.timing,
        socket_check_interval=timedelta(seconds=0.05),
        socket_lost_after=timedelta(seconds=0.4),
    )
    slack = there.slack
    log = io.StringIO()
    logs.set_up(there.setup.secrets, log)
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
    sent = caplog.text + log.getvalue()
    assert "set GITPLOY_SLACK_APP_TOKEN anew" in sent
    assert slack.app.app_token not in sent
    assert "ticket=" not in sent

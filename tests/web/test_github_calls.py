"""Calls to GitHub that a view waits for end in time, and with the process."""

import asyncio
import gc
import threading
import time

import pytest

from tests.web.viewing import private_key_pem
from webhook.errors import UnknownOutcome
from webhook.settings import Settings
from webhook.timing import utc_now
from webhook.web.github_calls import GitHubCalls, Outside


@pytest.fixture
def calls() -> GitHubCalls:
    settings = Settings.from_environ(
        {
            "GITPLOY_SERVER_HOST": "relay.example.com",
            "GITPLOY_WEBHOOK_SECRET": "0123456789-whsec-one",
            "GITPLOY_GITHUB_APP_ID": "12345",
            "GITPLOY_GITHUB_PRIVATE_KEY": private_key_pem(),
        }
    )
    return GitHubCalls(settings, utc_now)


async def hang(_outside: Outside) -> None:
    await asyncio.sleep(60)


def test_what_takes_too_long_is_given_up(calls: GitHubCalls) -> None:
    with pytest.raises(UnknownOutcome):
        calls.run(hang, within=0.01)
    calls.close()


def test_who_waits_is_let_go_at_the_end(
    calls: GitHubCalls, caplog: pytest.LogCaptureFixture
) -> None:
    begun, ended = threading.Event(), list[str]()

    async def hang_too(outside: Outside) -> None:
        begun.set()
        await asyncio.gather(hang(outside), hang(outside))

    def wait() -> None:
        try:
            calls.run(hang_too)
        except UnknownOutcome as error:
            ended.append(str(error))

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    assert begun.wait(5)
    beside = calls.begin(hang, 60)
    began = time.monotonic()
    calls.close()
    waiting.join(5)
    assert ended
    assert beside.cancelled()
    assert time.monotonic() - began < 20
    gc.collect()
    assert "was destroyed" not in caplog.text
    assert calls.run(_nothing) is None  # it begins again
    calls.close()


async def _nothing(_outside: Outside) -> None:
    return

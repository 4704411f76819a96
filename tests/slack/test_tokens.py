"""Tokens that expire are replaced in time, by one process at a time, and are not lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import structlog

from sandbox.faults import Fault
from tests.slack.refreshing import CIPHER, SOON, TEAM, TOO_LATE, Refreshing, refreshing, waiting
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.security.cipher import Cipher, DecryptionError
from webhook.slack.oauth import SlackOAuth
from webhook.slack.tokens import StoredTokens
from webhook.store.database import async_pool
from webhook.timing import DEFAULT_TIMING

ACCESS = "POST /oauth.v2.access"


@pytest.fixture
async def workspace(store_url: str) -> AsyncIterator[Refreshing]:
    async with refreshing(store_url) as created:
        yield created


async def installed(workspace: Refreshing, expires_in: timedelta | None = SOON) -> str:
    return await asyncio.to_thread(workspace.install, expires_in)


async def test_a_token_is_used_until_it_is_about_to_expire(workspace: Refreshing) -> None:
    lasting = await installed(workspace, None)
    assert await workspace.token() == lasting
    fresh = await installed(workspace, timedelta(hours=3))
    assert await workspace.token() == fresh
    before = workspace.row()
    workspace.expires(SOON)
    with structlog.testing.capture_logs() as logs:
        newer = await workspace.token()
    assert newer not in (fresh, lasting)
    assert newer == workspace.slack.workspace.tokens[-1].value
    assert await workspace.token() == newer  # without a further request
    assert workspace.given() == 3
    after = workspace.row()
    assert CIPHER.decrypt(after["token"]) == newer
    assert CIPHER.decrypt(after["refresh_token"]) != CIPHER.decrypt(before["refresh_token"])
    assert after["expires_at"] > datetime.now(UTC) + timedelta(hours=11)
    assert after["installed_at"] == before["installed_at"]
    assert newer not in str(logs)
    # The new pair can be refreshed, too.
    workspace.expires(TOO_LATE)
    assert await workspace.token() != newer


async def test_many_who_need_it_at_once_make_one_refresh(workspace: Refreshing) -> None:
    old = await installed(workspace)
    workspace.slack.faults.add(ACCESS, Fault.hang(0.2))
    others = [SlackOAuth(workspace.settings, workspace.session) for _ in range(4)]
    tokens = await asyncio.gather(*(workspace.token(oauth) for oauth in others))
    assert workspace.given() == 2
    new = workspace.slack.workspace.tokens[-1].value
    assert sorted(tokens) == sorted([new, old, old, old])  # nobody waits while the old one is valid
    assert await workspace.token() == new

    workspace.expires(TOO_LATE)
    workspace.slack.faults.add(ACCESS, Fault.hang(0.2))
    outcomes = await asyncio.gather(
        *(workspace.token(oauth) for oauth in others), return_exceptions=True
    )
    assert workspace.given() == 3
    waiting = [outcome for outcome in outcomes if isinstance(outcome, RetryAt)]
    assert len(waiting) == 3
    assert all(later.at <= datetime.now(UTC) + timedelta(seconds=1) for later in waiting)
    newest = workspace.slack.workspace.tokens[-1].value
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == [newest]


async def test_who_comes_right_after_a_refresh_makes_no_other(workspace: Refreshing) -> None:
    await installed(workspace)
    async with async_pool(workspace.store_url, 1) as narrow:
        held = await narrow.getconn()
        late = asyncio.create_task(StoredTokens(narrow, CIPHER, workspace.oauth).of(TEAM))
        await waiting(narrow, 1)
        next_one = asyncio.create_task(narrow.getconn())
        await waiting(narrow, 2)
        await narrow.putconn(held)
        held = await next_one  # it has seen the old token by now
        new = await workspace.token()
        await narrow.putconn(held)
        assert await late == new
    assert workspace.given() == 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("invalid_refresh_token", "does not accept the refresh token"),
        ("token_revoked", "was revoked"),
        ("account_inactive", "was removed from the workspace"),
    ],
)
async def test_a_rejection_that_counts_ends_the_installation_with_a_message(
    workspace: Refreshing, error: str, message: str
) -> None:
    await installed(workspace)
    workspace.timing = replace(DEFAULT_TIMING, rejection_counts_after=timedelta(0))
    workspace.slack.faults.add(ACCESS, Fault.slack(error))
    for _ in range(2):  # the second time without a call
        with pytest.raises(Rejected, match=message) as caught:
            await workspace.token()
        assert "slack install-link" in str(caught.value)
    assert workspace.row()["error"] == str(caught.value)
    assert workspace.given() == 1
    again = await installed(workspace)  # which clears the error
    assert workspace.row()["error"] == ""
    assert await workspace.token() != again


async def test_a_rejection_that_comes_once_ends_nothing(workspace: Refreshing) -> None:
    old = await installed(workspace)
    workspace.slack.faults.add(ACCESS, Fault.slack("invalid_refresh_token"), times=2)
    assert await workspace.token() == old
    workspace.expires(TOO_LATE)
    with pytest.raises(RetryAt, match="invalid_refresh_token"):
        await workspace.token()
    assert workspace.row()["rejected_since"] is not None
    assert await workspace.token() == workspace.slack.workspace.tokens[-1].value != old
    assert workspace.row()["rejected_since"] is None


async def test_a_failing_slack_costs_nothing_while_the_old_token_is_valid(
    workspace: Refreshing,
) -> None:
    old = await installed(workspace)
    troubles = [
        (Fault.rate_limited(7), RetryAt),
        (Fault.status(503, "down"), UnknownOutcome),
        (Fault.drop_before(), UnknownOutcome),
        (Fault(status_code=200, body="x"), UnknownOutcome),
        (Fault(status_code=200, body={"ok": True}), UnknownOutcome),
        (Fault.slack("bad_client_secret"), Rejected),
        (Fault.slack("invalid_client_id"), Rejected),
        (Fault.slack("something_new"), Rejected),
    ]
    for fault, kind in troubles:
        workspace.expires(SOON)
        workspace.oauth.paused.clear()
        workspace.slack.faults.add(ACCESS, fault)
        assert await workspace.token() == old
        fired = len(workspace.slack.faults.fired)
        assert await workspace.token() == old  # Slack is left alone for a while
        assert len(workspace.slack.faults.fired) == fired
        workspace.expires(TOO_LATE)
        workspace.slack.faults.add(ACCESS, fault)
        with pytest.raises(kind) as raised:
            await workspace.token()
        if isinstance(raised.value, RetryAt):
            assert raised.value.at > datetime.now(UTC) + timedelta(seconds=5)
        if "client" in str(fault.body):
            assert "GITPLOY_SLACK_CLIENT_" in str(raised.value)
        assert workspace.row()["error"] == ""
    assert await workspace.token() == workspace.slack.workspace.tokens[-1].value
    assert workspace.given() == 2


async def test_who_is_stopped_in_the_middle_keeps_the_new_pair_first(
    workspace: Refreshing,
) -> None:
    old = await installed(workspace)
    workspace.slack.faults.add(ACCESS, Fault.hang_after(0.2))
    asking = asyncio.create_task(workspace.token())
    while workspace.given() < 2:
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (
        CIPHER.decrypt(workspace.row()["token"])
        == workspace.slack.workspace.tokens[-1].value
        != old
    )
    assert await workspace.token() == workspace.slack.workspace.tokens[-1].value


async def test_installing_again_during_a_refresh_waits_for_it_and_wins(
    workspace: Refreshing,
) -> None:
    await installed(workspace)
    workspace.slack.faults.add(ACCESS, Fault.hang_after(0.3))
    asking = asyncio.create_task(workspace.token())
    while workspace.given() < 2:
        await asyncio.sleep(0.01)
    newest = await installed(workspace, timedelta(hours=12))
    assert asking.done()
    assert CIPHER.decrypt(workspace.row()["token"]) == newest
    assert await workspace.token() == newest


async def test_an_unavailable_token_is_reported(workspace: Refreshing) -> None:
    with pytest.raises(Rejected, match="is not installed in workspace T0SANDBOX"):
        await workspace.token()
    await installed(workspace)
    another = Cipher(["another key altogether"])
    with pytest.raises(DecryptionError):
        await StoredTokens(workspace.pool, another, workspace.oauth).of(TEAM)
    with psycopg.connect(workspace.store_url) as connection:
        connection.execute("update slack_installations set refresh_token = null")
    with pytest.raises(Rejected, match="install-link"):
        await workspace.token()
    assert workspace.given() == 1

"""Whose call to Slack is next, among all workers."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from tests.world import MovableClock
from webhook.errors import RetryAt
from webhook.slack.rate_limit import RateLimit
from webhook.store import database
from webhook.store.rate_limits import BURST
from webhook.timing import DEFAULT_TIMING

INTERVAL = DEFAULT_TIMING.channel_interval


@pytest.fixture
async def limit(store_url: str) -> AsyncIterator[RateLimit]:
    async with database.async_pool(store_url, 2) as pool:
        yield RateLimit(pool, DEFAULT_TIMING, MovableClock())


async def waits_until(limit: RateLimit, key: str) -> datetime | None:
    try:
        await limit.acquire("#deploys", "post", key)
    except RetryAt as wait:
        return wait.at
    return None


async def test_after_a_burst_calls_wait_and_keep_their_slots(limit: RateLimit) -> None:
    assert [await waits_until(limit, f"free {n}") for n in range(BURST)] == [None] * BURST
    first, second = await waits_until(limit, "first"), await waits_until(limit, "second")
    assert first is not None
    assert second == first + INTERVAL
    assert [await waits_until(limit, "second"), await waits_until(limit, "first")] == [
        second,
        first,
    ]
    await limit.acquire("#deploys", "edit", "another kind")
    await limit.acquire("#other", "post", "another channel")
    assert isinstance(limit.clock, MovableClock)
    with limit.clock.moved(INTERVAL):
        assert await waits_until(limit, "first") is None
        assert await waits_until(limit, "second") == second


async def test_a_slot_that_was_given_back_is_lost(limit: RateLimit) -> None:
    for number in range(BURST):
        await limit.acquire("#deploys", "post", f"free {number}")
    before = await waits_until(limit, "first")
    assert before is not None
    await limit.release("#deploys", "post", "first")
    assert await waits_until(limit, "first") == before + INTERVAL


async def test_when_slack_limits_all_wait_in_a_new_order(limit: RateLimit) -> None:
    for number in range(BURST):
        await limit.acquire("#deploys", "post", f"free {number}")
    await waits_until(limit, "first")
    until = limit.clock() + timedelta(seconds=30)
    await limit.hold("#deploys", "post", RetryAt("Slack limits", until))
    assert await waits_until(limit, "second") == until
    assert await waits_until(limit, "first") == until + INTERVAL

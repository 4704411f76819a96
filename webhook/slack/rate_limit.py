"""Slack's rate limits: in each channel one post after the other, and one edit.

Source: docs.slack.dev/apis/web-api/rate-limits: about one message a second in a channel, with
short bursts; a 429 has a Retry-After.
"""

from dataclasses import dataclass
from typing import Literal

from webhook.errors import RetryAt
from webhook.store import rate_limits
from webhook.store.database import AsyncPool
from webhook.timing import Clock, Timing

Call = Literal["post", "edit"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Of all workers together."""

    pool: AsyncPool
    timing: Timing
    clock: Clock

    async def acquire(self, channel: str, call: Call, key: str) -> None:
        """Errors: `RetryAt` if other calls come first."""
        name, interval = f"{channel} {call}", self.timing.channel_interval
        due_by = self.clock() + self.timing.slot_tolerance
        async with self.pool.connection() as connection:
            at = await rate_limits.take(connection, name, key, interval, due_by)
        if at > due_by:
            raise RetryAt("the channel's rate limit asks to wait", at)

    async def release(self, channel: str, call: Call, key: str) -> None:
        async with self.pool.connection() as connection:
            await rate_limits.give_back(connection, f"{channel} {call}", key)

    async def hold(self, channel: str, call: Call, limited: RetryAt) -> RetryAt:
        """All callers wait as long as Slack's Retry-After."""
        async with self.pool.connection() as connection:
            await rate_limits.hold(connection, f"{channel} {call}", limited.at)
        return RetryAt(str(limited), limited.at)

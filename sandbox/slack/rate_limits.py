"""Slack's rate limits.

Source: https://docs.slack.dev/apis/web-api/rate-limits
Units: seconds between two calls; None means no limit.
Errors: HTTP 429 with Retry-After in whole seconds.
"""

import math
import time
from collections.abc import Hashable
from dataclasses import dataclass

from sandbox.slack.model import SlackError


@dataclass(slots=True)
class _Bucket:
    """A token bucket: a call takes a token, and tokens are refilled one by one."""

    tokens: float
    at: float


class RateLimits:
    """`post_interval`: chat.postMessage, in each channel. `update_interval`: chat.update, in each
    workspace. `method_intervals`: any other method, in each workspace. `burst`: how many calls are
    allowed at once. `rate_limited_calls` counts those that were rejected."""

    def __init__(self) -> None:
        self.post_interval: float | None = None
        self.update_interval: float | None = None
        self.method_intervals: dict[str, float] = {}
        self.burst = 1
        self.rate_limited_calls = 0
        self._buckets: dict[Hashable, _Bucket] = {}

    def count_call(self, key: Hashable, seconds: float | None) -> None:
        """Take a token from that bucket. Errors: SlackError if there is none."""
        if not seconds:
            return
        now = time.monotonic()
        bucket = self._buckets.setdefault(key, _Bucket(self.burst, now))
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.at) / seconds)
        bucket.at = now
        if bucket.tokens < 1:
            self.rate_limited_calls += 1
            wait = math.ceil((1 - bucket.tokens) * seconds)
            raise SlackError("ratelimited", 429, retry_after=max(1, wait))
        bucket.tokens -= 1

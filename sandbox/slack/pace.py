"""How fast Slack may be called.

Source: https://docs.slack.dev/apis/web-api/rate-limits
Units: seconds between two calls; None is no limit.
Errors: HTTP 429 with Retry-After in whole seconds.
"""

import math
import time
from collections.abc import Hashable
from dataclasses import dataclass

from sandbox.slack.model import SlackError


@dataclass(slots=True)
class _Bucket:
    """Tokens that come back one by one; a call takes one."""

    tokens: float
    at: float


class Paces:
    """`pace`: chat.postMessage, each channel. `update_pace`: chat.update, each workspace.
    `method_paces`: any other method, each workspace. `burst`: how many may come at once."""

    def __init__(self) -> None:
        self.pace: float | None = None
        self.update_pace: float | None = None
        self.method_paces: dict[str, float] = {}
        self.burst = 1
        self.too_fast = 0
        self._buckets: dict[Hashable, _Bucket] = {}

    def keep_pace(self, key: Hashable, seconds: float | None) -> None:
        """Take one token of that bucket, or refuse."""
        if not seconds:
            return
        now = time.monotonic()
        bucket = self._buckets.setdefault(key, _Bucket(self.burst, now))
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.at) / seconds)
        bucket.at = now
        if bucket.tokens < 1:
            self.too_fast += 1
            wait = math.ceil((1 - bucket.tokens) * seconds)
            raise SlackError("ratelimited", 429, retry_after=max(1, wait))
        bucket.tokens -= 1

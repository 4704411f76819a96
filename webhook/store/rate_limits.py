"""Whose turn it is to call Slack: in each channel one post after the other, and one edit.

Source: docs.slack.dev/apis/web-api/rate-limits: about one message a second in a channel, with
short bursts; a 429 says when to come back.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from webhook.store.database import Async

# Calls that may follow each other at once after a quiet time.
BURST = 5


@dataclass(frozen=True, slots=True)
class Slot:
    """`at`: when the call may be made. It counts as long as the lane's `epoch` is the same."""

    at: datetime
    epoch: int


async def take(connection: Async, lane: str, pace: timedelta) -> Slot:
    """The next slot, for whoever asks to keep."""
    await connection.execute(
        "insert into slack_lanes (lane) values (%s) on conflict do nothing", [lane]
    )
    cursor = await connection.execute(
        "update slack_lanes set next_at = greatest(next_at, held_until, now() - %s) + %s"
        " where lane = %s returning next_at - %s as at, epoch",
        [(BURST - 1) * pace, pace, lane, pace],
    )
    row = await cursor.fetchone()
    assert row is not None
    return Slot(row["at"], row["epoch"])


async def epoch(connection: Async, lane: str) -> int:
    cursor = await connection.execute("select epoch from slack_lanes where lane = %s", [lane])
    row = await cursor.fetchone()
    return row["epoch"] if row else 0


async def hold(connection: Async, lane: str, until: datetime) -> None:
    """Slack asked to wait: all slots that were given out are void."""
    await connection.execute(
        "insert into slack_lanes (lane, next_at, held_until, epoch) values (%s, %s, %s, 1)"
        " on conflict (lane) do update set next_at = excluded.next_at,"
        " held_until = excluded.held_until, epoch = slack_lanes.epoch + 1",
        [lane, until, until],
    )

"""When a rejection counts."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from webhook.rejections import RejectionPolicy, rejected_since
from webhook.timing import DEFAULT_TIMING

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Row:
    rejected_call: str = ""
    rejected_since: datetime | None = None
    rejected_at: datetime | None = None


def attempts(policy: RejectionPolicy) -> list[float]:
    """Seconds after the first rejection, until one counts."""
    at: datetime | None = BEGINNING
    found = []
    while at is not None:
        found.append((at - BEGINNING).total_seconds())
        at = policy.retry_at(BEGINNING, at)
    return found


def test_pauses_grow_until_the_rejection_counts_after_minutes() -> None:
    policy = RejectionPolicy.doubtful(DEFAULT_TIMING)
    assert attempts(policy) == [0, 2, 4, 8, 16, 32, 64, 124, 184, 244, 300]


def test_an_installation_may_come_back_within_seconds_or_days() -> None:
    tried = attempts(RejectionPolicy.access(DEFAULT_TIMING))
    assert tried[:5] == [0, 2, 4, 8, 16]
    assert max(later - earlier for earlier, later in pairwise(tried)) == 3600
    assert tried[-1] == timedelta(days=3).total_seconds()


def test_a_message_is_tried_for_a_day_and_not_often() -> None:
    tried = attempts(RejectionPolicy.message(DEFAULT_TIMING))
    assert tried[:3] == [0, 2, 4]
    assert tried[-1] == timedelta(days=1).total_seconds()
    assert len(tried) < 70


@pytest.mark.parametrize(("call", "since"), [("check", 1), ("start", 5)])
def test_each_call_is_in_doubt_by_itself(call: str, since: int) -> None:
    begun, now = BEGINNING + timedelta(minutes=1), BEGINNING + timedelta(minutes=5)
    found = rejected_since(Row("check", begun, now - timedelta(minutes=1)), call, now)
    assert found == BEGINNING + timedelta(minutes=since)


@pytest.mark.parametrize(
    ("lasted", "silence", "is_same"), [(0, 1, True), (0, 6, False), (4, 6, True), (4, 60, False)]
)
def test_an_outage_or_a_stop_of_the_relay_ends_the_doubt(
    lasted: int, silence: int, *, is_same: bool
) -> None:
    """In minutes. What is rejected once before it and once after it may be odd both times."""
    last = BEGINNING + timedelta(minutes=lasted)
    now = last + timedelta(minutes=silence)
    found = rejected_since(Row("check", BEGINNING, last), "check", now)
    assert found == (BEGINNING if is_same else now)

"""What is said of a deployment of which the relay learns late."""

from datetime import UTC, datetime, timedelta

import pytest

from webhook.deployments import lateness
from webhook.deployments.lateness import Arrival, late_by, superseded, too_old
from webhook.text import LONGEST_DESCRIPTION

NOW = datetime(2026, 11, 27, 4, 10, tzinfo=UTC)
LATE_AFTER = timedelta(minutes=2)


def arrival(way: str, ago: timedelta, received: timedelta = timedelta(0)) -> Arrival:
    """Created so long before now, and received so long before."""
    return Arrival(
        way=way,
        created_at=NOW - ago,
        received_at=NOW - received,
        now=NOW,
        late_after=LATE_AFTER,
    )


HOURS = timedelta(hours=2, minutes=6)


@pytest.mark.parametrize(
    ("one", "cause"),
    [
        (arrival("pulled", HOURS), "Missed while the relay was away from 02:04 to 04:10 UTC"),
        (
            arrival("pulled", timedelta(days=2)),
            "Missed while the relay was away from 25 Nov 04:10 to 27 Nov 04:10 UTC",
        ),
        (
            arrival("webhook", HOURS, HOURS - LATE_AFTER),
            "Missed while the relay could not process it, from 02:06 to 04:10 UTC",
        ),
        (arrival("webhook", HOURS), "Delivered 2h6m late"),
        (arrival("listed", HOURS), "Nobody delivered it (is the App's webhook active?)"),
    ],
)
def test_the_cause_is_named(one: Arrival, cause: str) -> None:
    assert superseded(one, 1234) == f"{cause}; superseded by 1234"
    ended = too_old(one, timedelta(hours=1), retry=True)
    assert ended == f"{cause}; older than 1h: press Retry, or create it again"
    without = too_old(one, timedelta(hours=1), retry=False)
    assert without == f"{cause}; older than 1h: create it again"


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("way", ["webhook", "pulled", "listed"])
def test_each_text_fits_into_a_status(way: str, at_once: bool) -> None:
    ago = timedelta(hours=71, minutes=59, seconds=59)
    longest = arrival(way, ago, ago if at_once else timedelta(0))
    texts = (
        superseded(longest, 2**63 - 1),
        too_old(longest, timedelta(hours=71, minutes=59, seconds=59), retry=True),
        f"Accepted (next: github-actions); {longest.note}",
        lateness.NOT_FOUND_AGAIN,
        lateness.MAY_RUN,
    )
    assert not [text for text in texts if len(text) > LONGEST_DESCRIPTION]


def test_how_late_is_said_to_the_minute() -> None:
    minutes = timedelta(minutes=12, seconds=59)
    assert [late_by(minutes), late_by(minutes * 6), late_by(timedelta(seconds=-1))] == [
        "12m",
        "1h17m",
        "0s",
    ]

"""What is said of a deployment of which the relay learns late.

The texts are descriptions of statuses, so each fits GitHub's 140 characters.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from handlers import durations


class Lateness(StrEnum):
    """What was done about it. `late`: it runs all the same. `missed`: it was not started.
    `resumed`: it had begun before, as GitHub says: its run is searched, and nothing is started."""

    NONE = ""
    LATE = "late"
    MISSED = "missed"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """How a deployment came. `way`: as of its delivery. `received_at`: when the relay had it;
    `now`: when it is understood."""

    way: str
    created_at: datetime
    received_at: datetime
    now: datetime
    late_after: timedelta

    @property
    def note(self) -> str:
        """Of one that runs."""
        text = f"arrived {late_by(self.now - self.created_at)} late"
        if self.way == "listed":
            return f"{text}: nobody delivered it, is the App's webhook active?"
        return text

    @property
    def cause(self) -> str:
        """Of one that does not."""
        if self.way == "listed":
            return "Nobody delivered it (is the App's webhook active?)"
        if self.way == "pulled":
            until = _span(self.created_at, self.received_at, self.now)
            return f"Missed while the relay was away from {until}"
        if self.received_at - self.created_at <= self.late_after:
            span = _span(self.received_at, self.now, self.now)
            return f"Missed while the relay could not process it, from {span}"
        return f"Delivered {late_by(self.received_at - self.created_at)} late"


def superseded(arrival: Arrival, newer: int) -> str:
    return f"{arrival.cause}; superseded by {newer}"


def too_old(arrival: Arrival, limit: timedelta, *, retry: bool) -> str:
    """`retry`: there is a button for it."""
    remedy = "press Retry, or create it again" if retry else "create it again"
    return f"{arrival.cause}; older than {durations.write(limit.total_seconds())}: {remedy}"


NOT_FOUND_AGAIN = (
    "GitHub says that it had begun before, but the tool shows no run of it now, and none was"
    " started: check there, then Retry"
)
MAY_RUN = (
    "It had begun before and may still run, which cannot be found out: check there, then Cancel and"
    " Retry"
)


def late_by(late: timedelta) -> str:
    """To the minute, as people say it."""
    seconds = max(0.0, late.total_seconds())
    return durations.write(seconds - seconds % 60 if seconds >= 60 else seconds)


def _span(since: datetime, until: datetime, now: datetime) -> str:
    """Without the day where it is today."""
    form = "%H:%M" if since.astimezone(UTC).date() == now.astimezone(UTC).date() else "%d %b %H:%M"
    return f"{since.astimezone(UTC):{form}} to {until.astimezone(UTC):{form}} UTC"

"""When a rejection counts. A single one proves little: real servers return wrong ones at times.

A rejection that can mean several things is tried again, after pauses that grow with the time for
which it has lasted, until it counts; any other response of that call ends it.
docs/reference/responses.md lists what each response leads to.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, Self

from webhook.timing import Timing, growing_pause

# The next try is due after a pause as long as the rejection had lasted. Where it comes much later,
# there was an outage, a limit or no worker in between, which says nothing of this rejection.
LONGEST_SILENCE = timedelta(minutes=2)


class RejectedRow(Protocol):
    """A row: its call that is rejected now, since when and at last; empty and None if none is."""

    @property
    def rejected_call(self) -> str: ...
    @property
    def rejected_since(self) -> datetime | None: ...
    @property
    def rejected_at(self) -> datetime | None: ...


def rejected_since(row: RejectedRow, call: str, now: datetime) -> datetime:
    """Since when this call of the row has been rejected, which it is now."""
    if row.rejected_call != call:
        return now
    return still_rejected_since(row.rejected_since, row.rejected_at, now)


def still_rejected_since(since: datetime | None, last: datetime | None, now: datetime) -> datetime:
    """`last`: the rejection before this one."""
    if since is None or last is None:
        return now
    return since if now - last <= max(LONGEST_SILENCE, 2 * (last - since)) else now


@dataclass(frozen=True, slots=True)
class RejectionPolicy:
    """Pauses from `at_least` to `at_most`; it counts once it has lasted for `counts_after`."""

    at_least: timedelta
    at_most: timedelta
    counts_after: timedelta

    @classmethod
    def doubtful(cls, timing: Timing) -> Self:
        """What can mean several things (`certain` is False)."""
        return cls(
            timing.rejection_retry_at_least,
            timing.rejection_retry_at_most,
            timing.rejection_counts_after,
        )

    @classmethod
    def access(cls, timing: Timing) -> Self:
        """The App's installation is gone or suspended, and may come back."""
        return cls(
            timing.installation_retry_at_least,
            timing.installation_retry_at_most,
            timing.installation_given_up_after,
        )

    @classmethod
    def message(cls, timing: Timing) -> Self:
        """The bot may be invited, or installed again."""
        return cls(
            timing.rejected_retry_at_least,
            timing.rejected_retry_at_most,
            timing.rejected_given_up_after,
        )

    def retry_at(self, since: datetime, now: datetime) -> datetime | None:
        """When to try again what has been rejected since then; None: it counts."""
        counts_at = since + self.counts_after
        if now >= counts_at:
            return None
        return min(now + growing_pause(now - since, self.at_least, self.at_most), counts_at)

"""The time of which the insights are, and the days or weeks in it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from webhook.store.insights import Insights

_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """`reaches`: the oldest that was counted where not all were."""

    since: datetime
    until: datetime
    bucket: timedelta
    reaches: datetime | None = None

    @property
    def days(self) -> float:
        begun = max(self.since, self.reaches) if self.reaches else self.since
        return max((self.until - begun).total_seconds() / _DAY, 1 / 24)

    @property
    def compares(self) -> bool:
        """Whether all of the period before was counted."""
        return self.reaches is None


def whole_buckets(found: Insights, period: Period) -> list[int]:
    """How many changes each day or week has that is wholly in the period, 0 where there were
    none."""
    counts = {one.bucket: one.changes for one in found.figures if one.current and one.bucket}
    begun = max(period.since, period.reaches) if period.reaches else period.since
    whole = [at for at in buckets(period) if at >= begun and at + period.bucket <= period.until]
    return [counts.get(at, 0) for at in whole]


def buckets(period: Period) -> list[datetime]:
    """The beginning of each day or week, also of those that are in the period in part."""
    at = period.since.replace(hour=0, minute=0, second=0, microsecond=0)
    if period.bucket > timedelta(days=1):
        at -= timedelta(days=at.weekday())
    found = []
    while at < period.until:
        found.append(at)
        at += period.bucket
    return found

"""When nothing may be deployed: windows that recur by a cron expression, and dated ones.

Source: Gitploy's `frozen_windows` (env.go, IsFreezed). As there, a duration is elapsed time and not
the wall clock's. Unlike there, the first instant of a window is frozen, and starts around a change
of the clock are those of Debian's cron (cronsim): one in the hour that is skipped comes at its end,
one in the hour that comes twice comes once.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim

# The longest time that an hour can come twice.
_LONGEST_CHANGE = timedelta(hours=3)
# So many windows that follow each other without a gap count as one without a known end; fewer of
# several, as each is looked at.
_MOST_IN_A_ROW = 2000


class Window(Protocol):
    def __hash__(self) -> int: ...

    def end_at(self, now: datetime) -> datetime | None:
        """When it ends, if it holds then."""
        ...

    def starts_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """`until` is included."""
        ...

    def describe(self) -> str: ...


def zone_of(location: str) -> tzinfo:
    """Of a name of the IANA database; empty: UTC. Errors: KeyError, ValueError, OSError."""
    return UTC if location in ("", "UTC") else ZoneInfo(location)


@dataclass(frozen=True, slots=True)
class Recurring:
    """`start`: five fields of cron, in the zone of `location`. `both_days`: the day of the month
    and the weekday have to match both, as in Gitploy; in cron, one of them, unless one is `*`."""

    start: str
    duration: timedelta
    location: str = ""
    both_days: bool = False

    def end_at(self, now: datetime) -> datetime | None:
        last = self._last_start(now.astimezone(UTC))
        # All have one length: the newest ends last.
        return last + self.duration if last and now < last + self.duration else None

    def starts_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        after = after.astimezone(UTC)
        for start in self._starts(after.astimezone(zone_of(self.location))):
            at = start.astimezone(UTC)
            if at > until:
                return
            # In the hour that comes twice it counts from the first one.
            if at > after:
                yield at

    def describe(self) -> str:
        text = CronSim(self.start, datetime.now(UTC)).explain()
        return f"{text}, {self.location}" if self.location else text

    def _last_start(self, now: datetime) -> datetime | None:
        local = now.astimezone(zone_of(self.location))
        if local.fold:
            # cronsim goes by the wall clock, which has shown this time before.
            local = (now + _LONGEST_CHANGE).astimezone(local.tzinfo)
        # With a fraction of a second, cronsim begins with this second.
        for start in self._starts(local.replace(microsecond=1), reverse=True):
            if (at := start.astimezone(UTC)) <= now:
                return at
        return None

    def _starts(self, begin: datetime, *, reverse: bool = False) -> CronSim:
        starts = CronSim(self.start, begin, reverse=reverse)
        starts.day_and = starts.day_and or self.both_days
        return starts


@dataclass(frozen=True, slots=True)
class Dated:
    """From `begins` on, until before `ends`."""

    begins: datetime
    ends: datetime
    text: str

    def end_at(self, now: datetime) -> datetime | None:
        return self.ends if self.begins <= now < self.ends else None

    def starts_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        if after < self.begins <= until:
            yield self.begins

    def describe(self) -> str:
        return self.text


def begin_of(at: date | datetime, zone: tzinfo) -> datetime:
    """Of a day, or the local time itself."""
    return min(_instants(at, zone)) if isinstance(at, datetime) else _midnight(at, zone)


def end_of(at: date | datetime, zone: tzinfo) -> datetime:
    """Of a day, or the local time itself."""
    if isinstance(at, datetime):
        return max(_instants(at, zone))
    return _midnight(at + timedelta(days=1), zone)


def _instants(local: datetime, zone: tzinfo) -> list[datetime]:
    """Two where the clock skips or repeats it; a window is the longer one then."""
    return [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]


def _midnight(day: date, zone: tzinfo) -> datetime:
    """Where the clock skips it, the day's first hour."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def frozen_until(windows: Sequence[Window], now: datetime) -> datetime | None:
    """When none of them holds any more, as one may begin where another ends; None: no end is
    known."""
    ends = _ends(windows, now)
    return _last_end(tuple(windows), max(ends)) if ends else now


@lru_cache(maxsize=256)  # it is the same for all that waits, until then
def _last_end(windows: tuple[Window, ...], at: datetime) -> datetime | None:
    with suppress(OverflowError):  # those of a repository's file may last for 290 years each
        for _ in range(_MOST_IN_A_ROW // max(1, len(windows))):
            ends = _ends(windows, at)
            if not ends:
                return at
            at = max(ends)
    return None


@dataclass(frozen=True, slots=True)
class Frozen:
    """From `begins` on, until before `ends`."""

    begins: datetime
    ends: datetime


@lru_cache(maxsize=1024)  # pages ask for the same days again and again
def frozen_between(
    window: Window, begins: datetime, ends: datetime, most: int
) -> tuple[Frozen, ...]:
    """When it holds then, in order, without gaps between two that touch; the first `most`."""
    found: list[Frozen] = []
    at: datetime | None = begins
    while at is not None and at < ends and len(found) < most:
        if window.end_at(at) is None:
            at = next(window.starts_between(at, ends), None)
            continue
        until = frozen_until((window,), at)
        found.append(Frozen(at, min(until or ends, ends)))
        at = found[-1].ends
    return tuple(found)


def _ends(windows: Sequence[Window], at: datetime) -> list[datetime]:
    return [end for window in windows if (end := window.end_at(at))]

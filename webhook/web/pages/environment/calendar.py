"""The freeze calendar of an environment: four weeks from today, by weeks and days, and the same as
a list. Days are those of one time zone, which has its name on the page.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from webhook.deployments.freezes import frozen_between, zone_of
from webhook.deployments.locks import Lock, whom
from webhook.gates.freeze import FrozenWindow
from webhook.web.pages.elements import Moment, line

DAYS = 28
# Of one window, of a day, and of the list.
_MOST_OF_WINDOW, _MOST_OF_DAY, _MOST_IN_LIST = 100, 3, 40
_WEEK = 7
_ALL_DAY = "all day"


@dataclass(frozen=True, slots=True)
class Span:
    """Of a day: `text` is its hours, `label` why nothing starts then."""

    text: str
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class Day:
    """`iso`: the date; `name`: as it stands in its cell; `spans`: when nothing starts, none on an
    open day; `more`: of those, how many are left out."""

    iso: str
    name: str
    today: bool
    spans: tuple[Span, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A line of the list. `note`: what passes it all the same."""

    begins: Moment
    ends: Moment | None
    label: str
    note: str
    now: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """`weeks`: of seven days each, Monday first; None before the first and after the last. `more`:
    how many lines the list leaves out."""

    zone: str
    weeks: tuple[tuple[Day | None, ...], ...]
    closed: tuple[Closed, ...]
    more: int
    windows: int


@dataclass(frozen=True, slots=True)
class _Time:
    """`ends`: None for no known end."""

    begins: datetime
    ends: datetime | None
    label: str
    note: str
    kind: str


def build_calendar(
    windows: Sequence[FrozenWindow], locks: Iterable[Lock], now: datetime
) -> Calendar:
    name = _zone_name(windows)
    zone = zone_of(name)
    first = now.astimezone(zone).date()
    days = [first + timedelta(days=number) for number in range(DAYS)]
    begins, ends = _midnight(days[0], zone), _midnight(days[-1] + timedelta(days=1), zone)
    times = sorted(
        (*_frozen(windows, begins, ends), *_locked(locks, now)),
        key=lambda one: (one.begins, one.label),
    )
    coming = [one for one in times if one.ends is None or one.ends > now]
    return Calendar(
        zone=name,
        weeks=tuple(_weeks([_day(day, first, zone, times) for day in days], first)),
        closed=tuple(_line(one, now, zone, ends) for one in coming[:_MOST_IN_LIST]),
        more=max(0, len(coming) - _MOST_IN_LIST),
        windows=len(windows),
    )


def _zone_name(windows: Sequence[FrozenWindow]) -> str:
    """That of all windows, where they have one; else UTC."""
    names = {one.location or "UTC" for one in windows}
    return names.pop() if len(names) == 1 else "UTC"


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _frozen(windows: Iterable[FrozenWindow], begins: datetime, ends: datetime) -> Iterator[_Time]:
    for one in windows:
        note = "rollbacks pass" if one.lets else ""
        label = line(one.label)
        found = frozen_between(one.window, begins, ends, _MOST_OF_WINDOW)
        for some in found:
            yield _Time(some.begins, some.ends, f"Frozen: {label}", note, "frozen")
        if len(found) == _MOST_OF_WINDOW and found[-1].ends < ends:
            often = f"Frozen again and again: {label}"
            yield _Time(found[-1].ends, ends, often, note, "frozen")


def _locked(locks: Iterable[Lock], now: datetime) -> Iterator[_Time]:
    for one in locks:
        label = f"Locked by {line(one.owner)}: {line(one.reason)}"
        note = f"{line(whom(one))} may pass" if one.lets else ""
        yield _Time(now, one.expires_at, label, note, "locked")


def _weeks(days: Sequence[Day], first: date) -> Iterator[tuple[Day | None, ...]]:
    cells: list[Day | None] = [*[None] * first.weekday(), *days]
    cells += [None] * (-len(cells) % _WEEK)
    for start in range(0, len(cells), _WEEK):
        yield tuple(cells[start : start + _WEEK])


def _day(day: date, today: date, zone: tzinfo, times: Iterable[_Time]) -> Day:
    begins, ends = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
    spans = [
        Span(_hours(max(one.begins, begins), one.ends, begins, ends, zone), one.label, one.kind)
        for one in times
        if one.begins < ends and (one.ends is None or one.ends > begins)
    ]
    name = f"{day:%d %b}" if day == today or day.day == 1 else f"{day.day}"
    shown = tuple(dict.fromkeys(spans))
    more = max(0, len(shown) - _MOST_OF_DAY)
    return Day(day.isoformat(), name, day == today, shown[:_MOST_OF_DAY], more)


def _hours(
    since: datetime, until: datetime | None, begins: datetime, ends: datetime, zone: tzinfo
) -> str:
    to_the_end = until is None or until >= ends
    if since == begins and to_the_end:
        return _ALL_DAY
    first = f"{since.astimezone(zone):%H:%M}"
    last = "24:00" if until is None or to_the_end else f"{until.astimezone(zone):%H:%M}"
    return f"{first}\N{EN DASH}{last}"


def _line(one: _Time, now: datetime, zone: tzinfo, horizon: datetime) -> Closed:
    """What lasts to the end of the calendar may last longer."""
    open_end = one.ends is None or (one.kind == "frozen" and one.ends >= horizon)
    return Closed(
        begins=_moment(one.begins, zone),
        ends=None if open_end or one.ends is None else _moment(one.ends, zone),
        label=one.label,
        note=one.note,
        now=one.begins <= now,
    )


def _moment(at: datetime, zone: tzinfo) -> Moment:
    local = at.astimezone(zone)
    return Moment(at.astimezone(UTC).isoformat(timespec="seconds"), f"{local:%a %d %b, %H:%M}")

"""Small drawings of how figures went, by day or week: bars of what is counted, steps of medians.
What has no value is not drawn: no deployment is not a lead time of 0.

Units: of `x`, `y` and the like, those of the drawing, `WIDTH` by `HEIGHT`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from webhook.store.insights import Figures, Insights, Spread
from webhook.web.pages.insights.amounts import FEWEST, span
from webhook.web.pages.insights.figures import current
from webhook.web.pages.insights.periods import Period, buckets

WIDTH, HEIGHT = 320, 80


@dataclass(frozen=True, slots=True)
class Point:
    """Of one day or week. `text` "": no value. `n`: of how many it is the median, "" of counts."""

    at: str
    text: str
    n: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`path`: of the steps, "" of bars. `top`: what the height is. `bars`: of steps, where each
    has its title."""

    id: str
    title: str
    summary: str
    unit: str
    points: tuple[Point, ...]
    bars: tuple[Bar, ...]
    path: str
    top: str
    first: str
    last: str


def charts(found: Insights, period: Period) -> tuple[Chart, ...]:
    """None of what too few are there to say anything."""
    by_bucket = {one.bucket: one for one in found.figures if one.current and one.bucket}
    rows = [(at, by_bucket.get(at, Figures())) for at in buckets(period)]
    weekly = period.bucket > timedelta(days=1)
    now = current(found)
    drawn: list[Chart] = []
    for name, title, read, n in (*_COUNTS, *_MEDIANS):
        if n(now) < FEWEST:
            continue
        points = tuple(_point(at, read(one)) for at, one in rows)
        drawn.append(_chart(name, title, points, weekly=weekly, steps=name in _STEPS))
    return tuple(drawn)


_Read = Callable[[Figures], "int | Spread"]
_COUNTS: tuple[tuple[str, str, _Read, Callable[[Figures], int]], ...] = (
    ("deployments", "Deployments", lambda one: one.changes, lambda one: one.changes),
    ("repaired", "Failed changes", lambda one: one.bad, lambda one: one.changes),
    ("reworked", "Rollbacks and hotfixes", lambda one: one.rework, lambda one: one.changes),
    (
        "failed",
        "Failed runs",
        lambda one: one.failed,
        lambda one: one.changes + one.repeated + one.failed,
    ),
)
_MEDIANS: tuple[tuple[str, str, _Read, Callable[[Figures], int]], ...] = (
    ("leads", "Change lead time", lambda one: one.leads, lambda one: one.leads_known),
    ("recoveries", "Recovery time", lambda one: one.recoveries, lambda one: one.recoveries.n),
    ("durations", "Duration", lambda one: one.durations, lambda one: one.durations.n),
)
_STEPS = frozenset(one[0] for one in _MEDIANS)


def _point(at: datetime, value: int | Spread) -> Point:
    day = f"{at:%d %b %Y}"
    if isinstance(value, int):
        return Point(day, f"{value:,}", "", float(value))
    if value.median is None:
        return Point(day, "", "0", None)
    return Point(day, span(value.median), f"{value.n:,}", value.median)


def _chart(name: str, title: str, points: Sequence[Point], *, weekly: bool, steps: bool) -> Chart:
    each = "week" if weekly else "day"
    unit = f"median, each {each}" if steps else f"each {each}"
    most = max(points, key=lambda one: one.value or 0)
    height = most.value or 1.0
    drawn = [
        (place, point) for place, point in enumerate(points) if point.value or _is_shown(point)
    ]
    width = WIDTH / len(points)
    bars = tuple(_bar(place, width, point, height, each) for place, point in drawn)
    return Chart(
        id=name,
        title=title,
        summary=f"{title}, {unit}: {_summary(points, most)}",
        unit=unit,
        points=tuple(points),
        bars=bars,
        path=_steps(bars) if steps else "",
        top=most.text,
        first=points[0].at,
        last=points[-1].at,
    )


def _is_shown(point: Point) -> bool:
    """A median of 0 is a value; a count of 0 has no bar."""
    return point.value is not None and bool(point.n)


def _summary(points: Sequence[Point], most: Point) -> str:
    known = [one for one in points if one.value is not None]
    if not any(one.value for one in known):
        return "none"
    return f"at most {most.text}, from {most.at}; {len(points)} in all, to {points[-1].at}"


def _bar(place: int, width: float, point: Point, most: float, each: str) -> Bar:
    gap = min(2.0, width / 4)
    height = max(1.0, HEIGHT * (point.value or 0) / most)
    of = f", n = {point.n}" if point.n else ""
    since = "week from " if each == "week" else ""
    return Bar(
        x=round(place * width + gap / 2, 1),
        y=round(HEIGHT - height, 1),
        width=round(width - gap, 1),
        height=round(height, 1),
        title=f"{since}{point.at}: {point.text}{of}",
    )


def _steps(bars: Sequence[Bar]) -> str:
    """A level for each value; no line where there is none."""
    return "".join(f"M{one.x} {one.y}h{one.width}" for one in bars)

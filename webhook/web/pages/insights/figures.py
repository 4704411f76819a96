"""DORA's figures, made of the store's alone.

The definitions are in docs/explanation/insights.md. A figure of fewer than `FEWEST` is none: there,
the deployments themselves are listed.
Source: dora.dev/guides/dora-metrics.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from webhook.store.insights import Fact, Figures, Insights, Kind
from webhook.web.pages.insights.amounts import (
    FEWEST,
    counted,
    high,
    median,
    percentile,
    share,
    short,
)
from webhook.web.pages.insights.periods import Period, whole_buckets
from webhook.web.pages.insights.tables import Listed, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureView:
    """`value` "": too few, and `listed` has them. `before`: the same of the period before, "" if it
    is not known. `behind`: which deployments it is of. `few`: how many, where there is no value."""

    id: str
    name: str
    value: str
    detail: str
    formula: str
    before: str
    behind: Kind
    behind_text: str
    listed: tuple[Listed, ...] = ()
    few: int = 0


def current(found: Insights) -> Figures:
    return _whole(found, current=True)


def _whole(found: Insights, *, current: bool) -> Figures:
    wanted = (one for one in found.figures if one.current is current and one.bucket is None)
    return next(wanted, Figures())


def withheld(found: Insights) -> tuple[Kind, ...]:
    """Of what too few are there, so that they are listed."""
    now = current(found)
    counts: tuple[tuple[Kind, int], ...] = (
        ("changes", now.changes),
        ("leads", now.leads_known),
        ("recoveries", now.recoveries.n),
    )
    return tuple(kind for kind, n in counts if 0 < n < FEWEST)


def dora(
    found: Insights, period: Period, few: Mapping[Kind, Sequence[Fact]]
) -> tuple[FigureView, ...]:
    """`few`: the deployments of each kind that is `withheld`."""
    now = current(found)
    before = _whole(found, current=False) if period.compares else None
    changes = tuple(listed(one) for one in few.get("changes", ()))
    leads = tuple(listed(one) for one in few.get("leads", ()))
    recoveries = tuple(listed(one) for one in few.get("recoveries", ()))
    return (
        _frequency(found, now, before, period, changes),
        _lead(now, before, leads),
        _failures(now, before, changes),
        _recovery(now, before, recoveries),
        _rework(now, before, changes),
        _failed_runs(now, before),
    )


def _frequency(
    found: Insights,
    now: Figures,
    before: Figures | None,
    period: Period,
    few: tuple[Listed, ...],
) -> FigureView:
    per_bucket = whole_buckets(found, period)
    unit = "day" if period.bucket <= timedelta(days=1) else "week"
    days = period.days
    times = f"{counted(now.changes, 'deployment')} on {now.days} different days"
    if now.days == 1:
        times = f"{counted(now.changes, 'deployment')} on one day"
    spread = (
        f"a {unit}: median {short(percentile(per_bucket, 0.5))},"
        f" p90 {short(percentile(per_bucket, 0.9))}, of {len(per_bucket)} whole {unit}s"
        if per_bucket
        else ""
    )
    return FigureView(
        id="frequency",
        name="Deployment frequency",
        value=_rate(now.changes, days) if now.changes >= FEWEST else "",
        detail="; ".join(one for one in (times, spread) if one),
        formula="successful deployments with another commit than the one that ran there ÷ days of"
        " the period; days without any count as 0",
        before=_before(before, lambda one: _rate(one.changes, days), lambda one: one.changes),
        behind="changes",
        behind_text=counted(now.changes, "deployment"),
        listed=few,
    )


def _rate(count: int, days: float) -> str:
    a_day = count / days
    if a_day >= 1:
        return f"{short(a_day)} a day"
    if a_day * 7 >= 1:
        return f"{short(a_day * 7)} a week"
    return f"{short(a_day * 30)} a month"


def _before(
    before: Figures | None, value: Callable[[Figures], str], n: Callable[[Figures], int]
) -> str:
    """`n`: of how many the value is."""
    if before is None:
        return ""
    return value(before) if n(before) >= FEWEST else f"too few ({n(before)})"


def _lead(now: Figures, before: Figures | None, few: tuple[Listed, ...]) -> FigureView:
    unknown = now.changes - now.leads_known
    missing = (
        f"; of {counted(unknown, 'change')} it is not known when the commits were made"
        if unknown > 0
        else ""
    )
    known = now.leads_known
    return FigureView(
        id="lead",
        name="Change lead time",
        value=median(now.leads) if known >= FEWEST else "",
        detail=f"{high(now.leads) if known >= FEWEST else ''}n ="
        f" {counted(now.leads.n, 'commit')} of {counted(known, 'deployment')}{missing}",
        formula="end of the successful deployment that brings a commit minus the commit's committer"
        " date, at least 0; of each commit",
        before=_before(before, lambda one: median(one.leads), lambda one: one.leads_known),
        behind="leads",
        behind_text=counted(known, "deployment"),
        listed=few,
    )


def _failures(now: Figures, before: Figures | None, few: tuple[Listed, ...]) -> FigureView:
    return FigureView(
        id="failures",
        name="Change failure rate",
        value=share(now.bad, now.changes) if now.changes >= FEWEST else "",
        detail=f"{now.bad} of {counted(now.changes, 'deployment')}",
        formula="successful deployments that were rolled back or fixed by a hotfix ÷ all successful"
        " deployments; a run that failed has changed nothing for users, and is below",
        before=_before(before, lambda one: share(one.bad, one.changes), lambda one: one.changes),
        behind="bad",
        behind_text=counted(now.bad, "deployment"),
        listed=few,
    )


def _recovery(now: Figures, before: Figures | None, few: tuple[Listed, ...]) -> FigureView:
    enough = now.recoveries.n >= FEWEST
    lasting = f"; {now.unrecovered} not recovered yet, counted so far" if now.unrecovered else ""
    return FigureView(
        id="recovery",
        name="Failed deployment recovery time",
        value=median(now.recoveries) if enough else "",
        detail=f"{high(now.recoveries) if enough else ''}n ="
        f" {counted(now.recoveries.n, 'deployment')}{lasting}",
        formula="end of the next successful deployment to the environment minus the end of the one"
        " that had to be rolled back or fixed",
        before=_before(before, lambda one: median(one.recoveries), lambda one: one.recoveries.n),
        behind="recoveries",
        behind_text=counted(now.recoveries.n, "deployment"),
        listed=few,
    )


def _rework(now: Figures, before: Figures | None, few: tuple[Listed, ...]) -> FigureView:
    return FigureView(
        id="rework",
        name="Deployment rework rate",
        value=share(now.rework, now.changes) if now.changes >= FEWEST else "",
        detail=f"{now.rework} of {counted(now.changes, 'deployment')}",
        formula="rollbacks and hotfixes ÷ all successful deployments",
        before=_before(before, lambda one: share(one.rework, one.changes), lambda one: one.changes),
        behind="rework",
        behind_text=counted(now.rework, "deployment"),
        listed=few,
    )


def _failed_runs(now: Figures, before: Figures | None) -> FigureView:
    """A count is right however few they are."""
    not_run = f"; {now.not_run} more ended before the tool was started" if now.not_run else ""
    repeated = f"; successes with the same commit as before, counted nowhere: {now.repeated}"
    return FigureView(
        id="runs",
        name="Failed runs",
        value=f"{now.failed:,}",
        detail=f"of {now.changes + now.repeated + now.failed:,} runs{not_run}"
        f"{repeated if now.repeated else ''}",
        formula="deployments whose tool ran and failed; they are no failed changes",
        before=f"{before.failed:,}" if before else "",
        behind="failed",
        behind_text=counted(now.failed + now.not_run, "deployment"),
    )


def duration(found: Insights, period: Period) -> FigureView:
    now = current(found)
    before = _whole(found, current=False) if period.compares else None
    enough = now.durations.n >= FEWEST
    return FigureView(
        id="duration",
        name="Duration",
        value=median(now.durations) if enough else "",
        detail=f"{high(now.durations, 'p95') if enough else ''}n ="
        f" {counted(now.durations.n, 'deployment')}"
        + ("" if enough else f"; a median needs {FEWEST}"),
        formula="end minus start of the tool, of successful deployments",
        before=_before(before, lambda one: median(one.durations), lambda one: one.durations.n),
        behind="all",
        behind_text="all deployments",
        few=0 if enough else now.durations.n,
    )

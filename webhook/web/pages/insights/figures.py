"""What the page of the insights shows, made of the store's figures alone.

The definitions are in docs/explanation/insights.md. A figure of fewer than `FEWEST` is none: there,
the deployments themselves are listed.
Source: dora.dev/guides/dora-metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from webhook.store.insights import Fact, Figures, Insights, Kind, Reason, Spread
from webhook.web import paths
from webhook.web.pages.elements import Link, Moment, line, moment

FEWEST = 5
_DAY = 86_400
# Deployments, commits: "1 deployment", "2 deployments".
_NOUNS = {"deployment": "deployments", "change": "changes", "commit": "commits"}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A deployment behind a figure. `marks`: what it counts as."""

    deployment: Link
    environment: Link
    commit: str
    ended: Moment
    label: str
    kind: str
    marks: tuple[str, ...]
    lead: str
    duration: str
    recovery: str
    reason: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentLine:
    repo: str
    environment: str
    name: Link
    changes: int
    few: bool
    lead: str
    failed: str
    recovery: str
    rework: str
    runs: int
    duration: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitLine:
    gate: str
    n: int
    median: str
    high: str
    before: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonLine:
    handler: str
    outcome: str
    reason: str
    failures: int
    before: str
    newest: Link


def span(seconds: float) -> str:
    """Two digits are enough for a median: 42 s, 3.4 min, 17 h, 2.5 d."""
    for size, unit in ((_DAY, "d"), (3600, "h"), (60, "min")):
        if round(seconds / size, 2) >= 1:
            return f"{_short(seconds / size)} {unit}"
    return f"{seconds:.0f} s"


def _short(number: float) -> str:
    text = f"{number:,.0f}" if number >= 9.95 else f"{number:.1f}"
    return text.removesuffix(".0")


def share(part: int, of: int) -> str:
    return f"{100 * part / of:.0f}%" if of else ""


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else _NOUNS[noun]}"


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
        f"a {unit}: median {_short(_at(per_bucket, 0.5))}, p90 {_short(_at(per_bucket, 0.9))},"
        f" of {len(per_bucket)} whole {unit}s"
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
        before=_before(before, _rate(before.changes, days) if before else "", before_n(before)),
        behind="changes",
        behind_text=counted(now.changes, "deployment"),
        listed=few,
    )


def before_n(before: Figures | None) -> int:
    return before.changes if before else 0


def _rate(count: int, days: float) -> str:
    a_day = count / days
    if a_day >= 1:
        return f"{_short(a_day)} a day"
    if a_day * 7 >= 1:
        return f"{_short(a_day * 7)} a week"
    return f"{_short(a_day * 30)} a month"


def _before(before: Figures | None, value: str, n: int) -> str:
    if before is None:
        return ""
    return value if n >= FEWEST else f"too few ({n})"


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
        value=_median(now.leads) if known >= FEWEST else "",
        detail=f"{_high(now.leads) if known >= FEWEST else ''}n ="
        f" {counted(now.leads.n, 'commit')} of {counted(known, 'deployment')}{missing}",
        formula="end of the successful deployment that brings a commit minus the commit's committer"
        " date, at least 0; of each commit",
        before=_before(before, _median(before.leads), before.leads_known) if before else "",
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
        before=_before(before, share(before.bad, before.changes), before.changes) if before else "",
        behind="bad",
        behind_text=counted(now.bad, "deployment"),
        listed=few,
    )


def _recovery(now: Figures, before: Figures | None, few: tuple[Listed, ...]) -> FigureView:
    enough = now.recoveries.n >= FEWEST
    lasting = f"; {now.unrecovered} not recovered yet, counted so far" if now.unrecovered else ""
    old = _before(before, _median(before.recoveries), before.recoveries.n) if before else ""
    return FigureView(
        id="recovery",
        name="Failed deployment recovery time",
        value=_median(now.recoveries) if enough else "",
        detail=f"{_high(now.recoveries) if enough else ''}n ="
        f" {counted(now.recoveries.n, 'deployment')}{lasting}",
        formula="end of the next successful deployment to the environment minus the end of the one"
        " that had to be rolled back or fixed",
        before=old,
        behind="recoveries",
        behind_text=counted(now.recoveries.n, "deployment"),
        listed=few,
    )


def _rework(now: Figures, before: Figures | None, few: tuple[Listed, ...]) -> FigureView:
    old = _before(before, share(before.rework, before.changes), before.changes) if before else ""
    return FigureView(
        id="rework",
        name="Deployment rework rate",
        value=share(now.rework, now.changes) if now.changes >= FEWEST else "",
        detail=f"{now.rework} of {counted(now.changes, 'deployment')}",
        formula="rollbacks and hotfixes ÷ all successful deployments",
        before=old,
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


def _median(spread: Spread) -> str:
    return span(spread.median) if spread.median is not None else ""


def _high(spread: Spread, name: str = "p90") -> str:
    return f"median; {name} {span(spread.high)}; " if spread.high is not None else ""


def duration(found: Insights, period: Period) -> FigureView:
    now = current(found)
    before = _whole(found, current=False) if period.compares else None
    enough = now.durations.n >= FEWEST
    old = _before(before, _median(before.durations), before.durations.n) if before else ""
    return FigureView(
        id="duration",
        name="Duration",
        value=_median(now.durations) if enough else "",
        detail=f"{_high(now.durations, 'p95') if enough else ''}n ="
        f" {counted(now.durations.n, 'deployment')}"
        + ("" if enough else f"; a median needs {FEWEST}"),
        formula="end minus start of the tool, of successful deployments",
        before=old,
        behind="all",
        behind_text="all deployments",
        few=0 if enough else now.durations.n,
    )


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


def _at(values: Sequence[int], part: float) -> float:
    """As PostgreSQL's percentile_cont."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def environment_line(one: Figures) -> EnvironmentLine:
    enough = one.changes >= FEWEST
    return EnvironmentLine(
        repo=one.repo,
        environment=one.environment,
        name=_environment(one.repo, one.environment),
        changes=one.changes,
        few=not enough,
        lead=_pair(one.leads) if one.leads_known >= FEWEST else "",
        failed=share(one.bad, one.changes) if enough else "",
        recovery=_pair(one.recoveries) if one.recoveries.n >= FEWEST else "",
        rework=share(one.rework, one.changes) if enough else "",
        runs=one.failed,
        duration=_pair(one.durations) if one.durations.n >= FEWEST else "",
    )


def _pair(spread: Spread) -> str:
    if spread.median is None or spread.high is None:
        return ""
    return f"{span(spread.median)} / {span(spread.high)}"


def waits(found: Insights, period: Period) -> tuple[WaitLine, ...]:
    return tuple(
        WaitLine(
            gate=line(one.gate).replace("_", " "),
            n=one.waited.n,
            median=_median(one.waited) if one.waited.n >= FEWEST else "too few",
            high=span(one.waited.high or 0) if one.waited.n >= FEWEST else "",
            before=(_median(one.before) if one.before.n >= FEWEST else f"too few ({one.before.n})")
            if period.compares
            else "",
        )
        for one in found.waits
        if one.waited.n
    )


def reason_line(one: Reason, repo: str, period: Period) -> ReasonLine:
    return ReasonLine(
        handler=line(one.handler) or "none",
        outcome=one.outcome,
        reason=line(one.reason) or "no reason was given",
        failures=one.failures,
        before=f"{one.before:,}" if period.compares else "",
        newest=_deployment(repo, one.newest, kept=one.kept),
    )


def _deployment(repo: str, number: int, *, kept: bool) -> Link:
    """Without an address where its page is gone."""
    return Link(paths.deployment(repo, number) if repo and kept else "", str(number))


def _environment(repo: str, name: str) -> Link:
    text = line(f"{repo}: {name}" if repo else name)
    return Link(paths.environment(repo, name) if repo else "", text)


_OUTCOMES = {"success": ("succeeded", "good"), "failure": ("failed", "bad")}


def listed(one: Fact) -> Listed:
    label, kind = _OUTCOMES.get(one.outcome, ("error", "error"))
    marks = {
        "same commit": one.outcome == "success" and not one.change,
        "rollback or hotfix": one.rework,
        "had to be repaired": one.bad,
        "did not run": not one.ran,
    }
    so_far = "" if one.recovered else " so far"
    return Listed(
        deployment=_deployment(one.repo, one.deployment_id, kept=one.kept),
        environment=_environment(one.repo, one.environment),
        commit=line(one.sha)[:7],
        ended=moment(one.ended_at, "%d %b %Y, %H:%M"),
        label=label,
        kind=kind,
        marks=tuple(text for text, holds in marks.items() if holds),
        lead=f"{span(one.lead)} ({counted(one.commits or 0, 'commit')})"
        if one.lead is not None
        else "",
        duration=span(one.duration) if one.duration is not None else "",
        recovery=f"{span(one.recovery)}{so_far}" if one.recovery is not None else "",
        reason=line(one.reason),
    )

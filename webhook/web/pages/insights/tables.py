"""The tables of the insights, and the deployments behind a figure: plain data, made of the store's
figures alone.

Text from outside is one line without control characters; escaping is the templates'.
"""

from dataclasses import dataclass

from webhook.store.insights import Fact, Figures, Insights, Reason
from webhook.web import paths
from webhook.web.pages.elements import Link, Moment, line, moment
from webhook.web.pages.insights.amounts import FEWEST, counted, median, pair, share, span
from webhook.web.pages.insights.periods import Period


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
class EnvironmentLine:
    repo: str
    environment: str
    name: Link
    changes: int
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


def environment_line(one: Figures) -> EnvironmentLine:
    enough = one.changes >= FEWEST
    return EnvironmentLine(
        repo=one.repo,
        environment=one.environment,
        name=_environment(one.repo, one.environment),
        changes=one.changes,
        lead=pair(one.leads) if one.leads_known >= FEWEST else "",
        failed=share(one.bad, one.changes) if enough else "",
        recovery=pair(one.recoveries) if one.recoveries.n >= FEWEST else "",
        rework=share(one.rework, one.changes) if enough else "",
        runs=one.failed,
        duration=pair(one.durations) if one.durations.n >= FEWEST else "",
    )


def waits(found: Insights, period: Period) -> tuple[WaitLine, ...]:
    return tuple(
        WaitLine(
            gate=line(one.gate).replace("_", " "),
            n=one.waited.n,
            median=median(one.waited) if one.waited.n >= FEWEST else "too few",
            high=span(one.waited.high or 0) if one.waited.n >= FEWEST else "",
            before=(median(one.before) if one.before.n >= FEWEST else f"too few ({one.before.n})")
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

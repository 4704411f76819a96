"""The insights: DORA's figures, durations, waits and failures, of what the viewer may see.

Errors: 400 a period or a place in the list that is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast, get_args

from flask import Blueprint, Response, render_template, request

from webhook.errors import HttpError
from webhook.store import insights
from webhook.store.database import Sync
from webhook.store.insights import Fact, Insights, Kind, Scope
from webhook.text import one_line
from webhook.web import paths
from webhook.web.auth.viewer import Viewer
from webhook.web.pages.elements import Moment, moment
from webhook.web.pages.insights import charts, figures, tables
from webhook.web.pages.insights.amounts import FEWEST
from webhook.web.pages.insights.charts import Chart
from webhook.web.pages.insights.figures import FigureView
from webhook.web.pages.insights.periods import Period
from webhook.web.pages.insights.tables import EnvironmentLine, Listed, ReasonLine, WaitLine
from webhook.web.services import PageServices
from webhook.web.table_file import table_file

DAYS = (7, 30, 90, 365)
USUAL_DAYS = 30
ON_A_PAGE = 50
# Environments that have a line of their own.
MOST_ENVIRONMENTS = 25
# Names of repositories that the form offers.
MOST_NAMES = 200
# Of a file for a table program.
MOST_IN_FILE = 10_000
_LONGEST = 255
# Longer periods are drawn by week.
_DAILY = 30
KINDS: Mapping[Kind, str] = {
    "all": "All that ended",
    "changes": "Successful, another commit",
    "leads": "With commit times",
    "bad": "Rolled back or hot-fixed",
    "recoveries": "Repaired",
    "rework": "Rollbacks and hotfixes",
    "failed": "Failed runs",
}
_COLUMNS = (
    *("deployment_id", "repo", "environment", "production", "sha", "outcome", "ran", "change"),
    *("rework", "bad", "requested_at", "started_at", "ended_at", "commits", "lead", "duration"),
    *("recovery", "recovered", "reason"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """As in the address. `environment`: a name, "" for all that are production, "*" for all."""

    repo: str
    environment: str
    days: int
    kind: Kind | None = None

    @classmethod
    def of(cls, args: Mapping[str, str]) -> "Filter":
        kind = args.get("kind", "")
        return cls(
            repo=one_line(args.get("repo", ""), _LONGEST),
            environment=one_line(args.get("environment", ""), _LONGEST),
            days=_days(args.get("days", "")),
            kind=cast("Kind", kind) if kind in get_args(Kind) else None,
        )

    @property
    def narrow(self) -> bool:
        return bool(self.repo or self.environment)

    def path(self, base: str = paths.INSIGHTS, **changed: str) -> str:
        days = "" if self.days == USUAL_DAYS else str(self.days)
        given = {"repo": self.repo, "environment": self.environment, "days": days}
        return paths.with_query(base, **{**given, **changed})


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    filter: Filter
    since: Moment
    repositories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightsView(_View):
    """`reaches`: back to when, where only the newest `most` were counted. `before`: whether the
    period before was counted whole."""

    reaches: Moment | None
    most: int
    before: bool
    empty: bool
    dora: tuple[FigureView, ...]
    duration: FigureView
    charts: tuple[Chart, ...]
    environments: tuple[EnvironmentLine, ...]
    all_environments: bool
    waits: tuple[WaitLine, ...]
    reasons: tuple[ReasonLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListView(_View):
    name: str
    listed: tuple[Listed, ...]
    older: str
    newest: str


@dataclass(frozen=True, slots=True)
class _Question:
    services: PageServices
    filter: Filter
    scope: Scope
    names: Mapping[int, str]
    now: datetime

    def facts(self, connection: Sync, kind: Kind, limit: int, after: Any = None) -> list[Fact]:
        found = insights.facts(
            connection, self.scope, self.now, kind=kind, after=after, limit=limit
        )
        return [replace(one, repo=self.name(one.repo_id, one.repo)) for one in found]

    def name(self, repo_id: int, current: str = "") -> str:
        """Of a repository whose names were not kept, that of its newest deployment."""
        return current or self.names.get(repo_id, "")


def add_to(bp: Blueprint, services: PageServices) -> None:
    @bp.get(paths.INSIGHTS)
    def show_insights() -> str:
        question = _question(services, services.require_viewer())
        if question.filter.kind:
            return render_template("insights_list.html", page=_list(question))
        return render_template("insights.html", page=_page(question))

    @bp.get(f"{paths.INSIGHTS}.csv")
    def insights_file() -> Response:
        question = _question(services, services.require_viewer())
        with services.pool.connection() as connection:
            found = question.facts(connection, question.filter.kind or "all", MOST_IN_FILE)
        rows = ([getattr(one, name) for name in _COLUMNS] for one in found)
        return table_file("insights.csv", _COLUMNS, rows)


def _question(services: PageServices, viewer: Viewer) -> _Question:
    chosen = Filter.of(request.args)
    seen = viewer.visible()
    known = services.permissions.repositories()
    names = {one: known[one].name for one in seen if one in known}
    # Whoever sees all has no list of them, which would be long.
    repo_ids = None if viewer.operator else tuple(sorted(names))
    if chosen.repo:
        wanted = chosen.repo.casefold()
        repo_ids = tuple(one for one, name in names.items() if name.casefold() == wanted)
    now = services.clock()
    period = timedelta(days=chosen.days)
    scope = Scope(
        repo_ids=repo_ids,
        environment=chosen.environment,
        before=now - 2 * period,
        since=now - period,
        until=now,
        bucket="day" if chosen.days <= _DAILY else "week",
    )
    return _Question(services, chosen, scope, names, now)


def _days(text: str) -> int:
    if not text:
        return USUAL_DAYS
    if text in (str(one) for one in DAYS):
        return int(text)
    raise HttpError(
        400,
        "There is no such period",
        detail="The figures are of 7, 30, 90 or 365 days.",
        remedy="Choose one of them in the form.",
    )


def _page(question: _Question) -> InsightsView:
    chosen = question.filter
    with question.services.pool.connection() as connection:
        found = insights.read(connection, question.scope, question.now, MOST_ENVIRONMENTS)
        few = {kind: question.facts(connection, kind, FEWEST) for kind in figures.withheld(found)}
    period = _period(question.scope, found)
    return InsightsView(
        filter=chosen,
        since=_since(question),
        repositories=_repositories(question),
        reaches=moment(found.reaches) if found.reaches else None,
        most=insights.MOST,
        before=period.compares,
        empty=not any(one.current for one in found.figures),
        dora=figures.dora(found, period, few),
        duration=figures.duration(found, period),
        charts=charts.charts(found, period),
        environments=_environments(question, found),
        all_environments=len(found.environments) < MOST_ENVIRONMENTS,
        waits=tables.waits(found, period),
        reasons=tuple(
            tables.reason_line(one, question.name(one.repo_id), period) for one in found.reasons
        ),
    )


def _list(question: _Question) -> ListView:
    """The deployments behind a figure."""
    chosen = question.filter
    kind = chosen.kind or "all"
    after = _after(request.args.get("after", ""))
    with question.services.pool.connection() as connection:
        found = question.facts(connection, kind, ON_A_PAGE + 1, after)
    listed = tuple(tables.listed(one) for one in found[:ON_A_PAGE])
    return ListView(
        filter=chosen,
        since=_since(question),
        repositories=_repositories(question),
        name=KINDS[kind],
        listed=listed,
        older=_older(chosen, found),
        newest=chosen.path(kind=kind) if after else "",
    )


def _since(question: _Question) -> Moment:
    return moment(question.scope.since, "%d %b %Y, %H:%M")


def _repositories(question: _Question) -> tuple[str, ...]:
    return tuple(sorted(question.names.values())[:MOST_NAMES])


def _older(chosen: Filter, behind: Sequence[Fact]) -> str:
    """The address of the next page of the list."""
    if len(behind) <= ON_A_PAGE:
        return ""
    last = behind[ON_A_PAGE - 1]
    after = f"{last.ended_at.astimezone(UTC).isoformat()}_{last.deployment_id}"
    return chosen.path(kind=str(chosen.kind), after=after)


def _after(text: str) -> tuple[datetime, int] | None:
    if not text:
        return None
    at, _, number = text.partition("_")
    try:
        ended_at = datetime.fromisoformat(at)
        return ended_at.replace(tzinfo=ended_at.tzinfo or UTC), int(number[:18])
    except ValueError:
        raise HttpError(
            400,
            "There is no such place in the list",
            detail="The address of this page was changed on its way.",
            remedy="Begin with the newest deployments.",
        ) from None


def _period(scope: Scope, found: Insights) -> Period:
    return Period(
        since=scope.since,
        until=scope.until,
        bucket=timedelta(days=1 if scope.bucket == "day" else 7),
        reaches=found.reaches,
    )


def _environments(question: _Question, found: Insights) -> tuple[EnvironmentLine, ...]:
    """By name: an order by figures would be a ranking."""
    named = [replace(one, repo=question.name(one.repo_id, one.repo)) for one in found.environments]
    named.sort(key=lambda one: (one.repo.casefold(), one.environment))
    return tuple(tables.environment_line(one) for one in named)

"""What was deployed to an environment, on its page: plain data.

Text from outside is one line without control characters; escaping is the templates'.
"""

from dataclasses import dataclass
from datetime import datetime

from handlers import durations
from webhook.deployments.changelog import Changelog
from webhook.deployments.difference import on_github
from webhook.deployments.labels import Label, phase_label
from webhook.deployments.phases import Phase
from webhook.store.environment_history import PastDeployment
from webhook.text import web_url
from webhook.web import paths
from webhook.web.pages.elements import SOMEBODY, Link, Moment, line, moment
from webhook.web.pages.environment.data import EnvironmentData


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    label: Label
    ref: str
    sha: Link
    who: str
    at: Moment
    took: str
    changes: str
    page: Link
    description: str
    back_to: str


def build_history(data: EnvironmentData, repo_url: str) -> tuple[HistoryRow, ...]:
    return tuple(_row(one, data, repo_url) for one in data.history.rows)


def _row(one: PastDeployment, data: EnvironmentData, repo_url: str) -> HistoryRow:
    sha = line(one.sha[:7])
    newest = data.newest
    returns = (
        one.succeeded
        and data.can_roll_back
        and newest is not None
        and one.id < newest.id
        and one.sha != newest.sha
    )
    path = paths.roll_back(data.where.repo, data.where.name)
    return HistoryRow(
        label=phase_label(one.phase, held=one.held, started=one.started, blocked=one.blocked),
        ref=line(one.shown_ref) if one.shown_ref != one.sha else "",
        sha=Link(on_github(web_url(one.repo_url) or repo_url, "commit", one.sha), sha),
        who=line(one.who) or SOMEBODY,
        at=moment(one.at),
        took=_took(one.started_at, one.ended_at),
        changes=_changes(one),
        page=Link(paths.deployment(one.repo, one.id), f"{one.id}"),
        description=line(one.description) if one.phase in _SAYS_WHY else "",
        back_to=paths.with_query(path, to=str(one.id)) if returns else "",
    )


_SAYS_WHY = (Phase.FAILURE, Phase.ERROR, Phase.SUPERSEDED)


def _took(begun: datetime | None, ended: datetime | None) -> str:
    if begun is None or ended is None:
        return ""
    return durations.write(max(0, round((ended - begun).total_seconds())))


def _changes(one: PastDeployment) -> str:
    """ "" where nobody knows."""
    if one.total is None:
        return ""
    summary = Changelog("", one.total, one.behind or 0, ()).summary
    return summary.removeprefix("Deploys ") or "the same commit"

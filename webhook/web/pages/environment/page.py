"""What the page of an environment shows: rows of the store and deploy.yml in, plain data out.

Text from outside is one line without control characters; escaping is the templates'.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from webhook.config.environments import Config
from webhook.deployments.difference import on_github
from webhook.deployments.labels import Label, phase_label
from webhook.deployments.locks import Lock, is_pattern, is_stop, owned_by
from webhook.deployments.models import is_production
from webhook.deployments.queue import Queued
from webhook.gates.contract import Gates
from webhook.logs import Redactor
from webhook.store.deployments import DeploymentRow
from webhook.text import web_url
from webhook.web import paths
from webhook.web.pages.elements import SOMEBODY, Link, Moment, line, moment, version
from webhook.web.pages.environment.calendar import Calendar, build_calendar
from webhook.web.pages.environment.chain import ChainView, chain_after, chain_before
from webhook.web.pages.environment.data import EnvironmentData, Where
from webhook.web.pages.environment.history import HistoryRow, build_history
from webhook.web.pages.environment.policy import PolicyView, build_policy
from webhook.web.pages.gates import BlockerView, LockView, blocker_view, lock_view


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """What a deployment has put there, or is to. `run`: at its tool; `address`: of what runs."""

    label: Label
    ref: Link | None
    sha: Link
    since: Moment
    who: str
    page: Link
    run: Link | None
    address: Link | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedView:
    position: str
    deployment: Link
    version: str
    blockers: tuple[BlockerView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentLock:
    """`own`: of who looks. `everywhere`: in all repositories, as the `stop` of everything is.
    `fields`: of the form that ends it."""

    lock: LockView
    own: bool
    stop: bool
    everywhere: bool
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentView:
    """`there`: None where nothing was ever deployed. `newest`: what was begun after that.
    `before`, `after`: of the chain. `waiting`: how many wait. `back`: what a rollback returns to,
    "" for nothing. `lock_error`: why it cannot be locked; `locked_by`: whose lock it has, "" for
    nobody's. `pattern`: deploy.yml has it as one, of several environments."""

    title: str
    repo: str
    repo_url: Link
    environment: str
    path: str
    production: bool
    description: str
    tone: str
    routed: bool
    pattern: bool
    there: VersionView | None
    newest: VersionView | None
    before: tuple[ChainView, ...]
    after: tuple[ChainView, ...]
    queue: tuple[QueuedView, ...]
    waiting: int
    locks: tuple[EnvironmentLock, ...]
    lock_error: str
    can_lock: bool
    locked_by: str
    own_lock: bool
    back: str
    roll_back_path: str
    deploy_path: str
    history: tuple[HistoryRow, ...]
    calendar: Calendar
    policy: PolicyView | None


def build_environment(
    data: EnvironmentData,
    now: datetime,
    config: Config,
    gates: Gates,
    redactor: Redactor,
    *,
    login: str = "",
) -> EnvironmentView:
    """`login`: of who looks."""
    where = data.where
    row = data.newest or data.live
    production = _is_production(data)
    repo_url = web_url(row.repo_url) if row else ""
    there = _live(data) if data.live else None
    newer = data.newest is not None and (data.live is None or data.newest.id > data.live.id)
    own = next((one for one in data.locks if _is_of(one, where)), None)
    back = data.back if data.can_roll_back else None
    return EnvironmentView(
        title=f"{line(where.name)} of {line(where.repo)}",
        repo=line(where.repo),
        repo_url=Link(repo_url, line(where.repo)),
        environment=line(where.name),
        path=paths.environment(where.repo, where.name),
        production=production,
        description=line(data.policy.environment.description) if data.policy else "",
        tone=_label(data.newest).kind if data.newest else "",
        routed=where.listed is not None,
        pattern=is_pattern(where.name),
        there=there,
        newest=_version(data.newest) if newer and data.newest else None,
        before=chain_before(data, repo_url),
        after=chain_after(data, repo_url),
        queue=tuple(_queued(one, data.waiting) for one in data.queue),
        waiting=max((one.total for one in data.queue if not one.running), default=0),
        locks=tuple(_lock(one, where, login) for one in data.locks),
        lock_error=line(data.lock_error),
        can_lock=where.listed is not None and not data.lock_error,
        locked_by=line(own.owner) if own else "",
        own_lock=own is not None and owned_by(own, login),
        back=version(back.shown_ref, back.sha) if back else "",
        roll_back_path=paths.roll_back(where.repo, where.name),
        deploy_path=paths.deploy(where.repo, where.name),
        history=build_history(data, repo_url),
        calendar=build_calendar(data.frozen_windows, data.locks, now),
        policy=build_policy(data, config, gates, redactor),
    )


def _is_production(data: EnvironmentData) -> bool:
    if data.policy is not None:
        configured = data.policy.environment.production_environment
        return is_production(data.where.name, configured)
    row = data.newest or data.live
    return row.production if row else is_production(data.where.name, None)


def _label(row: DeploymentRow) -> Label:
    held = bool(row.run and row.run.held and row.ended_at is None)
    blocked = bool(row.blockers) and row.ended_at is None
    return phase_label(row.phase, held=held, started=row.run is not None, blocked=blocked)


def _live(data: EnvironmentData) -> VersionView:
    assert data.live is not None
    return _version(data.live, data.live_lineage.login)


def _version(row: DeploymentRow, who: str = "") -> VersionView:
    return VersionView(
        label=_label(row),
        ref=_ref(row),
        sha=_sha(row.repo_url, row.sha),
        since=moment(row.ended_at or row.phase_at),
        who=line(who or row.asker or row.creator) or SOMEBODY,
        page=Link(paths.deployment(row.repo, row.id), f"deployment {row.id}"),
        run=_link(row.run.url, "run") if row.run else None,
        address=_link(row.environment_url, row.environment_url),
        status=line(row.status_description),
    )


def _ref(row: DeploymentRow) -> Link | None:
    if row.shown_ref == row.sha:
        return None
    return Link(on_github(web_url(row.repo_url), "tree", row.shown_ref), line(row.shown_ref))


def _sha(repo_url: str, sha: str) -> Link:
    return Link(on_github(web_url(repo_url), "commit", sha), line(sha[:7]))


def _link(url: str, text: str) -> Link | None:
    safe = web_url(url)
    return Link(safe, line(text)) if safe else None


def _queued(one: Queued, rows: Iterable[DeploymentRow]) -> QueuedView:
    row = next((row for row in rows if row.id == one.deployment_id), None)
    blockers = row.blockers if row and not one.running else ()
    return QueuedView(
        position=one.shown_position,
        deployment=Link(
            paths.deployment(one.repo, one.deployment_id), f"deployment {one.deployment_id}"
        ),
        version=version(one.ref, one.sha),
        blockers=tuple(map(blocker_view, blockers)),
    )


def _is_of(lock: Lock, where: Where) -> bool:
    return lock.repo_id == where.repo_id and lock.environment.lower() == where.name.lower()


def _lock(one: Lock, where: Where, login: str) -> EnvironmentLock:
    return EnvironmentLock(
        lock=lock_view(one),
        own=owned_by(one, login),
        stop=is_stop(one),
        everywhere=one.repo_id == 0,
        fields={"repo": where.repo, "environment": one.environment} if one.repo_id else {},
    )

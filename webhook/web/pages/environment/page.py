"""What the page of an environment shows: rows of the store and deploy.yml in, plain data out.

Text from outside is one line without control characters; escaping is the templates'.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from handlers import durations
from webhook.config.environments import Config
from webhook.deployments.changelog import Changelog
from webhook.deployments.difference import on_github
from webhook.deployments.labels import Label, phase_label
from webhook.deployments.locks import Lock, is_pattern, is_stop, owned_by
from webhook.deployments.models import is_production
from webhook.deployments.phases import Phase
from webhook.deployments.queue import Queued
from webhook.engine.policy_lines import policy_lines
from webhook.gates.contract import Deny, Gates, Wait
from webhook.logs import Redactor
from webhook.repository_file.lines import DEFAULT
from webhook.store.deployments import DeploymentRow
from webhook.store.environment_history import History, PastDeployment
from webhook.store.promotions import Next
from webhook.text import web_url
from webhook.web import paths
from webhook.web.pages.elements import Link, Moment, line, moment, version
from webhook.web.pages.environment.calendar import Calendar, build_calendar
from webhook.web.pages.environment.data import EnvironmentData, Where
from webhook.web.pages.gates import BlockerView, LockView, blocker_view, lock_view

# GitHub sends no login for an account that was deleted.
_SOMEBODY = "somebody"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainView:
    """Another environment of the chain. `same`: it has what this one has. `diff`: on GitHub.
    `promote`: the fields of the form that promotes; none where there is nothing to."""

    environment: Link
    has: str
    state: str
    same: bool
    diff: Link | None
    promote: Mapping[str, str]
    what: str


@dataclass(frozen=True, slots=True)
class PolicyLine:
    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """`defaults`: what nobody has set. `problem`: why the repository's own file lets nothing
    start. `file_read`: when that was read."""

    lines: tuple[PolicyLine, ...]
    defaults: tuple[PolicyLine, ...]
    problem: str
    file_read: Moment | None
    handler: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentView:
    """`there`: None where nothing was ever deployed. `newest`: what was begun after that.
    `running`: how many run; `waiting`: how many wait. `back`: what a rollback returns to, "" for
    nothing. `lock_error`: why it cannot be locked.
    `pattern`: deploy.yml has it as one, of several environments."""

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
    back = data.back if _can_roll_back(data.newest) else None
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
        before=tuple(_before(data, repo_url)),
        after=tuple(_after(data, one, repo_url) for one in data.chain.after),
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
        history=build_history(data.history, data, repo_url),
        calendar=build_calendar(data.frozen_windows, data.locks, now),
        policy=_policy(data, config, gates, redactor),
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
        who=line(who or row.asker or row.creator) or _SOMEBODY,
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


def _can_roll_back(row: DeploymentRow | None) -> bool:
    return row is not None and row.phase.final and not row.watched


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


def build_history(history: History, data: EnvironmentData, repo_url: str) -> tuple[HistoryRow, ...]:
    return tuple(_row(one, data, repo_url) for one in history.rows)


def _row(one: PastDeployment, data: EnvironmentData, repo_url: str) -> HistoryRow:
    sha = line(one.sha[:7])
    newest = data.newest
    returns = (
        one.succeeded
        and _can_roll_back(newest)
        and newest is not None
        and one.id < newest.id
        and one.sha != newest.sha
    )
    path = paths.roll_back(data.where.repo, data.where.name)
    return HistoryRow(
        label=phase_label(one.phase, held=one.held, started=one.started, blocked=one.blocked),
        ref=line(one.shown_ref) if one.shown_ref != one.sha else "",
        sha=Link(on_github(web_url(one.repo_url) or repo_url, "commit", one.sha), sha),
        who=line(one.who) or _SOMEBODY,
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


def _before(data: EnvironmentData, repo_url: str) -> Iterator[ChainView]:
    where, here = data.where, data.chain.here
    for one in data.chain.before:
        same = data.live is not None and one.sha == data.live.sha
        promotable = one.phase is Phase.SUCCESS and not same and where.listed is not None
        promote = {
            "deployment": str(one.id),
            "target": str(here.newest_id if here else 0),
            "input.environment": where.name,
        }
        sha = line(one.sha[:7])
        live = data.live.sha if data.live else ""
        yield ChainView(
            environment=_environment(where, one.environment),
            has=sha,
            state="" if one.phase is Phase.SUCCESS else _UPSTREAM.get(one.phase, one.phase.value),
            same=same,
            diff=_diff(repo_url, live, one.sha),
            promote=promote if promotable else {},
            what=f"Deploy {sha}, which {line(one.environment)} has, to {line(where.name)}?",
        )


_UPSTREAM = {
    Phase.IN_PROGRESS: "it is being deployed",
    Phase.QUEUED: "it waits",
    Phase.FAILURE: "it has failed",
    Phase.ERROR: "it could not run",
    Phase.INACTIVE: "it is not there any more",
}


def _after(data: EnvironmentData, one: Next, repo_url: str) -> ChainView:
    where, live = data.where, data.live
    same = live is not None and one.live_sha == live.sha
    newest = data.newest
    succeeded = newest is not None and newest.phase is Phase.SUCCESS
    under_way = newest is not None and newest.sha == one.newest_sha
    promote = {
        "deployment": str(newest.id) if newest else "",
        "target": str(one.newest_id),
        "input.environment": one.environment,
    }
    state = "it gets this by itself" if one.promised else ""
    if under_way and not same:
        state = "this was requested there already"
    possible = succeeded and not (same or under_way or one.promised)
    sha = line(newest.sha[:7]) if newest else ""
    return ChainView(
        environment=_environment(where, one.environment),
        has=version(one.live_ref, one.live_sha) if one.live_sha else "",
        state=state,
        same=same,
        diff=_diff(repo_url, one.live_sha, live.sha if live else ""),
        promote=promote if possible else {},
        what=f"Deploy {sha}, which {line(where.name)} has, to {line(one.environment)}?",
    )


def _environment(where: Where, name: str) -> Link:
    return Link(paths.environment(where.repo, name), line(name))


def _diff(repo_url: str, base: str, head: str) -> Link | None:
    if not (repo_url and base and head) or base == head:
        return None
    return Link(on_github(repo_url, "compare", f"{base}...{head}"), "Compare on GitHub")


def _policy(
    data: EnvironmentData, config: Config, gates: Gates, redactor: Redactor
) -> PolicyView | None:
    listed, policy = data.where.listed, data.policy
    if listed is None or policy is None:
        return None
    found = [
        (
            PolicyLine(
                key=line(one.key),
                value=line(redactor.text(_value(one.value, one.ignored))),
                origin=line(one.origin),
            ),
            one.origin == DEFAULT and not one.ignored,
        )
        for one in policy_lines(config, gates, listed, policy)
    ]
    problem = ""
    if isinstance(policy.file, Deny | Wait):
        problem = ". ".join(part for part in (policy.file.reason, policy.file.way_out) if part)
    return PolicyView(
        lines=tuple(one for one, minor in found if not minor),
        defaults=tuple(one for one, minor in found if minor),
        problem=line(redactor.text(problem)),
        file_read=moment(data.file_read) if data.file_read else None,
        handler=line(listed.handler),
        held=listed.can_be_held,
    )


def _value(value: str, ignored: str) -> str:
    return "; ".join(part for part in (value, f"ignored: {ignored}" if ignored else "") if part)

"""What has been deployed to an environment, and what is there now, for its page.

A filter of the history looks through a bounded number of deployments at once, however few of them
match: the next page goes on where it has stopped.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from webhook.deployments.phases import Phase
from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow, read_where_sync

# Rows of a page, and deployments that a filter looks through for it.
ON_A_PAGE = 25
LOOKED_THROUGH = 1000
# Deployments and automatic ones from which refs are suggested, and suggestions.
_RECENT, _RECENT_AUTOMATIC = 100, 50
MOST_REFS = 60

_HERE = "repo_id = %(repo)s and lower(environment) = lower(%(environment)s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """`phases`: none for all. `who`: a login, "" for anybody."""

    phases: tuple[Phase, ...] = ()
    who: str = ""

    @property
    def empty(self) -> bool:
        return not (self.phases or self.who)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDeployment:
    """`started`: its tool was started; `held`: it waits for a person; `blocked`: it waits for its
    gates. `who`: who asked for it. `total`, `behind`: the commits that it brought, and took back;
    None where nobody has compared them."""

    id: int
    repo: str
    repo_url: str
    phase: Phase
    started: bool
    held: bool
    blocked: bool
    succeeded: bool
    ref: str
    ref_name: str
    sha: str
    who: str
    at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    total: int | None
    behind: int | None
    description: str

    @property
    def shown_ref(self) -> str:
        return self.ref_name or self.ref


@dataclass(frozen=True, slots=True)
class History:
    """`older`: the number before which the rest comes, 0 if there is none. `looked_through`: how
    many a filter has seen for this page, 0 where there is none."""

    rows: tuple[PastDeployment, ...]
    older: int
    looked_through: int = 0


_HELD = """
    ended_at is null and coalesce((select held from timeline
        where deployment_id = deployments.id and counted order by position desc limit 1), false)
"""
# The newest that anybody has asked for, or reported.
_WINDOW = f"""
    select * from deployments where {_HERE} and id < %(before)s order by id desc limit %(window)s
"""
_HISTORY = f"""
select id, repo, repo_url, phase, run is not null as started, {_HELD} as held,
    waiting as blocked, succeeded, ref, coalesce(asked.ref_name, '') as ref_name, sha,
    {{who}} as who, coalesce(requested_at, created_at) as at, started_at, ended_at,
    (changelog->>'total')::int as total, (changelog->>'behind')::int as behind,
    status_description as description
from ({_WINDOW}) deployments left join lateral (
    select login, ref_name from actions where created_deployment_id = deployments.id
    order by actions.id limit 1
) asked on true
where (%(phases)s::text[] is null or phase = any(%(phases)s))
    and (%(who)s = '' or lower({{who}}) = lower(%(who)s))
order by id desc limit {ON_A_PAGE + 1}
"""
_WHO = "coalesce(nullif(asked.login, ''), nullif(asker, ''), creator)"
_READ = _HISTORY.format(who=_WHO)
_END_OF_WINDOW = f"""
select count(*) as count, coalesce(min(id), 0) as last from (
    select id from deployments where {_HERE} and id < %(before)s order by id desc limit %(window)s
) looked_through
"""
_FIRST = 2**63 - 1


def history(
    connection: Sync,
    repo_id: int,
    environment: str,
    wanted: HistoryFilter,
    before: int = _FIRST,
) -> History:
    """The newest first."""
    values: dict[str, Any] = {
        "repo": repo_id,
        "environment": environment,
        "before": before or _FIRST,
        "window": ON_A_PAGE + 1 if wanted.empty else LOOKED_THROUGH,
        "phases": list(wanted.phases) or None,
        "who": wanted.who,
    }
    found = [
        PastDeployment(**{**row, "phase": Phase(row["phase"])})
        for row in connection.execute(_READ, values)
    ]
    rows = tuple(found[:ON_A_PAGE])
    older = rows[-1].id if len(found) > ON_A_PAGE else 0
    if wanted.empty:
        return History(rows, older)
    end = connection.execute(_END_OF_WINDOW, values).fetchone()
    assert end is not None
    if not older and end["count"] == LOOKED_THROUGH:
        older = end["last"]
    return History(rows, older, end["count"])


def newest_success(connection: Sync, repo_id: int, environment: str) -> DeploymentRow | None:
    """What is there now."""
    return _newest(connection, repo_id, environment, "succeeded")


def newest_begun(connection: Sync, repo_id: int, environment: str) -> DeploymentRow | None:
    """The newest that does not wait for its gates, and was not superseded: what can be rolled back,
    or promoted."""
    condition = "requested_at is not null and not waiting and phase <> 'superseded'"
    return _newest(connection, repo_id, environment, condition)


def _newest(
    connection: Sync, repo_id: int, environment: str, condition: str
) -> DeploymentRow | None:
    values = {"repo": repo_id, "environment": environment}
    where = f"{_HERE} and {condition} order by id desc limit 1"
    found = read_where_sync(connection, where, values)
    return found[0] if found else None


def spelling(connection: Sync, repo_id: int, environment: str) -> str:
    """As its newest deployment spells the name; "" where there is none."""
    query = f"select environment from deployments where {_HERE} order by id desc limit 1"
    row = connection.execute(query, {"repo": repo_id, "environment": environment}).fetchone()
    return row["environment"] if row else ""


def names_of(connection: Sync, repo_id: int) -> list[str]:
    """All that the repository has had, the newest first."""
    query = (
        "select full_name from repository_names where repo_id = %s"
        " order by seen_at desc, recorded_at desc"
    )
    return [row["full_name"] for row in connection.execute(query, [repo_id])]


def repositories_named(connection: Sync, name: str) -> list[int]:
    """Those that have that name or had it, the last that was seen with it first."""
    query = (
        "select repo_id from repository_names where lower(full_name) = lower(%s)"
        " order by seen_at desc limit 10"
    )
    return [row["repo_id"] for row in connection.execute(query, [name])]


@dataclass(frozen=True, slots=True)
class KnownRef:
    """A branch, tag or commit. `sha`: of the newest deployment or push of it."""

    name: str
    sha: str


_REFS = f"""
select name, (array_agg(sha order by number))[1] as sha from (
    select coalesce(nullif(asked.ref_name, ''), ref) as name, sha,
        row_number() over (order by id desc) as number
    from (select id, ref, sha from deployments where repo_id = %(repo)s
        order by id desc limit {_RECENT}) deployments
    left join lateral (select ref_name from actions where created_deployment_id = deployments.id
        order by actions.id limit 1) asked on true
    union all
    select regexp_replace(ref, '^refs/(heads|tags)/', ''), sha, 0 from (
        select ref, sha from automatic_deployments where {_HERE} and state = 'created'
        order by at desc, id desc limit {_RECENT_AUTOMATIC}) created
    union all
    select regexp_replace(ref, '^refs/(heads|tags)/', ''), sha, 0 from (
        select ref, sha from automatic_deployments where {_HERE} and state = 'waiting'
        order by at desc, id desc limit {_RECENT_AUTOMATIC}) waiting
) known where name <> '' group by name order by min(number) limit {MOST_REFS}
"""


def refs(connection: Sync, repo_id: int, environment: str) -> list[KnownRef]:
    """What was deployed or pushed lately, the newest first."""
    values = {"repo": repo_id, "environment": environment}
    return [KnownRef(**row) for row in connection.execute(_REFS, values)]

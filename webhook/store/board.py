"""What is where: of each repository its environments, with what is there now and what is newest.

What is read grows with the repositories that are asked for, never with their deployments: each
environment costs a few look-ups by index.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.rows import DictRow, args_row

from webhook.deployments.blockers import Blocker
from webhook.deployments.drift import Success
from webhook.deployments.locks import Lock
from webhook.deployments.phases import Phase
from webhook.store.database import Sync
from webhook.store.environments import EnvironmentKey

# Of a repository, by name. Of those after that, only the ones that are named are looked for.
ENVIRONMENTS_OF_ONE = 24
# Of all that waits or runs, the newest.
MOST_IN_FLIGHT = 500
# The successes among which a commit is looked for.
_MOST_SUCCESSES = 6
# Of all, the newest; who did one of these was active lately.
_RECENT = {"deployments": 800, "actions": 400, "approvals": 300}


# A tuple, as a board reads a thousand, and compares each with what it was before.
class BoardDeployment(NamedTuple):
    """A deployment that is the newest in its environment, or the last success there, or both.
    `started`: its tool was started; `watched`: by somebody else than the relay. `by`: the login of
    who asked for it, or of who created it; `by_id`: that account, 0 if unknown. `action`: of which
    kind the request was. `since`: from when on it has its phase. `compared_with`: the commit from
    which on `total` commits are new in it, and `behind` are taken back; "" where that is not known.
    """

    phase: Phase
    id: int
    repo_id: int
    repo: str
    repo_url: str
    environment: str
    production: bool
    transient: bool
    ref: str
    sha: str
    started: bool
    watched: bool
    since: datetime
    by: str
    by_id: int
    action: str
    newest: bool
    live: bool
    compared_with: str
    total: int
    behind: int

    @property
    def key(self) -> EnvironmentKey:
        return EnvironmentKey(self.repo_id, self.environment.lower())

    @property
    def success(self) -> Success:
        return Success(self.sha, self.compared_with, self.total, self.behind)


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """A deployment that waits or runs. `held`: its tool waits for a person. The rest as in
    `BoardDeployment`."""

    id: int
    repo_id: int
    repo: str
    environment: str
    production: bool
    ref: str
    sha: str
    phase: Phase
    started: bool
    held: bool
    blockers: tuple[Blocker, ...]
    requested_at: datetime
    by: str
    by_id: int
    action: str

    @property
    def key(self) -> EnvironmentKey:
        return EnvironmentKey(self.repo_id, self.environment.lower())


# Who asked for it: in Slack or on a page, by starting a workflow, or on GitHub.
_ASKED = """
    left join lateral (
        select login, login_id, ref_name, kind from actions
        where created_deployment_id = deployments.id order by actions.id limit 1
    ) asked on true
"""
_BY = """
    coalesce(nullif(asked.login, ''), nullif(asker, ''), creator) as by,
    coalesce(nullif(asked.login_id, 0), nullif(asker_id, 0), creator_id) as by_id,
    coalesce(asked.kind, '') as action
"""
_REF = "coalesce(nullif(asked.ref_name, ''), ref) as ref"

# Skips from each environment to the next, however many deployments it has. Its columns come in the
# order of the fields. Where the newest has succeeded, it is the last success.
_ENVIRONMENTS = f"""
with recursive scanned as (
    select one.*, 1 as number from unnest(%(repo_ids)s::bigint[]) asked (repo_id)
    cross join lateral (
        select repo_id, lower(environment) as name, id, succeeded from deployments
        where repo_id = asked.repo_id order by lower(environment), id desc limit 1) one
    union all
    select next.*, number + 1 from scanned cross join lateral (
        select repo_id, lower(environment), id, succeeded from deployments
        where repo_id = scanned.repo_id and lower(environment) > scanned.name
        order by lower(environment), id desc limit 1) next
    where number < {ENVIRONMENTS_OF_ONE}
), named as (
    select one.* from (select repo_id from scanned where number = {ENVIRONMENTS_OF_ONE}) cut
    cross join unnest(%(names)s::text[]) asked (name)
    cross join lateral (
        select repo_id, lower(environment), id, succeeded from deployments
        where repo_id = cut.repo_id and lower(environment) = lower(asked.name)
        order by id desc limit 1) one
), found as (
    select repo_id, name, id, succeeded from scanned union select * from named
)
select phase, deployments.id, deployments.repo_id, repo, repo_url, environment, production,
    transient, {_REF}, sha, run is not null as started, watched,
    coalesce(ended_at, phase_at) as since, {_BY}, deployments.id = found.id as newest,
    found.succeeded or deployments.id = live.id is true as live,
    coalesce(case when changelog ? 'total' then changelog->>'since' end, '') as compared_with,
    coalesce((changelog->>'total')::integer, 0) as total,
    coalesce((changelog->>'behind')::integer, 0) as behind
from found left join lateral (
    select id from deployments other
    where not found.succeeded and other.repo_id = found.repo_id
    and lower(other.environment) = found.name and other.succeeded order by id desc limit 1
) live on true
join deployments on deployments.id = any(array[found.id, live.id])
{_ASKED}
"""


def environments(
    connection: Sync, repo_ids: Collection[int], names: Collection[str] = ()
) -> list[BoardDeployment]:
    """Of these repositories, in no order: of each environment the newest, and the last success.
    `names`: environments that are found however many the repository has."""
    values = {"repo_ids": list(repo_ids), "names": list(names)}
    cursor = connection.cursor(row_factory=args_row(_deployment))
    return cursor.execute(_ENVIRONMENTS, values).fetchall()


def _deployment(phase: str, *rest: Any) -> BoardDeployment:
    return BoardDeployment._make((Phase(phase), *rest))


_IN_FLIGHT = f"""
select deployments.id, deployments.repo_id, repo, environment, production, sha, phase,
    run is not null as started, requested_at, {_BY}, {_REF},
    case when waiting then blockers else '[]' end as blockers,
    coalesce((select held from timeline where deployment_id = deployments.id and counted
        order by position desc limit 1), false) as held
from deployments {_ASKED}
where deployments.id = any(array(
    select id from deployments open where open.repo_id = any(%s) and open.followed
    and open.ended_at is null and open.requested_at is not null order by id desc
    limit {MOST_IN_FLIGHT}))
order by deployments.id desc
"""


def in_flight(connection: Sync, repo_ids: Collection[int]) -> list[InFlight]:
    """What waits or runs in these repositories, the newest first."""
    return [_in_flight(row) for row in connection.execute(_IN_FLIGHT, [list(repo_ids)])]


def _in_flight(row: DictRow) -> InFlight:
    blockers = tuple(Blocker.from_json(one) for one in row["blockers"])
    return InFlight(**{**row, "phase": Phase(row["phase"]), "blockers": blockers})


_LOCKS = f"""
select {", ".join(field.name for field in fields(Lock))} from locks
where repo_id = any(%s) and ended_at is null and (expires_at is null or expires_at > %s) order by id
"""


def locks(connection: Sync, repo_ids: Collection[int], now: datetime) -> list[Lock]:
    """Those that hold, of these repositories and of all, the oldest first."""
    rows = connection.execute(_LOCKS, [[0, *repo_ids], now])
    return [Lock(**{**row, "lets": tuple(row["lets"])}) for row in rows]


def answered(connection: Sync, user_id: int, deployment_ids: Collection[int]) -> frozenset[int]:
    """Of these deployments those that this person has approved or rejected."""
    query = "select deployment_id from approvals where deployment_id = any(%s) and user_id = %s"
    rows = connection.execute(query, [list(deployment_ids), user_id])
    return frozenset(row["deployment_id"] for row in rows)


_LATELY = f"""
select repo_id from (select repo_id, creator_id, asker_id from deployments
    order by id desc limit {_RECENT["deployments"]}) recent
    where %(user)s in (creator_id, asker_id)
union select repo_id from (select repo_id, login_id from actions
    order by id desc limit {_RECENT["actions"]}) recent where login_id = %(user)s
union select repo_id from (select repo_id, user_id from approvals
    order by id desc limit {_RECENT["approvals"]}) recent where user_id = %(user)s
"""


def lately_active(connection: Sync, user_id: int) -> frozenset[int]:
    """Repositories in which that person asked for one of the newest deployments of all, or
    answered for one."""
    rows = connection.execute(_LATELY, {"user": user_id})
    return frozenset(row["repo_id"] for row in rows if row["repo_id"])


# A row for each environment: there may be a thousand.
_SUCCESSES = f"""
select asked.repo_id, asked.name, array_agg(one.sha order by one.id desc) as shas,
    array_agg(one.since order by one.id desc) as since,
    array_agg(one.total order by one.id desc) as totals,
    array_agg(one.behind order by one.id desc) as behind
from unnest(%(repo_ids)s::bigint[], %(names)s::text[]) asked (repo_id, name)
cross join lateral (
    select id, sha,
        coalesce(case when changelog ? 'total' then changelog->>'since' end, '') as since,
        coalesce((changelog->>'total')::integer, 0) as total,
        coalesce((changelog->>'behind')::integer, 0) as behind
    from deployments other where other.repo_id = asked.repo_id
    and lower(other.environment) = lower(asked.name) and succeeded
    order by id desc limit {_MOST_SUCCESSES}
) one group by asked.repo_id, asked.name
"""


def successes(
    connection: Sync, keys: Sequence[EnvironmentKey]
) -> dict[EnvironmentKey, list[Success]]:
    """The last ones in each of these environments, the newest first."""
    values: dict[str, Any] = {
        "repo_ids": [one.repo_id for one in keys],
        "names": [one.environment for one in keys],
    }
    return {
        EnvironmentKey(row["repo_id"], row["name"]): [
            *map(
                Success._make,
                zip(row["shas"], row["since"], row["totals"], row["behind"], strict=True),
            )
        ]
        for row in connection.execute(_SUCCESSES, values)
    }

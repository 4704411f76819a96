"""What runs in the environments before and after one, from which a commit is promoted to the next.

The newest deployment counts, of those that have run: while one waits for its gates, or once it has
ended before its tool was called, what ran there before is still there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from webhook.deployments.phases import Phase
from webhook.gates.contract import Upstream
from webhook.store.database import Async, Sync
from webhook.store.deployments import DeploymentRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """An environment to which a commit may be promoted. `newest_*`: its newest deployment, which
    may wait, run or have failed; `live_*`: its last success. 0 and "" where there is none.
    `promised`: the relay waits to do it by itself."""

    environment: str
    newest_id: int
    newest_sha: str
    live_sha: str
    live_ref: str
    promised: bool


# A job of GitHub Actions has no start of ours, unless a protection rule asked for one. What others
# report as done has been done.
_RAN = (
    "other.requested_at is not null and (other.started_at is not null"
    " or other.phase in ('in_progress', 'success', 'failure', 'inactive')"
    " or (other.watched and other.rule_run_id = 0 and other.phase = 'error'))"
)
_NEWEST = f"""
select other.environment, other.id, other.sha, other.phase, other.ended_at
from unnest(%(upstreams)s::text[]) as upstream (name) cross join lateral (
    select environment, id, sha, phase, ended_at from deployments other
    where other.repo_id = {{repo_id}} and lower(other.environment) = lower(upstream.name) and {_RAN}
    order by other.id desc limit 1
) other
"""
# A column of a statement about `deployments`, to which `upstreams` is given.
OF_DEPLOYMENT = (
    f"array(select to_jsonb(one) from ({_NEWEST.format(repo_id='deployments.repo_id')}) one)"
)


def from_json(documents: Collection[Mapping[str, Any]]) -> tuple[Upstream, ...]:
    return tuple(
        Upstream(
            **{
                **one,
                "phase": Phase(one["phase"]),
                "ended_at": one["ended_at"] and datetime.fromisoformat(one["ended_at"]),
            }
        )
        for one in documents
    )


async def newest_in(
    connection: Async, repo_id: int, environments: Collection[str]
) -> tuple[Upstream, ...]:
    """Of those of these environments in which anything has run."""
    values = {"repo_id": repo_id, "upstreams": list(environments)}
    cursor = await connection.execute(_NEWEST.format(repo_id="%(repo_id)s"), values)
    return tuple(
        Upstream(**{**one, "phase": Phase(one["phase"])}) for one in await cursor.fetchall()
    )


def newest_in_sync(
    connection: Sync, repo_id: int, environments: Collection[str]
) -> tuple[Upstream, ...]:
    """As `newest_in`."""
    values = {"repo_id": repo_id, "upstreams": list(environments)}
    rows = connection.execute(_NEWEST.format(repo_id="%(repo_id)s"), values).fetchall()
    return tuple(Upstream(**{**one, "phase": Phase(one["phase"])}) for one in rows)


async def succeeded_before(connection: Async, row: DeploymentRow) -> bool:
    """Whether its commit had succeeded in its environment before, by whatever tool."""
    cursor = await connection.execute(
        "select from deployments where repo_id = %s and lower(environment) = lower(%s)"
        " and sha = %s and id < %s and succeeded limit 1",
        [row.repo_id, row.environment, row.sha, row.id],
    )
    return await cursor.fetchone() is not None


_NEXT = """
select name as environment, coalesce(newest.id, 0) as newest_id,
    coalesce(newest.sha, '') as newest_sha,
    coalesce(live.sha, '') as live_sha, coalesce(live.ref, '') as live_ref,
    exists (select from automatic_deployments where repo_id = %(repo_id)s
        and lower(environment) = lower(next.name) and sha = %(sha)s and state = 'waiting'
        ) as promised
from unnest(%(environments)s::text[]) with ordinality as next (name, number)
left join lateral (
    select id, sha from deployments other
    where repo_id = %(repo_id)s and lower(environment) = lower(next.name)
    and requested_at is not null and phase <> 'superseded' order by id desc limit 1
) newest on true
left join lateral (
    select sha, coalesce(nullif((select ref_name from actions
        where created_deployment_id = other.id order by actions.id limit 1), ''), ref) as ref
    from deployments other
    where repo_id = %(repo_id)s and lower(environment) = lower(next.name) and succeeded
    order by id desc limit 1
) live on true
order by number
"""


async def next_in(
    connection: Async, repo_id: int, environments: Sequence[str], sha: str
) -> list[Next]:
    """Of each of these environments, in their order; `sha`: the commit."""
    cursor = connection.cursor(row_factory=class_row(Next))
    values = {"repo_id": repo_id, "environments": list(environments), "sha": sha}
    return await (await cursor.execute(_NEXT, values)).fetchall()


def next_in_sync(
    connection: Sync, repo_id: int, environments: Sequence[str], sha: str
) -> list[Next]:
    """As `next_in`."""
    cursor = connection.cursor(row_factory=class_row(Next))
    values = {"repo_id": repo_id, "environments": list(environments), "sha": sha}
    return cursor.execute(_NEXT, values).fetchall()

"""What messages about a deployment show: one statement for all of the present, and one for what has
happened since the last message."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from webhook.deployments.phases import Phase
from webhook.store import deployments
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.timeline import REQUESTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Of a deployment, what other rows say. `held`: it waits for a person. `newest`: none was
    requested after it in its environment. `previous_sha`: the commit of the last success before it
    there, "" if there was none. `before`: how the one before it there ended, known of a success.
    `back_*`: the one to which a rollback returns, 0 if there is none. `action`: the one that
    created it, "" if none did, of the person `login`; and from which deployment, 0 if from none."""

    held: bool
    newest: bool
    previous_sha: str
    before: Phase | None
    back_id: int
    back_ref: str
    back_sha: str
    action: str
    login: str
    origin_id: int
    origin_repo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """An entry of the timeline that people see. `version`: of the deployment when this was read."""

    position: int
    at: datetime
    actor: str
    state: str
    description: str
    log_url: str
    held: bool
    version: int


_BEFORE = (
    "other.repo_id = deployments.repo_id and lower(other.environment) ="
    " lower(deployments.environment) and other.id < deployments.id"
)
_AFTER = _BEFORE.replace("<", ">")
_SUCCEEDED = "other.phase in ('success', 'inactive')"
_NEWEST = "order by other.id desc limit 1"
_COLUMNS = f"""
    ended_at is null and coalesce((select held from timeline
        where timeline.deployment_id = deployments.id and counted
        order by timeline.position desc limit 1), false) as held,
    not exists (select from deployments other where {_AFTER} and other.requested_at is not null)
        as newest,
    coalesce((select other.sha from deployments other where {_BEFORE} and {_SUCCEEDED} {_NEWEST}),
        '') as previous_sha,
    case when phase = 'success' then (select other.phase from deployments other
        where {_BEFORE} and other.ended_at is not null {_NEWEST}) end as before,
    coalesce(back_id, 0) as back_id, coalesce(back_ref, '') as back_ref,
    coalesce(back_sha, '') as back_sha,
    coalesce(action, '') as action, coalesce(login, '') as login,
    coalesce(origin_id, 0) as origin_id, coalesce(origin_repo, '') as origin_repo
"""
_JOINS = f"""
    left join lateral (
        select other.id as back_id, other.sha as back_sha, coalesce(nullif((select ref_name
            from actions where created_deployment_id = other.id order by actions.id limit 1), ''),
            other.ref) as back_ref
        from deployments other where {_BEFORE} and {_SUCCEEDED} and other.sha <> deployments.sha
        {_NEWEST}
    ) back on true
    left join lateral (
        select kind as action, login, actions.deployment_id as origin_id,
            actions.repo as origin_repo
        from actions where created_deployment_id = deployments.id order by actions.id limit 1
    ) creator on true
"""
_NEWS = f"""
    select position, at, actor, state, description, log_url, held,
        (select version from deployments where id = %(id)s) as version
    from timeline where deployment_id = %(id)s and position > %(after)s
        and (counted or state = '{REQUESTED}') and judged
    order by position
"""


async def read(connection: Async, deployment_id: int) -> tuple[DeploymentRow, Context] | None:
    """All at the same moment."""
    found = await deployments.read_with(connection, deployment_id, _COLUMNS, _JOINS)
    if found is None:
        return None
    row, values = found
    before = Phase(values["before"]) if values["before"] else None
    return row, Context(**{**values, "before": before})


async def news(connection: Async, deployment_id: int, after: int) -> list[News]:
    """What counted, and what people requested, after that position."""
    cursor = connection.cursor(row_factory=class_row(News))
    await cursor.execute(_NEWS, {"id": deployment_id, "after": after})
    return await cursor.fetchall()

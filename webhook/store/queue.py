"""Who waits for the start in an environment, and who runs there, for people."""

from psycopg.rows import class_row

from webhook.deployments.queue import Queued
from webhook.store.database import Async, Sync
from webhook.store.deployments import DeploymentRow

# Of those that wait in an environment, the first; and the deployment that is asked for.
MOST = 10

_POSITION = "partition by lower(environment), started_at is not null"
_QUEUED = f"""
with here as (
    select id, repo, environment, ref, sha, started_at is not null as running,
        row_number() over ({_POSITION} order by id desc) as position,
        count(*) over ({_POSITION}) as total
    from deployments where repo_id = %(repo)s and followed and requested_at is not null
        and gated and (ended_at is null or started_at is not null) {{also}}
)
select id as deployment_id, repo, environment, sha, running, position, total,
    coalesce(nullif((select ref_name from actions where created_deployment_id = here.id
        order by actions.id limit 1), ''), ref) as ref
from here where position <= {MOST} or id = %(id)s
order by lower(environment), running desc, position
"""
_IN_ENVIRONMENT = _QUEUED.format(also="and lower(environment) = lower(%(environment)s)")
_IN_REPOSITORY = _QUEUED.format(also="")


def of_deployment(connection: Sync, row: DeploymentRow) -> tuple[Queued, ...]:
    """In its environment, with itself."""
    values = {"repo": row.repo_id, "environment": row.environment, "id": row.id}
    cursor = connection.cursor(row_factory=class_row(Queued))
    return tuple(cursor.execute(_IN_ENVIRONMENT, values).fetchall())


def of_environment(connection: Sync, repo_id: int, environment: str) -> tuple[Queued, ...]:
    values = {"repo": repo_id, "environment": environment, "id": 0}
    cursor = connection.cursor(row_factory=class_row(Queued))
    return tuple(cursor.execute(_IN_ENVIRONMENT, values).fetchall())


async def of_repository(connection: Async, repo_id: int) -> list[Queued]:
    """In all its environments."""
    cursor = connection.cursor(row_factory=class_row(Queued))
    await cursor.execute(_IN_REPOSITORY, {"repo": repo_id, "id": 0})
    return await cursor.fetchall()

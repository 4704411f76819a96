"""The deployments before and after one in its environment."""

from webhook.deployments.lateness import Lateness
from webhook.store.database import Async, Sync
from webhook.store.deployments import DeploymentRow, read_where, read_where_sync

_SAME_ENVIRONMENT = "repo_id = %(repo)s and lower(environment) = lower(%(environment)s)"
# One that waits for its gates has changed nothing yet, and a superseded one never will.
_COUNTS = "requested_at is not null and not waiting and phase <> 'superseded'"


async def deactivate_replaced(connection: Async, row: DeploymentRow) -> list[int]:
    """Mark the deployments that this success replaces as inactive, as GitHub does itself.

    Source: "Create a deployment status", `auto_inactive`: prior non-transient, non-production
    deployments of the same repository and environment that had succeeded.
    """
    cursor = await connection.execute(
        "update deployments set phase = 'inactive', phase_at = now(), version = version + 1"
        f" where {_SAME_ENVIRONMENT} and id < %(id)s and replaceable returning id",
        _place(row),
    )
    return [values["id"] async for values in cursor]


async def older_unstarted(
    connection: Async, row: DeploymentRow, *, only_rules: bool = False
) -> list[DeploymentRow]:
    """Those that were requested before it in the same environment, and wait for their start; not
    other jobs of its run. `only_rules`: of those that wait on GitHub for the relay's answer."""
    return await read_where(
        connection,
        f"{_SAME_ENVIRONMENT} and followed and id < %(id)s and requested_at is not null"
        " and ended_at is null and started_at is null and gated"
        " and (rule_run_id = 0 or rule_run_id <> %(run)s) and (rule_run_id > 0 or not %(rules)s)"
        " order by id for update",
        {**_place(row), "run": row.rule_run_id, "rules": only_rules},
    )


async def success_of_another_commit(
    connection: Async, row: DeploymentRow, only: int = 0
) -> DeploymentRow | None:
    """The deployment to which a rollback of this one returns. `only`: this one, or none."""
    found = await read_where(connection, *_other_success(row, only))
    return found[0] if found else None


def success_of_another_commit_sync(
    connection: Sync, row: DeploymentRow, only: int = 0
) -> DeploymentRow | None:
    found = read_where_sync(connection, *_other_success(row, only))
    return found[0] if found else None


def _other_success(row: DeploymentRow, only: int) -> tuple[str, dict[str, object]]:
    this = "and id = %(only)s" if only else ""
    condition = (
        f"{_SAME_ENVIRONMENT} and id < %(id)s and sha <> %(sha)s and succeeded {this}"
        " order by id desc limit 1"
    )
    return condition, {**_place(row), "sha": row.sha, "only": only}


async def before(connection: Async, row: DeploymentRow) -> int | None:
    """The newest deployment of the same environment that was requested before this one and does not
    wait for its gates."""
    cursor = await connection.execute(
        f"select id from deployments where {_SAME_ENVIRONMENT} and id < %(id)s and {_COUNTS}"
        " order by id desc limit 1",
        _place(row),
    )
    values = await cursor.fetchone()
    return values["id"] if values else None


async def is_newest(connection: Async, row: DeploymentRow) -> bool:
    """Whether none was requested after it in the same environment that does not wait for its
    gates. Of one that was missed, the one that went instead does not count."""
    last = max(row.id, row.superseded_by) if row.lateness is Lateness.MISSED else row.id
    return await requested_after(connection, row.repo_id, row.environment, last) == 0


async def requested_after(
    connection: Async, repo_id: int, environment: str, deployment_id: int
) -> int:
    """The newest there after that one that does not wait for its gates; 0 if there is none."""
    cursor = await connection.execute(
        f"select id from deployments where {_SAME_ENVIRONMENT} and id > %(id)s and {_COUNTS}"
        " order by id desc limit 1",
        {"repo": repo_id, "environment": environment, "id": deployment_id},
    )
    values = await cursor.fetchone()
    return values["id"] if values else 0


def _place(row: DeploymentRow) -> dict[str, object]:
    return {"repo": row.repo_id, "environment": row.environment, "id": row.id}

"""What the page of a deployment shows of its gates besides its blockers, at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from webhook.deployments.approvals import Approval
from webhook.deployments.locks import Lock, covers
from webhook.deployments.overrides import Override
from webhook.deployments.queue import Queued
from webhook.store import gates, queue
from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """`locks`: those that hold in its environment, and `queue`: who waits and runs there; of one
    that has not started. `approvals`: the answers that people gave about it, or about its commit
    there. `skipped`: however long ago."""

    locks: tuple[Lock, ...] = ()
    queue: tuple[Queued, ...] = ()
    approvals: tuple[Approval, ...] = ()
    skipped: tuple[Override, ...] = ()


_APPROVALS = f"""
select {gates.names(Approval)} from approvals where repo_id = %(repo)s
    and environment = lower(%(environment)s) and sha = %(sha)s order by id
"""
_SKIPPED = f"""
select {gates.names(Override)} from overrides where deployment_id = %(id)s order by id
"""
_LOCKS = f"""
select {gates.names(Lock)} from locks where ended_at is null and repo_id in (0, %(repo)s)
    and (expires_at is null or expires_at > %(now)s) order by id
"""


def of_deployment(connection: Sync, row: DeploymentRow, now: datetime) -> Waits:
    values = {
        "id": row.id,
        "repo": row.repo_id,
        "environment": row.environment,
        "sha": row.sha,
        "now": now,
    }
    unstarted = row.ended_at is None and row.started_at is None and row.gated
    approvals = connection.cursor(row_factory=class_row(Approval))
    skipped = connection.execute(_SKIPPED, values).fetchall()
    return Waits(
        locks=_locks(connection, row, values) if unstarted else (),
        queue=queue.of_deployment(connection, row) if unstarted else (),
        approvals=tuple(approvals.execute(_APPROVALS, values).fetchall()),
        skipped=tuple(Override(**{**one, "gates": tuple(one["gates"])}) for one in skipped),
    )


def _locks(connection: Sync, row: DeploymentRow, values: Mapping[str, Any]) -> tuple[Lock, ...]:
    found = connection.execute(_LOCKS, values).fetchall()
    locks = (Lock(**{**one, "lets": tuple(one["lets"])}) for one in found)
    return tuple(one for one in locks if covers(one, row.repo_id, row.environment))

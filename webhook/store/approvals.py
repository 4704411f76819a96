"""Approvals: what people answered to the question whether a deployment may start. Rows are only
added; PostgreSQL refuses to change one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from webhook.deployments.approvals import Approval
from webhook.store.audit import Source
from webhook.store.database import Async, Sync
from webhook.store.deployments import DeploymentRow

# The name of the gate that asks for them.
GATE = "approval"
_COLUMNS = ", ".join(field.name for field in fields(Approval))
# To a row of `deployments`, and to earlier ones of the same commit to the environment; without
# those that another commit superseded, with which their approvals have become void.
ABOUT = f"""
    array(select to_jsonb(one) from (select {_COLUMNS} from approvals
        where approvals.repo_id = deployments.repo_id
        and approvals.environment = lower(deployments.environment)
        and approvals.sha = deployments.sha and approvals.deployment_id <= deployments.id
        and (approvals.deployment_id = deployments.id or not exists (
            select from deployments other
            left join deployments newer on newer.id = other.superseded_by
            where other.id = approvals.deployment_id and other.phase = 'superseded'
            and newer.sha is distinct from other.sha))
        order by approvals.id) one)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApproval:
    """`policy`: the digest of the policy under which it is given. `lasts`: until it has to be given
    again; None for ever."""

    policy: str
    user_id: int
    login: str
    approved: bool
    comment: str
    source: Source
    at: datetime
    lasts: timedelta | None


async def add(connection: Async, row: DeploymentRow, answer: NewApproval) -> bool:
    """False where that account has given the same answer before, and that lasts. The caller has
    the row locked."""
    cursor = await connection.execute(
        "insert into approvals (deployment_id, repo_id, environment, sha, policy, user_id, login,"
        " approved, comment, source, at)"
        " select %(deployment)s, %(repo)s, lower(%(environment)s), %(sha)s, %(policy)s, %(user)s,"
        " %(login)s, %(approved)s, %(comment)s, %(source)s, %(at)s where not exists ("
        " select from approvals where deployment_id = %(deployment)s and policy = %(policy)s"
        " and user_id = %(user)s and approved = %(approved)s"
        " and at > coalesce(%(at)s - %(lasts)s::interval, '-infinity'))",
        {
            "deployment": row.id,
            "repo": row.repo_id,
            "environment": row.environment,
            "sha": row.sha,
            "policy": answer.policy,
            "user": answer.user_id,
            "login": answer.login,
            "approved": answer.approved,
            "comment": answer.comment,
            "source": answer.source,
            "at": answer.at,
            "lasts": answer.lasts,
        },
    )
    return cursor.rowcount == 1


def waits_for_approval(row: DeploymentRow) -> bool:
    """As far as its gates have said when they were asked last."""
    unstarted = row.ended_at is None and row.started_at is None
    return unstarted and any(one.gate == GATE and not one.denies for one in row.blockers)


def of_deployment(connection: Sync, deployment_id: int) -> list[Approval]:
    """The oldest first."""
    cursor = connection.cursor(row_factory=class_row(Approval))
    cursor.execute(
        f"select {_COLUMNS} from approvals where deployment_id = %s order by id", [deployment_id]
    )
    return cursor.fetchall()


async def newest_waiting(connection: Async, repo_id: int, environment: str) -> int | None:
    """The newest deployment there that waits for approval."""
    cursor = await connection.execute(
        "select id from deployments where repo_id = %s and lower(environment) = lower(%s)"
        " and waiting and blockers @> %s order by id desc limit 1",
        [repo_id, environment, Jsonb([{"gate": GATE, "denies": False}])],
    )
    row = await cursor.fetchone()
    return row["id"] if row else None


def from_json(documents: Iterable[Mapping[str, Any]]) -> tuple[Approval, ...]:
    return tuple(Approval(**{**one, "at": datetime.fromisoformat(one["at"])}) for one in documents)

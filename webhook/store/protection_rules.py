"""Deployments of jobs that wait on GitHub for the relay's answer to a protection rule."""

from datetime import datetime

from webhook.store import deployments
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.outbox import Entry

# Answers of that kind (`purpose`) about the jobs of the run that wait for the same environment as
# the deployment `own`, with itself: GitHub counts them together.
ANSWERS = (
    "from (select %s::bigint as id) own cross join lateral (select own.id union select other.id"
    " from deployments one join deployments other on other.repo_id = one.repo_id"
    " and other.rule_run_id = one.rule_run_id and other.rule_run_id > 0"
    " and lower(other.environment) = lower(one.environment) and other.ended_at is null"
    " and other.started_at is null where one.id = own.id) about"
    " join outbox on outbox.deployment_id = about.id"
    " where kind = 'protection_rule' and purpose = %s and state <> 'skipped'"
)
# Jobs of the same run that wait for the same environment, which one decision covers.
_TOGETHER = (
    "repo_id = %(repo)s and rule_run_id = %(run)s and rule_run_id > 0"
    " and lower(environment) = lower(%(environment)s)"
    " and ended_at is null and started_at is null"
)


def _of(row: DeploymentRow) -> dict[str, object]:
    values = {"repo": row.repo_id, "run": row.rule_run_id, "id": row.id}
    return {**values, "environment": row.environment}


async def number_of(connection: Async, entry: Entry) -> int:
    """Which of the answers of that kind it is, from 1 on."""
    cursor = await connection.execute(
        f"select count(*) as number {ANSWERS} and position <= %s",
        [entry.deployment_id, entry.purpose, entry.position],
    )
    row = await cursor.fetchone()
    return int(row["number"]) if row else 1


async def together(connection: Async, row: DeploymentRow) -> list[DeploymentRow]:
    """It, if it waits, and its siblings. Locked, the oldest first."""
    condition = f"{_TOGETHER} order by id for update"
    return await deployments.read_where(connection, condition, _of(row))


async def siblings(connection: Async, row: DeploymentRow) -> list[DeploymentRow]:
    """Locked, the oldest first."""
    condition = f"{_TOGETHER} and id <> %(id)s order by id for update"
    return await deployments.read_where(connection, condition, _of(row))


async def let_through_with(connection: Async, row: DeploymentRow) -> list[DeploymentRow]:
    """It and the jobs that the same decision has let through. Locked, the oldest first."""
    condition = (
        "repo_id = %(repo)s and rule_run_id = %(run)s and rule_run_id > 0"
        " and lower(environment) = lower(%(environment)s) and ended_at is null"
        " and started_at = %(started_at)s order by id for update"
    )
    values = {**_of(row), "started_at": row.started_at}
    return await deployments.read_where(connection, condition, values)


async def waiting_in_run(connection: Async, repo_id: int, run: str) -> list[int]:
    """Those whose jobs belong to the run, or runs, of another deployment, by the handler's id."""
    numbers = [int(one) for one in run.split() if one.isdecimal() and len(one) < 19]
    if not numbers:
        return []
    cursor = await connection.execute(
        "select id from deployments where repo_id = %s and rule_run_id = any(%s)"
        " and rule_run_id > 0 and ended_at is null and started_at is null order by id",
        [repo_id, numbers],
    )
    return [row["id"] async for row in cursor]


async def check_at(connection: Async, deployment_id: int, at: datetime) -> None:
    """Ask GitHub then what became of its run. No version: nothing is decided by it."""
    await connection.execute(
        "update deployments set rule_check_at = %s where id = %s", [at, deployment_id]
    )


async def run_ended(connection: Async, repo_id: int, run_id: int, at: datetime) -> list[int]:
    """Those of that run that have not ended; GitHub is asked about it at `at`."""
    cursor = await connection.execute(
        "update deployments set rule_check_at = %s where id = any(array(select id"
        " from deployments where repo_id = %s and rule_run_id = %s and rule_run_id > 0"
        " and ended_at is null order by id for update)) returning id",
        [at, repo_id, run_id],
    )
    return [row["id"] async for row in cursor]


async def reported_as_running(connection: Async, deployment_id: int) -> bool:
    """Whether others have reported on GitHub that it runs, or has run, while it waits."""
    cursor = await connection.execute(
        "select 1 from timeline where deployment_id = %s and not counted and judged"
        " and github_id is not null and state in ('in_progress', 'success', 'failure') limit 1",
        [deployment_id],
    )
    return await cursor.fetchone() is not None

"""What waits for a party that was away: the statuses of one installation on GitHub, or the messages
of one destination."""

from webhook.store import schedule
from webhook.store.database import Async

# From one to the next, the newest first: not all of them at once.
_APART = "interval '20 milliseconds'"
# Rows that are locked are being requested, or are under way.
_BRING_FORWARD = f"""
known as (
    select task, subject, detail from schedule join waiting using (task, subject, detail)
    where claimed_by is null order by subject, task, detail for update of schedule skip locked
), ranked as (
    select *, row_number() over (order by subject desc, task, detail) as rank from known
), changed as (
    update schedule set due_at = now() + ranked.rank * {_APART} from ranked
    where schedule.task = ranked.task and schedule.subject = ranked.subject
        and schedule.detail = ranked.detail
    returning 1
)
select count(*) as changed from changed
"""
_STATUSES = f"""
with waiting as (
    select distinct 'send_statuses' as task, deployment_id as subject, '' as detail
    from outbox join deployments on deployments.id = deployment_id
    where kind in ('status', 'protection_rule') and pending and installation_id = %s
), {_BRING_FORWARD}
"""
# What was rejected, and is retried, is not pending. Announcements have no deployment.
_MESSAGES = f"""
with unsent as (
    select deployment_id, position from outbox
    where kind = 'message' and pending and destination = %(destination)s
    union
    select deployment_id, position from outbox
    where kind = 'message' and error <> '' and destination = %(destination)s
        and rejected_since is not null
), waiting as (
    select distinct case when deployment_id is null then 'announce' else 'notify' end as task,
        coalesce(deployment_id, position) as subject, %(destination)s as detail
    from unsent
), {_BRING_FORWARD}
"""


async def bring_statuses_forward(connection: Async, installation_id: int) -> int:
    """How many deployments' statuses are sent now, the newest's first."""
    return await _bring_forward(connection, _STATUSES, [installation_id])


async def bring_messages_forward(connection: Async, destination: str) -> int:
    """How many deployments' messages are sent now, the newest's first."""
    return await _bring_forward(connection, _MESSAGES, {"destination": destination})


async def _bring_forward(
    connection: Async, statement: str, values: list[int] | dict[str, str]
) -> int:
    cursor = await connection.execute(statement, values)
    row = await cursor.fetchone()
    assert row is not None
    if row["changed"]:
        await schedule.wake_workers(connection)
    return int(row["changed"])


async def is_newest_rejected_status(
    connection: Async, installation_id: int, deployment_id: int
) -> bool:
    """No newer deployment's status is rejected in that installation."""
    cursor = await connection.execute(
        "select from outbox join deployments on deployments.id = deployment_id"
        " where kind in ('status', 'protection_rule') and outbox.error <> '' and pending"
        " and outbox.rejected_since is not null and deployment_id > %s and installation_id = %s"
        " limit 1",
        [deployment_id, installation_id],
    )
    return await cursor.fetchone() is None


async def is_newest_rejected_message(connection: Async, destination: str, entry_id: int) -> bool:
    """No newer message is rejected there."""
    cursor = await connection.execute(
        "select from outbox where kind = 'message' and error <> '' and destination = %s"
        " and rejected_since is not null and id > %s limit 1",
        [destination, entry_id],
    )
    return await cursor.fetchone() is None

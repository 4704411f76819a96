"""Deliveries that are processed once more, as somebody wants it: `receive` does it again.

Not urgent: what arrives meanwhile goes first.
"""

from collections.abc import Collection

from webhook.store.database import Async, Sync
from webhook.store.schedule import CHANNEL

# So many at once: whoever stores a delivery does not wait for more.
BATCH = 500

_AGAIN = f"""
with chosen as (
    select id, outcome from deliveries where id = any(%s) and outcome is not null
    order by id for update skip locked
), again as (
    update deliveries set outcome = null, reason = '', failures = 0,
        done_before = done_before or chosen.outcome = 'done'
    from chosen where deliveries.id = chosen.id returning deliveries.id
), requested as (
    insert into schedule (task, subject, urgent) select 'receive', id, false from again order by id
    on conflict (subject, task, detail) do update set wanted = schedule.wanted + 1,
        due_at = case when schedule.claimed_by is null then least(schedule.due_at, now())
            else schedule.due_at end
)
select id, pg_notify('{CHANNEL}', '') from again
"""


def process_again(connection: Sync, delivery_ids: Collection[int]) -> set[int]:
    """Those that are; not those that are about to be processed in any case."""
    return {row["id"] for row in connection.execute(_AGAIN, [list(delivery_ids)])}


async def process_again_async(connection: Async, delivery_ids: Collection[int]) -> set[int]:
    """The same, of a worker."""
    cursor = await connection.execute(_AGAIN, [list(delivery_ids)])
    return {row["id"] async for row in cursor}


def not_processed(connection: Sync, delivery_ids: Collection[int]) -> set[int]:
    """Those of them that still wait."""
    query = "select id from deliveries where id = any(%s) and outcome is null"
    return {row["id"] for row in connection.execute(query, [list(delivery_ids)])}

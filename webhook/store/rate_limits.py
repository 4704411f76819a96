"""When the next call may be made, of calls to another service that are limited together."""

from datetime import datetime, timedelta

from webhook.store.database import Async

# Calls that may be made at once after a pause.
BURST = 5


# A slot that was kept comes first; calls that were given up do not give back theirs, so that old
# ones are deleted.
_TAKE = """
with kept as (
    select at from rate_limit_slots join rate_limits using (name, epoch)
    where name = %(name)s and key = %(key)s
),
new as (
    insert into rate_limits as known (name, next_at)
    select %(name)s, now() - %(burst)s + %(interval)s where not exists (select from kept)
    on conflict (name) do update set next_at =
        greatest(known.next_at, known.held_until, now() - %(burst)s) + %(interval)s
    returning next_at - %(interval)s as at, epoch
),
slot as (select at from kept union all select at from new),
waiting as (
    insert into rate_limit_slots (name, key, at, epoch)
    select %(name)s, %(key)s, at, epoch from new where at > %(due_by)s
    on conflict (name, key) do update set at = excluded.at, epoch = excluded.epoch
),
over as (
    delete from rate_limit_slots where name = %(name)s and case
        when key = %(key)s then (select at from slot) <= %(due_by)s
        else at < now() - interval '1 day'
    end
)
select at from slot
"""


async def take(
    connection: Async, name: str, key: str, interval: timedelta, due_by: datetime
) -> datetime:
    """When the call with that key may be made. If that is after `due_by` it keeps its slot until
    then, unless the slot is given back, or all slots are void."""
    cursor = await connection.execute(
        _TAKE,
        {
            "name": name,
            "key": key,
            "interval": interval,
            "burst": (BURST - 1) * interval,
            "due_by": due_by,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    at: datetime = row["at"]
    return at


async def give_back(connection: Async, name: str, key: str) -> None:
    """The call was made, or is not made at all."""
    await connection.execute(
        "delete from rate_limit_slots where name = %s and key = %s", [name, key]
    )


async def hold(connection: Async, name: str, until: datetime) -> None:
    """The other service limits calls: all slots become void."""
    await connection.execute(
        "insert into rate_limits (name, next_at, held_until, epoch) values (%s, %s, %s, 1)"
        " on conflict (name) do update set next_at = excluded.next_at,"
        " held_until = excluded.held_until, epoch = rate_limits.epoch + 1",
        [name, until, until],
    )

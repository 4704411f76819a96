"""When the next call may be made, of calls to another service that are limited together."""

from datetime import datetime, timedelta

from webhook.store.database import Async

# Calls that may be made at once after a pause.
BURST = 5


async def slot(connection: Async, name: str, key: str, interval: timedelta) -> datetime:
    """When the call with that key may be made. It keeps its slot until the slot is given back, or
    all slots are void."""
    cursor = await connection.execute(
        "select at from rate_limit_slots slots join rate_limits using (name, epoch)"
        " where name = %s and key = %s",
        [name, key],
    )
    row = await cursor.fetchone()
    if row is not None:
        kept: datetime = row["at"]
        return kept
    return await _take(connection, name, key, interval)


async def _take(connection: Async, name: str, key: str, interval: timedelta) -> datetime:
    await connection.execute(
        "insert into rate_limits (name) values (%s) on conflict do nothing", [name]
    )
    # Calls that were given up do not give back their slots.
    await connection.execute(
        "delete from rate_limit_slots where name = %s and at < now() - interval '1 day'", [name]
    )
    cursor = await connection.execute(
        "with taken as (update rate_limits set"
        " next_at = greatest(next_at, held_until, now() - %s) + %s"
        " where name = %s returning name, next_at - %s as at, epoch)"
        " insert into rate_limit_slots (name, key, at, epoch) select name, %s, at, epoch from taken"
        " on conflict (name, key) do update set at = excluded.at, epoch = excluded.epoch"
        " returning at",
        [(BURST - 1) * interval, interval, name, interval, key],
    )
    row = await cursor.fetchone()
    assert row is not None
    at: datetime = row["at"]
    return at


async def give_back(connection: Async, name: str, key: str) -> None:
    """The call is made now, or not at all."""
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

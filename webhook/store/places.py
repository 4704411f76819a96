"""The machines that run commands: a run can be followed only where its files are."""

from webhook.store.database import Async

# Seconds without a sign of life after which a place, and what ran there, counts as lost.
GONE_AFTER = 60.0


async def seen(connection: Async, place: str) -> None:
    """A worker at this place lives."""
    await connection.execute(
        "insert into places (place) values (%s) on conflict (place) do update set seen_at = now()",
        [place],
    )


async def lives(connection: Async, place: str) -> bool:
    cursor = await connection.execute(
        "select 1 from places where place = %s and seen_at > now() - %s * interval '1 second'",
        [place, GONE_AFTER],
    )
    return await cursor.fetchone() is not None

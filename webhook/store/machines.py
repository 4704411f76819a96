"""The machines that run commands: a run can be followed only where its files are."""

from webhook.store.database import Async

# Seconds without a sign of life after which a place, and what ran there, counts as lost; and the
# longest silence that is no interruption.
GONE_AFTER = 60
INTERRUPTED_AFTER = 20


async def seen(connection: Async, place: str) -> None:
    """A worker at this place lives; `since` when, without interruption."""
    await connection.execute(
        "insert into places (place) values (%s) on conflict (place) do update set seen_at = now(),"
        " since = case when places.seen_at < now() - %s * interval '1 second' then now()"
        " else places.since end",
        [place, INTERRUPTED_AFTER],
    )


async def is_gone(connection: Async, place: str, watcher: str) -> bool:
    """Whether nobody lives there; the watcher must have been awake for as long as it takes.

    After an outage of everything, whoever is back first does not call the others gone.
    """
    cursor = await connection.execute(
        "select 1 from places watching where watching.place = %(watcher)s"
        " and watching.since < now() - %(seconds)s * interval '1 second'"
        " and not exists (select from places where place = %(place)s"
        " and seen_at > now() - %(seconds)s * interval '1 second')",
        {"watcher": watcher, "place": place, "seconds": GONE_AFTER},
    )
    return await cursor.fetchone() is not None

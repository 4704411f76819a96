"""The machines that run commands: a run can be followed only where its files are."""

from webhook.store.database import Async

# Seconds without a worker's heartbeat after which a machine, and what ran there, counts as lost;
# and the longest silence that is no interruption.
GONE_AFTER = 60
INTERRUPTED_AFTER = 30


async def seen(connection: Async, machine_id: str) -> None:
    """Record that a worker runs on this machine."""
    await connection.execute(
        "insert into machines (id) values (%s) on conflict (id) do update set seen_at = now(),"
        " since = case when machines.seen_at < now() - %s * interval '1 second' then now()"
        " else machines.since end",
        [machine_id, INTERRUPTED_AFTER],
    )


async def is_gone(connection: Async, machine_id: str, watcher: str) -> bool:
    """Whether no worker runs there; the watcher must have been running for as long as it takes.

    After an outage of everything, the first machine that is back does not call the others gone.
    """
    cursor = await connection.execute(
        "select 1 from machines watcher where watcher.id = %(watcher)s"
        " and watcher.since < now() - %(seconds)s * interval '1 second'"
        " and not exists (select from machines where id = %(machine)s"
        " and seen_at > now() - %(seconds)s * interval '1 second')",
        {"watcher": watcher, "machine": machine_id, "seconds": GONE_AFTER},
    )
    return await cursor.fetchone() is not None

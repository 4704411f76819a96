"""What changes while pages show it: the topics that triggers of migration 0003 notify.

NOTIFY makes the commits of all transactions that use it wait for each other, so the triggers use it
only while somebody listens, who holds a lock then.

Source: postgresql.org, "NOTIFY"; src/backend/commands/async.c, `PreCommit_Notify`.
"""

from collections.abc import Callable, Iterable

from webhook.store import database
from webhook.timing import Timing

CHANNEL = "pages"
_WATCH = "select pg_advisory_lock_shared(1885431155, 1)"


async def listen(
    url: str, timing: Timing, began: Callable[[], None], heard: Callable[[Iterable[str]], None]
) -> None:
    """Calls `began` once nothing is missed any more. Errors: psycopg.OperationalError once the
    connection is lost."""
    async with await database.connect_async(url, timing) as connection:
        await connection.execute(f"listen {CHANNEL}")
        await connection.execute(_WATCH)
        began()
        while True:
            async for notification in connection.notifies():
                heard(notification.payload.split())
            await connection.check()

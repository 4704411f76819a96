"""What Procrastinate's own functions do not tell about its jobs."""

from collections.abc import Collection

from webhook.store.database import Async
from webhook.store.places import GONE_AFTER

# Means nothing; the same in every worker.
SWEEP_LOCK = 4_117_202
DEFAULT_QUEUE = "default"
PLACE_QUEUE = "at-"


async def may_sweep(connection: Async) -> bool:
    """Whether nobody else sweeps now; true until the transaction ends."""
    cursor = await connection.execute("select pg_try_advisory_xact_lock(%s) as mine", [SWEEP_LOCK])
    row = await cursor.fetchone()
    return bool(row and row["mine"])


async def doing(connection: Async, worker_ids: Collection[int]) -> set[tuple[int, int]]:
    """The jobs that these workers are said to be at, each as (id, attempts so far)."""
    cursor = await connection.execute(
        "select id, attempts from procrastinate_jobs"
        " where status = 'doing' and worker_id = any(%s)",
        [list(worker_ids)],
    )
    return {(row["id"], row["attempts"]) async for row in cursor}


async def bring_home(connection: Async, watcher: str) -> None:
    """Jobs that wait for machines which are gone go to whoever is there."""
    await connection.execute(
        "update procrastinate_jobs set queue_name = %(default)s"
        " where status = 'todo' and starts_with(queue_name, %(prefix)s)"
        " and exists (select from places where place = %(watcher)s"
        " and since < now() - %(seconds)s * interval '1 second')"
        " and not exists (select from places where queue_name = %(prefix)s || place"
        " and seen_at > now() - %(seconds)s * interval '1 second')",
        {
            "default": DEFAULT_QUEUE,
            "prefix": PLACE_QUEUE,
            "watcher": watcher,
            "seconds": GONE_AFTER,
        },
    )

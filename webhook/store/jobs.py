"""What Procrastinate's own functions do not tell about its jobs."""

from collections.abc import Collection

from webhook.store.database import Async

# Means nothing; the same in every worker.
SWEEP_LOCK = 4_117_202


async def may_sweep(connection: Async) -> bool:
    """Whether nobody else sweeps now; true until the transaction ends."""
    cursor = await connection.execute("select pg_try_advisory_xact_lock(%s) as mine", [SWEEP_LOCK])
    row = await cursor.fetchone()
    return bool(row and row["mine"])


async def doing(connection: Async, worker_ids: Collection[int]) -> set[int]:
    """The jobs that these workers are said to be at."""
    cursor = await connection.execute(
        "select id from procrastinate_jobs where status = 'doing' and worker_id = any(%s)",
        [list(worker_ids)],
    )
    return {row["id"] async for row in cursor}

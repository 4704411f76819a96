"""What Procrastinate's own functions do not tell about its jobs."""

from collections.abc import Collection

from webhook.store import machines
from webhook.store.database import Async, Sync

# Means nothing; the same in every worker.
SWEEP_LOCK = 4_117_202
DEFAULT_QUEUE = "default"
MACHINE_QUEUE = "at-"


async def try_lock(connection: Async) -> bool:
    """Whether nobody else sweeps now; true until the transaction ends."""
    cursor = await connection.execute("select pg_try_advisory_xact_lock(%s) as mine", [SWEEP_LOCK])
    row = await cursor.fetchone()
    return bool(row and row["mine"])


async def running(connection: Async, worker_ids: Collection[int]) -> set[tuple[int, int]]:
    """The jobs that these workers are said to be at, each as (id, attempts so far)."""
    cursor = await connection.execute(
        "select id, attempts from procrastinate_jobs"
        " where status = 'doing' and worker_id = any(%s)",
        [list(worker_ids)],
    )
    return {(row["id"], row["attempts"]) async for row in cursor}


def retry_now(connection: Sync, task: str) -> None:
    """What waits to be tried again is tried now."""
    connection.execute(
        "update procrastinate_jobs set scheduled_at = now()"
        " where status = 'todo' and task_name = %s and scheduled_at > now()",
        [task],
    )


async def drop_waiting(connection: Async, lock: str) -> None:
    """Those with that lock that wait to be tried again, because one of them does all their work."""
    await connection.execute(
        "delete from procrastinate_jobs where status = 'todo' and attempts > 0 and lock = %s",
        [lock],
    )


async def requeue_from_gone_machines(connection: Async, watcher: str) -> None:
    """Jobs that wait for machines which are gone go to whoever is there."""
    cursor = await connection.execute(
        "select distinct queue_name from procrastinate_jobs"
        " where status = 'todo' and starts_with(queue_name, %s)",
        [MACHINE_QUEUE],
    )
    for queue in [row["queue_name"] async for row in cursor]:
        if await machines.is_gone(connection, queue.removeprefix(MACHINE_QUEUE), watcher):
            await connection.execute(
                "update procrastinate_jobs set queue_name = %s"
                " where status = 'todo' and queue_name = %s",
                [DEFAULT_QUEUE, queue],
            )


def seconds_since_heartbeat(connection: Sync) -> float | None:
    """Since the last heartbeat of any worker; None if there never was one."""
    row = connection.execute(
        "select extract(epoch from now() - max(last_heartbeat))::float8 as age"
        " from procrastinate_workers"
    ).fetchone()
    return row["age"] if row else None

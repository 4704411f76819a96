"""Procrastinate's jobs, as far as its own functions do not reach."""

from collections.abc import Collection
from dataclasses import dataclass

from webhook.store.database import Async, Sync

# Means nothing; the same in every worker.
_LOCK = 4_117_202

# In a statement that has `args`, the arguments of a `Deferred` job.
DEFER = """
procrastinate_defer_jobs_v1(array[
    row(%(queue)s, %(task)s, %(priority)s, null, null, args, null)::procrastinate_job_to_defer_v1
])
"""


@dataclass(frozen=True, slots=True)
class Deferred:
    """A job without a lock, which a statement of the store itself defers."""

    task: str
    priority: int
    queue: str

    def arguments(self) -> dict[str, str | int]:
        return {"task": self.task, "priority": self.priority, "queue": self.queue}


async def lock_rescue(connection: Async) -> bool:
    """Whether no other worker rescues jobs now; true until the transaction ends."""
    cursor = await connection.execute("select pg_try_advisory_xact_lock(%s) as mine", [_LOCK])
    row = await cursor.fetchone()
    return bool(row and row["mine"])


async def doing(connection: Async, worker_ids: Collection[int]) -> set[tuple[int, int]]:
    """The jobs that are recorded as running in these workers, each as (id, attempts so far)."""
    cursor = await connection.execute(
        "select id, attempts from procrastinate_jobs"
        " where status = 'doing' and worker_id = any(%s)",
        [list(worker_ids)],
    )
    return {(row["id"], row["attempts"]) async for row in cursor}


def retry_now(connection: Sync, task: str) -> None:
    """Jobs of that task that wait for their retry do not wait any longer."""
    connection.execute(
        "update procrastinate_jobs set scheduled_at = now()"
        " where status = 'todo' and task_name = %s and scheduled_at > now()",
        [task],
    )


async def bring_forward(connection: Async, task: str, lock: str, priority: int) -> bool:
    """What waits of that task and lock, for its retry or its turn, is due now with that priority at
    least, and does not begin before this transaction ends. False: nothing waits."""
    cursor = await connection.execute(
        "with waiting as (select id from procrastinate_jobs"
        " where status = 'todo' and task_name = %(task)s and lock = %(lock)s for update),"
        " moved as (update procrastinate_jobs"
        " set scheduled_at = now(), priority = greatest(priority, %(priority)s)"
        " where id in (select id from waiting)"
        " and (scheduled_at > now() or priority < %(priority)s))"
        " select 1 from waiting limit 1",
        {"task": task, "lock": lock, "priority": priority},
    )
    return await cursor.fetchone() is not None


async def serialize(connection: Async, key: str) -> None:
    """Only one transaction at a time comes past this with that key."""
    await connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])


async def drop_waiting(connection: Async, lock: str) -> None:
    """Drop jobs with that lock that wait for their retry: the one that runs does all their work."""
    await connection.execute(
        "delete from procrastinate_jobs where status = 'todo' and attempts > 0 and lock = %s",
        [lock],
    )


def seconds_since_heartbeat(connection: Sync) -> float | None:
    """Since the last heartbeat of any worker; None if there never was one."""
    row = connection.execute(
        "select extract(epoch from now() - max(last_heartbeat))::float8 as age"
        " from procrastinate_workers"
    ).fetchone()
    return row["age"] if row else None


def longest_wait(connection: Sync) -> float:
    """Seconds that a job which a worker may take has waited. One behind another that has the same
    lock waits for that one, not for a worker."""
    row = connection.execute(
        "with first as (select distinct on (lock, case when lock is null then id end) id, status,"
        " scheduled_at from procrastinate_jobs where status in ('todo', 'doing')"
        " order by lock, case when lock is null then id end, id),"
        " due as (select * from first where status = 'todo')"
        " select coalesce(extract(epoch from now() - least("
        "   (select min(scheduled_at) from due where scheduled_at <= now()),"
        "   (select min(at) from procrastinate_events where job_id = ("
        "     select min(id) from due where scheduled_at is null)))), 0)::float8 as age"
    ).fetchone()
    return row["age"] if row else 0.0

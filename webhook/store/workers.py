"""Worker processes, and what each read when it started: an edited deploy.yml counts after that."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from webhook.store.database import Async, Sync

# Seconds of silence after which one is not running any more, and after which its row is deleted.
SILENT_AFTER = 30
DELETED_AFTER = 600
# Means nothing; the same in every worker.
_LOCK = 4_117_202


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProcess:
    """`id` is new with each start. `config_digest`: of its deploy.yml. `version`: the relay's."""

    id: str
    machine_id: str
    config_digest: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningWorker(WorkerProcess):
    started_at: datetime


async def seen(connection: Async, worker: WorkerProcess) -> None:
    """Record that it runs."""
    await connection.execute(
        "insert into workers (id, machine_id, config_digest, version) values (%s, %s, %s, %s)"
        " on conflict (id) do update set seen_at = now()",
        [worker.id, worker.machine_id, worker.config_digest, worker.version],
    )
    await connection.execute(
        "delete from workers where seen_at < now() - %s * interval '1 second'", [DELETED_AFTER]
    )


def seconds_since_seen(connection: Sync) -> float | None:
    """Of the worker that was seen last; None if there is none."""
    row = connection.execute(
        "select extract(epoch from now() - max(seen_at))::float8 as age from workers"
    ).fetchone()
    return row["age"] if row else None


async def lock_rescue(connection: Async) -> bool:
    """Whether no other worker rescues now; true until the transaction ends."""
    cursor = await connection.execute("select pg_try_advisory_xact_lock(%s) as mine", [_LOCK])
    row = await cursor.fetchone()
    return bool(row and row["mine"])


async def ended(connection: Async, worker: WorkerProcess) -> None:
    await connection.execute("delete from workers where id = %s", [worker.id])


async def config_digests(connection: Async) -> set[str]:
    """Of the deploy.yml that each running worker has read."""
    cursor = await connection.execute(
        "select config_digest from workers where seen_at > now() - %s * interval '1 second'",
        [SILENT_AFTER],
    )
    return {row["config_digest"] async for row in cursor}


def several_configs(connection: Sync) -> list[str]:
    """The machines whose running workers have not all read the same deploy.yml."""
    cursor = connection.execute(
        "select machine_id from workers where seen_at > now() - %s * interval '1 second'"
        " group by machine_id having count(distinct config_digest) > 1 order by machine_id",
        [SILENT_AFTER],
    )
    return [row["machine_id"] for row in cursor]


def running(connection: Sync) -> list[RunningWorker]:
    cursor = connection.cursor(row_factory=class_row(RunningWorker))
    cursor.execute(
        "select id, machine_id, config_digest, version, started_at from workers"
        " where seen_at > now() - %s * interval '1 second' order by started_at",
        [SILENT_AFTER],
    )
    return cursor.fetchall()

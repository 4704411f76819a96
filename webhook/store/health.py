"""How much is to be done, by whom, and what holds it back; for the people who run the relay."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from webhook.store import workers
from webhook.store.database import Sync

# Rows of a task that are counted; a queue that long says enough.
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Queued:
    """Of one task: `overdue` are due and not being done, since `oldest` at most; `doing` are being
    done; `waiting` are for later; `failing`: of all of them, those that have failed lately."""

    task: str
    overdue: int
    oldest: datetime | None
    doing: int
    waiting: int
    failing: int


def queued(connection: Sync) -> list[Queued]:
    """The tasks of which something is to be done."""
    cursor = connection.cursor(row_factory=class_row(Queued))
    cursor.execute(
        "select task, count(*) filter (where due_at <= now() and claimed_by is null) as overdue,"
        " min(due_at) filter (where due_at <= now() and claimed_by is null) as oldest,"
        " count(*) filter (where claimed_by is not null) as doing,"
        " count(*) filter (where due_at > now() and claimed_by is null) as waiting,"
        " count(*) filter (where attempts > 0) as failing"
        " from (select task, due_at, claimed_by, attempts from schedule order by machine_id, task,"
        " urgent, due_at limit %s) counted group by task order by task",
        [MOST_COUNTED],
    )
    return cursor.fetchall()


@dataclass(frozen=True, slots=True)
class Worker:
    machine_id: str
    version: str
    started_at: datetime
    seen_at: datetime


def seen_workers(connection: Sync) -> list[Worker]:
    """Also those that have just ended; the newest first."""
    cursor = connection.cursor(row_factory=class_row(Worker))
    cursor.execute(
        "select machine_id, version, started_at, seen_at from workers"
        " where seen_at > now() - %s * interval '1 second' order by started_at desc limit 100",
        [workers.DELETED_AFTER],
    )
    return cursor.fetchall()


@dataclass(frozen=True, slots=True)
class HeldCalls:
    """Calls that another service limits until then; `slots` wait."""

    name: str
    held_until: datetime
    slots: int


def held_calls(connection: Sync) -> list[HeldCalls]:
    cursor = connection.cursor(row_factory=class_row(HeldCalls))
    cursor.execute(
        "select name, held_until, (select count(*) from rate_limit_slots"
        " where rate_limit_slots.name = rate_limits.name) as slots from rate_limits"
        " where held_until > now() order by held_until desc limit 100"
    )
    return cursor.fetchall()

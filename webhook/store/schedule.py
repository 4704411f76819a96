"""What is to be done, and when.

There is one row for each thing to do, however often it is requested. A worker claims what is due in
batches; until it has finished, `due_at` is the end of its claim, so that what a dead worker held is
due again by itself. `wanted` counts the requests: what is requested meanwhile is done afterwards.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from psycopg.rows import class_row

from webhook.store import database, machines
from webhook.store.database import Async, Sync
from webhook.timing import Timing

# The subject is a delivery, a deployment, an action, an installation, or 0. The detail is the
# destination of a notification, or the account of an installation.
Task = Literal[
    "receive",
    "advance",
    "send_statuses",
    "notify",
    "run_action",
    "resume_installation",
]
CHANNEL = "schedule"
# A task, and whether it is urgent: requested, while other things are only waited for.
Kind = tuple[Task, bool]


class Key(NamedTuple):
    task: Task
    subject: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """`attempts`: how often it failed unexpectedly since it last succeeded."""

    task: Task
    subject: int
    detail: str
    wanted: int
    urgent: bool
    attempts: int

    @property
    def key(self) -> Key:
        return Key(self.task, self.subject, self.detail)

    @property
    def kind(self) -> Kind:
        return self.task, self.urgent


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """`again`: when it is to be done again; None: not before it is requested. `machine_id`: by that
    machine's workers only, from now on."""

    due: Due
    again: datetime | None = None
    machine_id: str = ""
    failed: bool = False


_REQUESTED_BEFORE = """
on conflict (subject, task, detail) do update set wanted = schedule.wanted + 1, urgent = true,
    due_at = case when schedule.claimed_by is null then least(schedule.due_at, now())
        else schedule.due_at end
"""
_REQUEST = f"""
insert into schedule (task, subject, detail)
select * from unnest(%s::text[], %s::bigint[], %s::text[]) {_REQUESTED_BEFORE}
"""
_REQUEST_NOTIFIED = f"""
insert into schedule (task, subject, detail)
select task, subject, detail from unnest(%s::text[], %s::bigint[], %s::text[])
    as requested (task, subject, detail)
union
select 'notify', deployment_id, destination from outbox where kind = 'message'
    and deployment_id = any(%s) and purpose = 'main' and ref is not null
order by 1, 2, 3 {_REQUESTED_BEFORE}
"""
# Part of a statement that has `stored`, with the `id` of each delivery to process.
REQUEST_RECEIVE = f"""
requested as (
    insert into schedule (task, subject) select 'receive', id from stored order by id
    {_REQUESTED_BEFORE} returning 1
)
select pg_notify('{CHANNEL}', '') where exists (select from requested)
"""
# The subqueries are short scans of an index, whatever else waits.
_CLAIM = """
with free as (
    select * from unnest(%(tasks)s::text[], %(urgent)s::boolean[], %(most)s::int[])
        as free (task, urgent, most)
), found as (
    select due.ctid from free, unnest(array['', %(machine)s]) as machine
    cross join lateral (
        select ctid from schedule where machine_id = machine and schedule.task = free.task
            and schedule.urgent = free.urgent and due_at <= now()
        order by due_at limit free.most for update skip locked
    ) due
)
update schedule set claimed_by = %(worker)s, due_at = now() + %(lasts)s
where ctid = any(array(select ctid from found))
returning task, subject, detail, wanted, urgent, attempts
"""
# A row that is locked is being requested now, by somebody who may wait for another one of these.
_FINISH = """
with finished as (
    select * from unnest(%(tasks)s::text[], %(ids)s::bigint[], %(details)s::text[],
        %(wanted)s::bigint[], %(again)s::timestamptz[], %(machines)s::text[], %(failed)s::boolean[])
        as finished (task, subject, detail, wanted, again, machine, failed)
), held as (
    select schedule.ctid, schedule.task, schedule.subject, schedule.detail
    from schedule join finished using (task, subject, detail)
    where claimed_by = %(worker)s
), free as (
    select schedule.ctid, schedule.task, schedule.subject, schedule.detail, again,
        schedule.wanted > finished.wanted as more, machine, failed
    from schedule join finished using (task, subject, detail)
    where claimed_by = %(worker)s for update of schedule skip locked
), deleted as (
    delete from schedule using free where schedule.ctid = free.ctid
        and free.again is null and not free.more
), changed as (
    update schedule set claimed_by = null,
        urgent = free.more,
        due_at = case when free.more then now() else free.again end,
        machine_id = case when machine <> '' then machine else machine_id end,
        attempts = case when free.failed then attempts + 1 else 0 end
    from free where schedule.ctid = free.ctid and (free.again is not null or free.more)
)
select task, subject, detail from held
except select task, subject, detail from free
"""


_NEXT_DUE = """
select min(due_at) - now() as pause
from unnest(%(tasks)s::text[], %(urgent)s::boolean[]) as kind (task, urgent),
    unnest(array['', %(machine)s]) as machine
cross join lateral (
    select due_at from schedule where machine_id = machine and schedule.task = kind.task
        and schedule.urgent = kind.urgent
    order by due_at limit 1
) next
"""


async def request(
    connection: Async, keys: Collection[Key], *, notified: Collection[int] = ()
) -> None:
    """To be done as soon as the caller's transaction has ended. `notified`: deployments of which
    each destination that has a message is to be notified, too."""
    if notified:
        await connection.execute(_REQUEST_NOTIFIED, [*_columns(keys), list(notified)])
    else:
        await connection.execute(_REQUEST, _columns(sorted(set(keys))))


def request_sync(connection: Sync, keys: Collection[Key]) -> None:
    """The same, from a process that is no worker: one of these hears of it."""
    connection.execute(_REQUEST, _columns(sorted(set(keys))))
    connection.execute("select pg_notify(%s, '')", [CHANNEL])


def bring_forward(connection: Sync, task: Task) -> None:
    """What waits of that task does not wait any longer."""
    connection.execute(
        "update schedule set due_at = now() where ctid = any(array(select ctid from schedule"
        " where task = %s and claimed_by is null and due_at > now() for update skip locked))",
        [task],
    )
    connection.execute("select pg_notify(%s, '')", [CHANNEL])


async def listen(url: str, timing: Timing, heard: Callable[[], None]) -> None:
    """Calls `heard` at first, and whenever a process that is no worker has requested something.
    Errors: psycopg.OperationalError once the connection is lost."""
    async with await database.connect_async(url, timing) as connection:
        await connection.execute(f"listen {CHANNEL}")
        while True:
            heard()
            async for _ in connection.notifies():
                heard()
            await connection.check()


async def claim(
    connection: Async,
    free: Mapping[Kind, int],
    *,
    worker: str,
    machine_id: str,
    lasts: timedelta,
) -> list[Due]:
    """What is due, claimed for the worker. `free`: about so many of a kind."""
    cursor = connection.cursor(row_factory=class_row(Due))
    await cursor.execute(
        _CLAIM,
        {
            "tasks": [task for task, _ in free],
            "urgent": [urgent for _, urgent in free],
            "most": list(free.values()),
            "worker": worker,
            "machine": machine_id,
            "lasts": lasts,
        },
    )
    return await cursor.fetchall()


async def next_due(
    connection: Async, kinds: Collection[Kind], *, machine_id: str
) -> timedelta | None:
    """In how long something of these kinds is due; None if nothing waits."""
    cursor = await connection.execute(
        _NEXT_DUE,
        {
            "tasks": [task for task, _ in kinds],
            "urgent": [urgent for _, urgent in kinds],
            "machine": machine_id,
        },
    )
    row = await cursor.fetchone()
    return row["pause"] if row else None


async def keep_claims(
    connection: Async, keys: Iterable[Key], *, worker: str, lasts: timedelta
) -> None:
    """The worker is still at these."""
    await connection.execute(
        # Unqualified, `ctid` would be that of the outer query: a join has none.
        "update schedule set due_at = now() + %s where ctid = any(array("
        " select claimed.ctid from schedule as claimed join"
        " unnest(%s::text[], %s::bigint[], %s::text[]) as held (task, subject, detail)"
        " using (task, subject, detail)"
        " where claimed_by = %s for update of claimed skip locked))",
        [lasts, *_columns(keys), worker],
    )


async def finish(connection: Async, finished: Sequence[Finished], *, worker: str) -> set[Key]:
    """What was not recorded, since its row is locked at the moment."""
    tasks, ids, details = _columns(one.due.key for one in finished)
    cursor = await connection.execute(
        _FINISH,
        {
            "tasks": tasks,
            "ids": ids,
            "details": details,
            "wanted": [one.due.wanted for one in finished],
            "again": [one.again for one in finished],
            "machines": [one.machine_id for one in finished],
            "failed": [one.failed for one in finished],
            "worker": worker,
        },
    )
    return {Key(row["task"], row["subject"], row["detail"]) async for row in cursor}


async def release_from_gone(connection: Async, watcher: str) -> None:
    """What waits for a machine that is gone is for any worker."""
    cursor = await connection.execute(
        "select distinct machine_id from schedule where machine_id <> ''"
    )
    for machine_id in [row["machine_id"] async for row in cursor]:
        if await machines.is_gone(connection, machine_id, watcher):
            await connection.execute(
                "update schedule set machine_id = '' where machine_id = %s", [machine_id]
            )


def longest_overdue(connection: Sync) -> float:
    """Seconds for which something that a worker may do has been due."""
    row = connection.execute(
        "select coalesce(extract(epoch from now() - min(due_at)), 0)::float8 as age"
        " from schedule where due_at < now()"
    ).fetchone()
    return row["age"] if row else 0.0


def _columns(keys: Iterable[Key]) -> tuple[list[str], list[int], list[str]]:
    listed = list(keys)
    return (
        [key.task for key in listed],
        [key.subject for key in listed],
        [key.detail for key in listed],
    )

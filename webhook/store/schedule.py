"""What is to be done, and when.

There is one row for each thing to do, however often it is requested. A worker claims what is due in
batches; until it has finished, `due_at` is the end of its claim, so that what a dead worker held is
due again by itself. `wanted` counts the requests: what is requested meanwhile is done afterwards.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from webhook.gates.promotion import NAME as PROMOTION
from webhook.gates.serialization import ONE_AT_A_TIME
from webhook.store import database, machines, workers
from webhook.store.database import Async, Sync
from webhook.store.environments import EnvironmentKey
from webhook.timing import Timing

# The subject is a delivery, a deployment, an action, an installation, an announcement, a lock, an
# automatic deployment, a check of a file or a request of a page; 0 where there is one thing only.
# The detail is a destination, or the account of an installation.
Task = Literal[
    "receive",
    "advance",
    "send_statuses",
    "notify",
    "run_action",
    "resume_installation",
    "reject_rule",
    "announce",
    "deploy_automatically",
    "remind_of_lock",
    "check_file",
    "recover",
    "list_deployments",
    "replay",
    "redeliver",
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
    machine's workers only, from now on. `urgent`: it must not queue behind what is waited for."""

    due: Due
    again: datetime | None = None
    machine_id: str = ""
    failed: bool = False
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """`unrecorded`: of what has finished, as its rows are locked at the moment. `next_in`: how long
    until something else is due, of the kinds that were asked for."""

    unrecorded: Collection[Key]
    claimed: Sequence[Due]
    next_in: dict[Kind, timedelta]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`waiting`: deployments that are only waited for. `workers`: how many share them."""

    waiting: int
    workers: int


_REQUESTED_BEFORE = """
on conflict (subject, task, detail) do update set wanted = schedule.wanted + 1, urgent = true,
    due_at = case when schedule.claimed_by is null then least(schedule.due_at, now())
        else schedule.due_at end
"""
_REQUEST = f"""
insert into schedule (task, subject, detail)
select * from unnest(%s::text[], %s::bigint[], %s::text[]) {_REQUESTED_BEFORE}
"""
_ALSO_NOTIFIED = """
insert into schedule (task, subject, detail)
select task, subject, detail from unnest(%(tasks)s::text[], %(subjects)s::bigint[],
    %(details)s::text[]) as requested (task, subject, detail)
union
select 'notify', deployment_id, destination from outbox where kind = 'message'
    and deployment_id = any(%(notified)s) and purpose = 'main' and ref is not null
union
select task, subject, detail from schedule where task = 'notify' and subject = any(%(notified)s)
"""
# Also those whose gates are being asked at this moment, which are not recorded as waiting yet. Of
# very many, those that only wait their turn, and the newest.
_MOST_ASKED = 50
_UNSTARTED = (
    "followed and ended_at is null and requested_at is not null and started_at is null and gated"
)
_THERE = f"""
union
(select 'advance', id, '' from deployments where repo_id = %(repo_id)s
    and lower(environment) = lower(%(environment)s) and {_UNSTARTED}
    order by blockers @? '$[*] ? (@.gate <> "{ONE_AT_A_TIME}")', id desc limit {_MOST_ASKED})
"""
_IN_CHAINS = f"""
union
(select 'advance', id, '' from deployments where repo_id = %(chained_in)s and {_UNSTARTED}
    and (blockers = '[]' or blockers @? '$[*] ? (@.gate == "{PROMOTION}")')
    order by id desc limit {_MOST_ASKED})
"""


def _request(*parts: str) -> str:
    return f"{_ALSO_NOTIFIED} {' '.join(parts)} order by 1, 2, 3 {_REQUESTED_BEFORE}"


# By whether a deployment has ended, and whether others come after it in a chain.
_REQUEST_NOTIFIED = {
    (False, False): _request(),
    (True, False): _request(_THERE),
    (False, True): _request(_IN_CHAINS),
    (True, True): _request(_THERE, _IN_CHAINS),
}
# Part of a statement that has `stored`, with the `id` of each delivery to process.
REQUEST_RECEIVE = f"""
requested as (
    insert into schedule (task, subject) select 'receive', id from stored order by id
    {_REQUESTED_BEFORE} returning 1
)
select pg_notify('{CHANNEL}', '') where exists (select from requested)
"""
_NOTIFY = f"select pg_notify('{CHANNEL}', '')"
# One statement: what a worker has finished, what it claims instead, and when something is due next.
#
# A row of what is finished that is locked is being requested now, by somebody who may wait for
# another one of these. What is claimed is found by short scans of an index, whatever else waits.
# Rows are found again by key, not by ctid, which differs where one was changed since the statement
# began.
_EXCHANGE = """
with finished as (
    select * from unnest(%(tasks)s::text[], %(subjects)s::bigint[], %(details)s::text[],
        %(wanted)s::bigint[], %(rests)s::interval[], %(machines)s::text[], %(failed)s::boolean[],
        %(urgent)s::boolean[])
        as finished (task, subject, detail, wanted, rest, machine, failed, still_urgent)
), held as (
    select task, subject, detail from schedule join finished using (task, subject, detail)
    where claimed_by = %(worker)s
), recorded as (
    select task, subject, detail, rest, schedule.wanted > finished.wanted as more, machine, failed,
        still_urgent
    from schedule join finished using (task, subject, detail)
    where claimed_by = %(worker)s for update of schedule skip locked
), deleted as (
    delete from schedule using recorded where schedule.subject = recorded.subject
        and schedule.task = recorded.task and schedule.detail = recorded.detail
        and rest is null and not more
    returning schedule.task, schedule.subject, schedule.detail
), waiting as (
    update schedule set claimed_by = null,
        urgent = more or still_urgent,
        due_at = case when more then now() else now() + rest end,
        machine_id = case when machine <> '' then machine else machine_id end,
        attempts = case when failed then attempts + 1 else 0 end
    from recorded where schedule.subject = recorded.subject
        and schedule.task = recorded.task and schedule.detail = recorded.detail
        and (rest is not null or more)
    returning schedule.task, schedule.subject, schedule.detail, schedule.urgent, due_at
), free as (
    select * from unnest(%(free_tasks)s::text[], %(free_urgent)s::boolean[], %(free)s::int[])
        as free (task, urgent, most)
), found as (
    select due.* from free, unnest(array['', %(machine)s]) as machine
    cross join lateral (
        select task, subject, detail from schedule where machine_id = machine
            and schedule.task = free.task and schedule.urgent = free.urgent and due_at <= now()
        order by due_at limit free.most for update skip locked
    ) due
), claimed as (
    update schedule set claimed_by = %(worker)s, due_at = now() + %(lasts)s
    from found where schedule.subject = found.subject and schedule.task = found.task
        and schedule.detail = found.detail
    returning schedule.task, schedule.subject, schedule.detail, wanted, urgent, attempts
), later as (
    select free.task, free.urgent, next.due_at
    from free, unnest(array['', %(machine)s]) as machine
    cross join lateral (
        select due_at from schedule where machine_id = machine and schedule.task = free.task
            and schedule.urgent = free.urgent and due_at > now()
        order by due_at limit 1
    ) next
    union all select task, urgent, due_at from waiting
), next as (
    select task, urgent, extract(epoch from min(due_at) - now())::float8 as seconds
    from later group by task, urgent
)
select
    array(select array[task, subject::text, detail] from (
        select * from held except (
            select * from deleted union all select task, subject, detail from waiting)
    ) unrecorded) as unrecorded,
    coalesce((select jsonb_agg(to_jsonb(claimed)) from claimed), '[]') as claimed,
    coalesce((select jsonb_agg(to_jsonb(next)) from next), '[]') as next
"""
# What is due first of each machine, task and urgency, each found after the one before in the index.
_FIRST_DUE = """
first_due as (
    (select machine_id, task, urgent, due_at from schedule
        order by machine_id, task, urgent, due_at limit 1)
    union all
    select next.* from first_due it cross join lateral (
        select machine_id, task, urgent, due_at from schedule
        where (machine_id, task, urgent) > (it.machine_id, it.task, it.urgent)
        order by machine_id, task, urgent, due_at limit 1
    ) next
)
"""


async def request(
    connection: Async,
    keys: Collection[Key],
    *,
    notified: Collection[int] = (),
    ended_in: EnvironmentKey | None = None,
    chained_in: int = 0,
) -> None:
    """To be done as soon as the caller's transaction has ended. `notified`: deployments of which
    each destination that has a message, or gets it now, is to be notified, too. `ended_in`: where a
    deployment has ended, so that those that wait for their start there may go on. `chained_in`: the
    repository of one that has changed in an environment after which others come, so that those that
    wait for it may."""
    if not notified and ended_in is None and not chained_in:
        await connection.execute(_REQUEST, _columns(sorted(set(keys))))
        return
    tasks, subjects, details = _columns(keys)
    values: dict[str, object] = {"tasks": tasks, "subjects": subjects, "details": details}
    values |= {"notified": list(notified), "chained_in": chained_in}
    values |= ended_in._asdict() if ended_in else {}
    statement = _REQUEST_NOTIFIED[ended_in is not None, bool(chained_in)]
    await connection.execute(statement, values)


def request_sync(connection: Sync, keys: Collection[Key]) -> None:
    """The same, from a process that is no worker: one of these hears of it."""
    connection.execute(_REQUEST, _columns(sorted(set(keys))))
    connection.execute(_NOTIFY)


def bring_forward(connection: Sync, task: Task) -> None:
    """What waits of that task does not wait any longer; what is under way is done once more."""
    connection.execute(
        "with known as (select subject, task, detail from schedule where task = %s"
        " order by subject, detail for update)"
        " update schedule set wanted = wanted + 1, due_at = case when claimed_by is null"
        " then least(due_at, now()) else due_at end from known where schedule.subject ="
        " known.subject and schedule.task = known.task and schedule.detail = known.detail",
        [task],
    )
    connection.execute(_NOTIFY)


async def wake_workers(connection: Async) -> None:
    """All of them claim what is due."""
    await connection.execute(_NOTIFY)


async def listen(url: str, timing: Timing, heard: Callable[[], None]) -> None:
    """Calls `heard` at first, and whenever a process that is no worker has requested something, or
    a worker wakes the others. Errors: psycopg.OperationalError once the connection is lost."""
    async with await database.connect_async(url, timing) as connection:
        await connection.execute(f"listen {CHANNEL}")
        while True:
            heard()
            async for _ in connection.notifies():
                heard()
            await connection.check()


async def exchange(
    connection: Async,
    finished: Sequence[Finished],
    free: Mapping[Kind, int],
    *,
    worker: str,
    machine_id: str,
    lasts: timedelta,
    now: datetime,
) -> Exchange:
    """Record what has finished, and claim what is due: about so many of each kind in `free`. `now`:
    by the worker's clock, as what is to be done again, whatever time it is for PostgreSQL."""
    tasks, subjects, details = _columns(one.due.key for one in finished)
    cursor = await connection.execute(
        _EXCHANGE,
        {
            "tasks": tasks,
            "subjects": subjects,
            "details": details,
            "wanted": [one.due.wanted for one in finished],
            "rests": [one.again and one.again - now for one in finished],
            "machines": [one.machine_id for one in finished],
            "failed": [one.failed for one in finished],
            "urgent": [one.urgent for one in finished],
            "free_tasks": [task for task, _ in free],
            "free_urgent": [urgent for _, urgent in free],
            "free": list(free.values()),
            "worker": worker,
            "machine": machine_id,
            "lasts": lasts,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return Exchange(
        unrecorded={Key(task, int(subject), detail) for task, subject, detail in row["unrecorded"]},
        claimed=[Due(**values) for values in row["claimed"]],
        next_in={
            (one["task"], one["urgent"]): timedelta(seconds=one["seconds"]) for one in row["next"]
        },
    )


async def load(connection: Async) -> Load:
    cursor = await connection.execute(
        "select (select count(*) from schedule where task = 'advance' and not urgent) as waiting,"
        " (select count(*) from workers where seen_at > now() - %s * interval '1 second')"
        " as workers",
        [workers.SILENT_AFTER],
    )
    row = await cursor.fetchone()
    assert row is not None
    return Load(waiting=row["waiting"], workers=row["workers"])


async def keep_claims(
    connection: Async, keys: Iterable[Key], *, worker: str, lasts: timedelta
) -> list[Key]:
    """The worker is still at these. Those whose claims were extended; not what is locked now."""
    cursor = await connection.execute(
        "update schedule set due_at = now() + %s where ctid = any(array("
        " select schedule.ctid from schedule join"
        " unnest(%s::text[], %s::bigint[], %s::text[]) as held (task, subject, detail)"
        " using (task, subject, detail)"
        " where claimed_by = %s for update of schedule skip locked))"
        " returning task, subject, detail",
        [lasts, *_columns(keys), worker],
    )
    return [Key(**row) async for row in cursor]


async def release_from_gone(connection: Async, watcher: str) -> None:
    """What waits for a machine that is gone is for any worker; not what is locked now, as yet."""
    cursor = await connection.execute(
        f"with recursive {_FIRST_DUE} select distinct machine_id from first_due"
        " where machine_id <> ''"
    )
    for machine_id in [row["machine_id"] async for row in cursor]:
        if await machines.is_gone(connection, machine_id, watcher):
            await connection.execute(
                "update schedule set machine_id = '' where ctid = any(array(select ctid"
                " from schedule where machine_id = %s for update skip locked))",
                [machine_id],
            )


def longest_overdue(connection: Sync) -> float:
    """Seconds for which something that a worker may do has been due."""
    row = connection.execute(
        f"with recursive {_FIRST_DUE}"
        " select coalesce(extract(epoch from now() - min(due_at)), 0)::float8 as age"
        " from first_due where due_at < now()"
    ).fetchone()
    return row["age"] if row else 0.0


def _columns(keys: Iterable[Key]) -> tuple[list[str], list[int], list[str]]:
    listed = list(keys)
    return (
        [key.task for key in listed],
        [key.subject for key in listed],
        [key.detail for key in listed],
    )

"""How far GitHub's list of deliveries was compared with those that arrived, and which were missing.

There is one row of `delivery_scan`, and one of `missed_deliveries` for each GUID. Whoever writes to
the first has to have read it: a second worker gets a `Conflict`.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

from psycopg.rows import class_row

from webhook.errors import Conflict
from webhook.store import schedule
from webhook.store.database import Async, Sync
from webhook.store.deliveries import Received
from webhook.store.schedule import Key

RECOVER = Key("recover", 0)
# Of what was given up, so much is searched among what has arrived.
_MOST_GIVEN_UP = 100
# Of the newest deliveries, one that came by itself.
_SILENT_FOR = """
select now() - max(received_at) from (
    select way, received_at from deliveries order by id desc limit 300
) newest where way = 'webhook'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """`begins`: how far back the comparison under way goes; None: none is. `newest`: what it has
    seen. `known_since`: until something was compared, when the first delivery came; None: none has.
    `paused`: GitHub wants no call for so long. `failing_for`: since it began to fail."""

    watermark: datetime | None
    begins: datetime | None
    newest: datetime | None
    known_since: datetime | None
    cursor: str
    paused: timedelta
    failing_for: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """`github_id` and `attempted_at`: of the newest attempt. `tries`: how often GitHub was asked to
    send it again."""

    guid: str
    event: str
    github_id: int
    attempted_at: datetime
    delivered_at: datetime
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """What makes the next comparison urgent. `silent_for`: since a delivery came from GitHub by
    itself; None: none did lately. `doubted_for`: since one may have been lost, None as well.
    `next_try_in`: until something that is missing is to be tried again."""

    silent_for: timedelta | None
    doubted_for: timedelta | None
    next_try_in: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """For people. `found`: how many were ever missing. `given_up`: lately."""

    compared_at: datetime | None
    failing_for: timedelta | None
    error: str
    found: int
    missing: int
    given_up: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    guid: str
    event: str
    delivered_at: datetime
    reason: str


async def scan(connection: Async) -> Scan:
    await connection.execute("insert into delivery_scan default values on conflict do nothing")
    cursor = connection.cursor(row_factory=class_row(Scan))
    await cursor.execute(
        "select watermark, begins, newest, cursor, case when watermark is null"
        " then (select received_at from deliveries order by id limit 1) end as known_since,"
        " greatest(not_before - now(), interval '0') as paused,"
        " coalesce(now() - failing_since, interval '0') as failing_for from delivery_scan"
    )
    found = await cursor.fetchone()
    assert found is not None
    return found


async def begin_again(connection: Async, was: Scan) -> Scan:
    """The list, from its first page, as far back as before."""
    await _change(connection, was, "newest = null, cursor = ''", [])
    return await scan(connection)


async def keep_page(
    connection: Async,
    was: Scan,
    missed: Sequence[Missed],
    *,
    begins: datetime,
    newest: datetime,
    cursor: str,
) -> Scan:
    """In a transaction: what is missing of a page, each GUID once, and where the next page is."""
    found = await _add(connection, missed)
    await _change(
        connection,
        was,
        "begins = %s, newest = %s, cursor = %s, found = found + %s",
        [begins, newest, cursor, found],
    )
    return await scan(connection)


async def keep_last_page(
    connection: Async, was: Scan, missed: Sequence[Missed], *, newest: datetime
) -> None:
    """In a transaction: the same, and that all was compared."""
    found = await _add(connection, missed)
    await _change(
        connection,
        was,
        "watermark = greatest(watermark, %s), begins = null, newest = null, cursor = '',"
        " compared_at = now(), found = found + %s",
        [newest, found],
    )


async def _change(connection: Async, was: Scan, columns: str, values: Sequence[object]) -> None:
    cursor = await connection.execute(
        f"update delivery_scan set {columns} where begins is not distinct from %s and cursor = %s"
        " and watermark is not distinct from %s",
        [*values, was.begins, was.cursor, was.watermark],
    )
    if not cursor.rowcount:
        raise Conflict("another worker compares the deliveries")


async def _add(connection: Async, missed: Sequence[Missed]) -> int:
    """How many were not known as missing."""
    if not missed:
        return 0
    cursor = await connection.execute(
        "insert into missed_deliveries (guid, event, github_id, attempted_at, delivered_at)"
        " select * from unnest(%s::text[], %s::text[], %s::bigint[], %s::timestamptz[],"
        " %s::timestamptz[])"
        " on conflict (guid) do update set"
        " github_id = case when excluded.attempted_at > missed_deliveries.attempted_at"
        " then excluded.github_id else missed_deliveries.github_id end,"
        " attempted_at = greatest(missed_deliveries.attempted_at, excluded.attempted_at),"
        # Somebody had it sent again since it was given up: that attempt may have its payload.
        " state = case when missed_deliveries.state = 'given_up'"
        " and excluded.attempted_at > missed_deliveries.attempted_at"
        " then 'missing' else missed_deliveries.state end,"
        " next_try = case when missed_deliveries.state = 'given_up'"
        " then now() else missed_deliveries.next_try end,"
        " delivered_at = least(missed_deliveries.delivered_at, excluded.delivered_at)"
        " returning xmax = 0 as new",
        [
            [one.guid for one in missed],
            [one.event for one in missed],
            [one.github_id for one in missed],
            [one.attempted_at for one in missed],
            [one.delivered_at for one in missed],
        ],
    )
    return sum([row["new"] async for row in cursor])


async def works(connection: Async) -> None:
    """GitHub responded."""
    await connection.execute(
        "update delivery_scan set failing_since = null, error = '', not_before = null"
        " where failing_since is not null or not_before is not null"
    )


async def failed(connection: Async, error: str, paused: timedelta | None = None) -> None:
    """`paused`: GitHub wants no call for so long."""
    await connection.execute(
        "update delivery_scan set failing_since = coalesce(failing_since, now()), error = %s,"
        " not_before = now() + %s::interval",
        [error, paused],
    )


# By the index of hooks and GUIDs: an App has one hook, and a few more that it had once.
_HOOKS = """
with recursive hooks as (
    (select hook_id from deliveries order by hook_id limit 1)
    union all
    select next.hook_id from hooks cross join lateral (
        select hook_id from deliveries where hook_id > hooks.hook_id order by hook_id limit 1
    ) next
)
"""
_ARRIVED = "exists (select from hooks join deliveries using (hook_id) where deliveries.guid = {})"


async def not_arrived(connection: Async, guids: Collection[str]) -> set[str]:
    cursor = await connection.execute(
        f"{_HOOKS} select guid from unnest(%s::text[]) as listed (guid)"
        f" where not {_ARRIVED.format('listed.guid')}",
        [list(guids)],
    )
    return {row["guid"] async for row in cursor}


async def due(connection: Async, limit: int) -> list[Missed]:
    """What is to be fetched now, newest first; not what has arrived by itself, or because somebody
    pressed GitHub's button."""
    await connection.execute(
        f"{_HOOKS}, expected as ((select guid from missed_deliveries"
        f" where state = 'missing' and next_try <= now())"
        f" union all (select guid from missed_deliveries where state = 'given_up'"
        f" order by found_at desc limit {_MOST_GIVEN_UP}))"
        " update missed_deliveries set state = 'recovered', ended_at = now(), reason = ''"
        " where guid = any(array(select guid from expected"
        f" where {_ARRIVED.format('expected.guid')}))"
    )
    cursor = connection.cursor(row_factory=class_row(Missed))
    await cursor.execute(
        "select guid, event, github_id, attempted_at, delivered_at, tries from missed_deliveries"
        " where state = 'missing' and next_try <= now() order by delivered_at desc limit %s",
        [limit],
    )
    return await cursor.fetchall()


async def hand_over(connection: Async, missed: Missed, received: Received) -> None:
    """In a transaction: as if GitHub had delivered it, unless that has done so meanwhile."""
    cursor = await connection.execute(
        "insert into deliveries (hook_id, guid, event, body, way, delivered_at)"
        " values (%s, %s, %s, %s, 'pulled', %s) on conflict (hook_id, guid) do nothing"
        " returning id",
        [received.hook_id, received.guid, received.event, received.body, missed.delivered_at],
    )
    if inserted := await cursor.fetchone():
        await schedule.request(connection, [Key("receive", inserted["id"])])
    await _end(connection, missed.guid, "recovered", "")


async def give_up(connection: Async, guid: str, reason: str) -> None:
    await _end(connection, guid, "given_up", reason)


async def _end(connection: Async, guid: str, state: str, reason: str) -> None:
    await connection.execute(
        "update missed_deliveries set state = %s, ended_at = now(), reason = %s where guid = %s",
        [state, reason, guid],
    )


async def try_later(
    connection: Async, guid: str, pause: timedelta, reason: str, *, tries: int
) -> None:
    await connection.execute(
        "update missed_deliveries set next_try = now() + %s, reason = %s, tries = %s"
        " where guid = %s",
        [pause, reason, tries, guid],
    )


async def doubt(connection: Async, reason: str, after: timedelta) -> None:
    """A delivery may have been lost: the list is to be compared that long after it, or earlier;
    where it is being compared, once more."""
    await connection.execute(
        "with doubted as (insert into delivery_scan (doubted_at, doubt) values (now(), %(reason)s)"
        " on conflict (id) do update set doubted_at = now(), doubt = excluded.doubt)"
        " insert into schedule (task, subject, due_at) values ('recover', 0, now() + %(after)s)"
        " on conflict (subject, task, detail) do update set"
        " wanted = schedule.wanted + (schedule.claimed_by is not null)::int,"
        " due_at = case when schedule.claimed_by is null"
        " then least(schedule.due_at, excluded.due_at) else schedule.due_at end",
        {"reason": reason, "after": after},
    )


async def doubts(connection: Async) -> Doubts:
    cursor = connection.cursor(row_factory=class_row(Doubts))
    await cursor.execute(
        f"select ({_SILENT_FOR}) as silent_for,"
        " (select now() - doubted_at from delivery_scan) as doubted_for,"
        " (select greatest(min(next_try) - now(), interval '0') from missed_deliveries"
        " where state = 'missing' having count(*) > 0) as next_try_in"
    )
    found = await cursor.fetchone()
    assert found is not None
    return found


def silent_for(connection: Sync) -> timedelta | None:
    """Since GitHub sent the last delivery; None: it sent none lately."""
    row = connection.execute(f"select ({_SILENT_FOR}) as span").fetchone()
    return row["span"] if row else None


def summary(connection: Sync) -> Summary:
    cursor = connection.cursor(row_factory=class_row(Summary))
    cursor.execute(
        "select compared_at, now() - failing_since as failing_for, coalesce(error, '') as error,"
        " coalesce(found, 0) as found,"
        " (select count(*) from missed_deliveries where state = 'missing') as missing,"
        " (select count(*) from missed_deliveries where state = 'given_up') as given_up"
        " from (select) one left join delivery_scan on true"
    )
    found = cursor.fetchone()
    assert found is not None
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedDelivery(Missed):
    """`next_try`: of one that is still missing."""

    state: Literal["missing", "recovered", "given_up"]
    found_at: datetime
    next_try: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedSelection:
    """`since`, `until`: when GitHub sent it first."""

    event: str = ""
    since: datetime | None = None
    until: datetime | None = None


_MISSED = (
    "select guid, event, github_id, attempted_at, delivered_at, tries, state, found_at, next_try,"
    " reason from missed_deliveries"
)
_CHOSEN = (
    "(%(event)s = '' or event = %(event)s)"
    " and (%(since)s::timestamptz is null or delivered_at >= %(since)s)"
    " and (%(until)s::timestamptz is null or delivered_at < %(until)s)"
)
_OPEN_MISSED = (
    f"{_HOOKS} select * from ({_MISSED} where state = 'missing' and {_CHOSEN}"
    f" union all {_MISSED} where state = 'given_up' and {_CHOSEN}) missed"
    " where not exists (select from delivery_requests where guid = missed.guid and guid <> ''"
    f" and state in ('waiting', 'running')) and not {_ARRIVED.format('missed.guid')}"
    " and (%(named)s::text[] is null or guid = any(%(named)s))"
    " and attempted_at > %(kept_since)s order by attempted_at desc limit %(limit)s"
)


def newest_missed(
    connection: Sync, limit: int, chosen: MissedSelection = MissedSelection()
) -> list[MissedDelivery]:
    """By when it was found."""
    query = f"{_MISSED} where {_CHOSEN} order by found_at desc limit %(limit)s"
    values = {**asdict(chosen), "limit": limit}
    cursor = connection.cursor(row_factory=class_row(MissedDelivery))
    return cursor.execute(query, values).fetchall()


def open_missed(
    connection: Sync,
    limit: int,
    chosen: MissedSelection,
    kept_since: datetime,
    named: Collection[str] | None = None,
) -> list[MissedDelivery]:
    """The newest attempts, of those that have not arrived and that nobody waits for. `kept_since`:
    GitHub has no older ones. `named`: the GUIDs of which they are; None: of all."""
    guids = None if named is None else list(named)
    values = {**asdict(chosen), "limit": limit, "kept_since": kept_since, "named": guids}
    cursor = connection.cursor(row_factory=class_row(MissedDelivery))
    return cursor.execute(_OPEN_MISSED, values).fetchall()


async def attempt_of(connection: Async, guid: str) -> int:
    """GitHub's id of the newest attempt that has not arrived; 0: none is known."""
    cursor = await connection.execute(
        "select github_id from missed_deliveries where guid = %s and state <> 'recovered'", [guid]
    )
    row = await cursor.fetchone()
    return row["github_id"] if row else 0


def missed(connection: Sync, guid: str) -> MissedDelivery | None:
    cursor = connection.cursor(row_factory=class_row(MissedDelivery))
    return cursor.execute(f"{_MISSED} where guid = %s", [guid]).fetchone()


def given_up(connection: Sync, limit: int) -> list[GivenUp]:
    """Newest first."""
    cursor = connection.cursor(row_factory=class_row(GivenUp))
    cursor.execute(
        "select guid, event, delivered_at, reason from missed_deliveries"
        " where state = 'given_up' order by found_at desc limit %s",
        [limit],
    )
    return cursor.fetchall()

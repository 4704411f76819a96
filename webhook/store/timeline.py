"""The timeline of a deployment: what was reported when, by whom, and whether GitHub has ours.

An entry of ours is a GitHub deployment status, which the outbox sends. What a tool reports to us is
not judged at first: a job decides later whether it counts.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from webhook.store import outbox
from webhook.store.database import Async, Sync
from webhook.store.protection_rules import ANSWERS

# Of entries about what a person requested, which are no states of GitHub's: the second is one
# that everybody has to see.
REQUESTED, OVERRIDDEN = "requested", "overridden"
BY_PEOPLE = (REQUESTED, OVERRIDDEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """`counted`: it changed the deployment's phase; a late or repeated one is only kept. `held`: it
    waits for a person; `asked_before`: whom it waits for knows that already. `judged`: it is
    decided whether it counts."""

    actor: str
    state: str
    description: str
    log_url: str = ""
    environment_url: str = ""
    counted: bool = True
    judged: bool = True
    github_id: int | None = None
    held: bool = False
    asked_before: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry(NewEntry):
    """`position`: the order in which entries count. `outbox` and `error`: the state of its
    status for GitHub, and the error of the last attempt; None for one that is not ours to send."""

    id: int
    position: int
    at: datetime
    outbox: outbox.State | None
    error: str


_OWN = (
    "timeline.id, timeline.position, at, actor, timeline.state, description, log_url,"
    " environment_url, counted, judged, github_id, held, asked_before"
)
_SELECT = (
    f"select {_OWN}, outbox.state as outbox, coalesce(outbox.error, '') as error"
    " from timeline left join outbox"
    " on outbox.kind in ('status', 'protection_rule')"
    " and outbox.deployment_id = timeline.deployment_id"
    " and outbox.position = timeline.position where timeline.deployment_id = %s "
)
_INSERT = (
    "insert into timeline (deployment_id, actor, state, description, log_url, environment_url,"
    " counted, judged, github_id, held, asked_before)"
    " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


def _values(deployment_id: int, entry: NewEntry) -> list[Any]:
    return [
        deployment_id,
        entry.actor,
        entry.state,
        entry.description,
        entry.log_url,
        entry.environment_url,
        entry.counted,
        entry.judged,
        entry.github_id,
        entry.held,
        entry.asked_before,
    ]


def add_report(connection: Sync, deployment_id: int, entry: NewEntry) -> TimelineEntry:
    cursor = connection.cursor(row_factory=class_row(TimelineEntry))
    returning = f"returning {_OWN}, null as outbox, '' as error"
    cursor.execute(f"{_INSERT} {returning}", _values(deployment_id, entry))
    kept = cursor.fetchone()
    assert kept is not None
    return kept


def reported_end(connection: Sync, deployment_id: int) -> bool:
    """Whether an end was reported that is not judged yet."""
    cursor = connection.execute(
        "select 1 from timeline where deployment_id = %s and not judged"
        " and state in ('success', 'failure', 'error', 'inactive')",
        [deployment_id],
    )
    return cursor.fetchone() is not None


def count(connection: Sync, deployment_id: int) -> int:
    cursor = connection.execute(
        "select count(*) as entries from timeline where deployment_id = %s", [deployment_id]
    )
    row = cursor.fetchone()
    return int(row["entries"]) if row else 0


async def not_judged(connection: Async, deployment_id: int) -> list[TimelineEntry]:
    """Reports of a tool, in the order in which they came."""
    return await _read(connection, "and not judged order by timeline.id", [deployment_id])


async def judge(connection: Async, entry_id: int, *, description: str, counted: bool) -> None:
    """One that counts is sent to GitHub, after all that counted before; another is only stored."""
    await connection.execute(
        "with judged as (update timeline set description = %s, counted = %s, judged = true,"
        " position = nextval('timeline_position') where id = %s"
        " returning deployment_id, position, counted)"
        " insert into outbox (kind, deployment_id, position)"
        " select 'status', deployment_id, position from judged where counted",
        [description, counted, entry_id],
    )


async def add(connection: Async, deployment_id: int, entry: NewEntry) -> int | None:
    """Keep an entry; None where GitHub's status of that id is already kept."""
    cursor = await connection.execute(
        f"{_INSERT} on conflict (github_id) do nothing returning id", _values(deployment_id, entry)
    )
    row = await cursor.fetchone()
    return row["id"] if row else None


async def add_status(connection: Async, deployment_id: int, entry: NewEntry) -> int:
    """Keep an entry that is also to become a status on GitHub."""
    cursor = await connection.execute(
        f"with added as ({_INSERT} returning id, deployment_id, position),"
        " sending as (insert into outbox (kind, deployment_id, position)"
        " select 'status', deployment_id, position from added) select id from added",
        _values(deployment_id, entry),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["id"])


async def add_answer(
    connection: Async, deployment_id: int, entry: NewEntry, kind: str, most: int
) -> None:
    """Keep an entry that is also to become an answer to a protection rule on GitHub, unless there
    were `most` of its kind about the jobs that wait with it."""
    await connection.execute(
        f"with added as ({_INSERT} returning deployment_id, position)"
        " insert into outbox (kind, deployment_id, purpose, position)"
        " select 'protection_rule', deployment_id, %s, position from added"
        f" where (select count(*) {ANSWERS}) < %s",
        [*_values(deployment_id, entry), kind, deployment_id, kind, most],
    )


async def of_positions(
    connection: Async, deployment_id: int, positions: Collection[int]
) -> dict[int, TimelineEntry]:
    where = "and timeline.position = any(%s)"
    found = await _read(connection, where, [deployment_id, list(positions)])
    return {entry.position: entry for entry in found}


def of_deployment(connection: Sync, deployment_id: int) -> list[TimelineEntry]:
    cursor = connection.cursor(row_factory=class_row(TimelineEntry))
    cursor.execute(f"{_SELECT} order by timeline.position", [deployment_id])
    return cursor.fetchall()


async def is_held(connection: Async, deployment_id: int) -> bool:
    """Whether the last that counted waits for a person."""
    cursor = await connection.execute(
        "select held from timeline where deployment_id = %s and counted"
        " order by position desc limit 1",
        [deployment_id],
    )
    row = await cursor.fetchone()
    return bool(row and row["held"])


async def record_status(
    connection: Async, entry: outbox.Entry, entry_id: int, github_id: int
) -> outbox.Entry:
    """It is on GitHub, which may have delivered it before its id was recorded."""
    doubles = (
        "doubles as (delete from timeline where github_id = %s and id <> %s returning 1),"
        " named as (update timeline set github_id = %s"
        " where id = %s and (select count(*) from doubles) >= 0)"  # after these are gone
    )
    values = [github_id, entry_id, github_id, entry_id]
    return await outbox.sent(connection, entry, {"id": str(github_id)}, also=(doubles, values))


async def reported_by_others(
    connection: Async, deployment_id: int, states: Collection[str]
) -> bool:
    """Whether somebody else has reported one of these to GitHub, and it counted."""
    where = "and outbox.id is null and counted and judged and timeline.state = any(%s) limit 1"
    return bool(await _read(connection, where, [deployment_id, list(states)]))


async def reported_in_vain(connection: Async, deployment_id: int) -> int:
    """How often others have reported something to GitHub that did not count."""
    cursor = await connection.execute(
        "select count(*) as entries from timeline where deployment_id = %s and not counted"
        " and judged and github_id is not null",
        [deployment_id],
    )
    row = await cursor.fetchone()
    return int(row["entries"]) if row else 0


async def may_cover(connection: Async, deployment_id: int, github_id: int) -> bool:
    """Whether a status of ours that is no end may be newer on GitHub than that one."""
    where = (
        "and timeline.state in ('queued', 'in_progress') and (outbox.state = 'claimed'"
        " or (outbox.state = 'sent' and github_id > %s)) limit 1"
    )
    return bool(await _read(connection, where, [deployment_id, github_id]))


async def _read(connection: Async, where: str, values: list[Any]) -> list[TimelineEntry]:
    cursor = connection.cursor(row_factory=class_row(TimelineEntry))
    await cursor.execute(_SELECT + where, values)
    return await cursor.fetchall()

"""What tools sent about their runs: the newest document of each subject."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from handlers.contract import ToolEvent
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow

# Events of a run may come so long before that of the deployment that started it.
EARLIEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class EventSubject:
    """What an event is about: a run, or what belongs to it. `revision` sorts later where the
    document is newer: events come late and in any order. Of those alike the last one counts."""

    name: str
    id: int
    run_id: int
    sha: str
    title: str
    revision: str


@dataclass(frozen=True, slots=True)
class Received:
    """`last_at`: when the last of them came; None: there are none."""

    events: list[ToolEvent]
    last_at: datetime | None
    digest: str


# As in its index.
_NUMBERS = "string_to_array(regexp_replace(title, '\\D+', ' ', 'g'), ' ')"
_OF_RUNS = f"""
select name, document, received_at, md5(document::text) as digest from tool_events
where repo_id = %(repo_id)s and received_at >= %(since)s and run_id in (
    select run_id from tool_events where repo_id = %(repo_id)s and sha = %(sha)s
    union select unnest(%(known)s::bigint[])
    union select run_id from tool_events where repo_id = %(repo_id)s
        and received_at >= %(since)s and {_NUMBERS} @> array[%(id)s])
order by name, subject
"""


async def keep(
    connection: Async, repo_id: int, subject: EventSubject, document: Any, at: datetime
) -> bool:
    """Whether it is not older than what is known."""
    cursor = await connection.execute(
        "insert into tool_events"
        " (repo_id, name, subject, run_id, sha, title, revision, document, received_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " on conflict (repo_id, name, subject) do update set title = excluded.title,"
        " revision = excluded.revision, document = excluded.document,"
        " received_at = excluded.received_at"
        " where excluded.revision >= tool_events.revision",
        [
            repo_id,
            subject.name,
            subject.id,
            subject.run_id,
            subject.sha,
            subject.title,
            subject.revision,
            Jsonb(document),
            at,
        ],
    )
    return cursor.rowcount > 0


async def knows_run(connection: Async, repo_id: int, run_id: int) -> bool:
    cursor = await connection.execute(
        "select 1 from tool_events where repo_id = %s and run_id = %s limit 1", [repo_id, run_id]
    )
    return await cursor.fetchone() is not None


async def received(connection: Async, row: DeploymentRow) -> Received:
    """Of the runs that are the deployment's, or may be."""
    known = [int(id_) for id_ in (row.run.id.split() if row.run else ()) if id_.isdecimal()]
    since = (row.requested_at or row.created_at) - EARLIEST
    cursor = await connection.execute(
        _OF_RUNS,
        {
            "repo_id": row.repo_id,
            "since": since,
            "sha": row.sha,
            "known": known,
            "id": str(row.id),
        },
    )
    rows = await cursor.fetchall()
    state = "".join(one["digest"] for one in rows)
    return Received(
        events=[ToolEvent(one["name"], one["document"]) for one in rows],
        last_at=max((one["received_at"] for one in rows), default=None),
        digest=hashlib.sha256(state.encode()).hexdigest(),
    )

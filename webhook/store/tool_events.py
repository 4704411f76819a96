"""What tools sent about the runs of deployments: the newest document of each subject."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from handlers.contract import ToolEvent
from webhook.store.database import Async


@dataclass(frozen=True, slots=True)
class Subject:
    """`revision` sorts later where the document is newer: events come late and in any order."""

    name: str
    id: int
    revision: str


@dataclass(frozen=True, slots=True)
class Received:
    """`last_at`: when the last of them came; None: there are none."""

    events: list[ToolEvent]
    last_at: datetime | None


async def keep(
    connection: Async, deployment_id: int, subject: Subject, document: Any, at: datetime
) -> bool:
    """Whether it is newer than what is known."""
    cursor = await connection.execute(
        "insert into tool_events (deployment_id, name, subject, revision, document, received_at)"
        " values (%s, %s, %s, %s, %s, %s)"
        " on conflict (deployment_id, name, subject) do update set revision = excluded.revision,"
        " document = excluded.document, received_at = excluded.received_at"
        " where excluded.revision > tool_events.revision",
        [deployment_id, subject.name, subject.id, subject.revision, Jsonb(document), at],
    )
    return cursor.rowcount > 0


async def received(connection: Async, deployment_id: int) -> Received:
    cursor = await connection.execute(
        "select name, document, received_at from tool_events where deployment_id = %s"
        " order by received_at, subject",
        [deployment_id],
    )
    rows = await cursor.fetchall()
    events = [ToolEvent(row["name"], row["document"]) for row in rows]
    return Received(events, rows[-1]["received_at"] if rows else None)


async def delete_old(connection: Async) -> int:
    """Of deployments that ended long ago."""
    cursor = await connection.execute(
        "delete from tool_events using deployments where deployment_id = deployments.id"
        " and ended_at < now() - interval '1 day'"
    )
    return cursor.rowcount

"""Deliveries as GitHub sent them: stored first, processed later."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg.rows import class_row

from webhook.store.database import Async, Sync

Outcome = Literal["done", "ignored", "failed"]


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery as it arrives. GitHub repeats hook id and GUID when it delivers it again."""

    hook_id: int
    guid: str
    event: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    id: int
    hook_id: int
    guid: str
    event: str
    body: bytes
    received_at: datetime
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """A delivery without its body; `arrivals` counts how often GitHub sent it."""

    id: int
    guid: str
    event: str
    received_at: datetime
    arrivals: int
    outcome: Outcome | None
    reason: str
    deployment_id: int | None


# %b sends the bodies in binary; as text they would be twice as long.
_INSERT = """
insert into deliveries (hook_id, guid, event, body)
select * from unnest(%b::bigint[], %b::text[], %b::text[], %b::bytea[])
on conflict (hook_id, guid) do update set arrivals = deliveries.arrivals + 1
returning id, outcome
"""


def insert(connection: Sync, batch: Sequence[Received]) -> list[int]:
    """Store a batch; the ids of the deliveries that are still to be processed."""
    columns = [
        [delivery.hook_id for delivery in batch],
        [delivery.guid for delivery in batch],
        [delivery.event for delivery in batch],
        [delivery.body for delivery in batch],
    ]
    rows = connection.execute(_INSERT, columns).fetchall()
    return [row["id"] for row in rows if row["outcome"] is None]


async def read(connection: Async, delivery_id: int) -> Delivery | None:
    """Locked until the transaction ends."""
    cursor = connection.cursor(row_factory=class_row(Delivery), binary=True)
    await cursor.execute(
        "select id, hook_id, guid, event, body, received_at, outcome from deliveries"
        " where id = %s for update",
        [delivery_id],
    )
    return await cursor.fetchone()


async def finish(
    connection: Async,
    delivery_id: int,
    outcome: Outcome,
    reason: str,
    deployment_id: int | None = None,
) -> None:
    await connection.execute(
        "update deliveries set outcome = %s, reason = %s, deployment_id = %s where id = %s",
        [outcome, reason, deployment_id, delivery_id],
    )


async def delete_old_bodies(connection: Async) -> int:
    """Delete the bodies of deliveries that were processed long ago; the rows stay.

    Thirty days: GitHub redelivers what is up to 3 days old (7 on an Enterprise Server).
    """
    cursor = await connection.execute(
        "update deliveries set body = '' where outcome is not null and body <> ''"
        " and received_at < now() - interval '30 days'"
    )
    return cursor.rowcount


def newest(
    connection: Sync, limit: int, *, deployment_id: int | None = None, ignored: bool = True
) -> list[DeliverySummary]:
    """Of one deployment if given; `ignored`: also those that the relay ignored."""
    cursor = connection.cursor(row_factory=class_row(DeliverySummary))
    cursor.execute(
        "select id, guid, event, received_at, arrivals, outcome, reason, deployment_id"
        " from deliveries where (%(id)s::bigint is null or deployment_id = %(id)s)"
        " and (%(ignored)s or outcome is distinct from 'ignored')"
        " order by id desc limit %(limit)s",
        {"limit": limit, "id": deployment_id, "ignored": ignored},
    )
    return cursor.fetchall()

"""Deliveries as GitHub sent them: stored first, processed later."""

import os
import secrets
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
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """`arrivals` counts how often GitHub sent it. `repo` and what follows are the deployment's, as
    it is now; `unsent` is why GitHub lacks its newest state. `body`: of one about no deployment,
    unless it is long."""

    id: int
    guid: str
    event: str
    received_at: datetime
    arrivals: int
    outcome: Outcome | None
    reason: str
    deployment_id: int | None
    repo: str | None
    environment: str | None
    ref: str | None
    sha: str | None
    phase: str | None
    status_description: str | None
    unsent: str | None
    body: bytes


# So that pages are needed as for a real one; it does not shrink.
_PROBE_BYTES = 8 * 1024

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


def check_insert(connection: Sync) -> None:
    """Whether a delivery could be stored: a small one is, and taken back."""
    probe = Received(0, secrets.token_urlsafe(), "probe", os.urandom(_PROBE_BYTES))
    with connection.transaction(force_rollback=True):
        insert(connection, [probe])


async def read(connection: Async, delivery_id: int) -> Delivery | None:
    """Locked until the transaction ends."""
    cursor = connection.cursor(row_factory=class_row(Delivery), binary=True)
    await cursor.execute(
        "select id, hook_id, guid, event, body, outcome from deliveries where id = %s for update",
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


_LONGEST_READ = 1_000_000
_NEWEST = f"""
select found.id, guid, event, received_at, arrivals, outcome, reason, deployment_id, repo,
    environment, ref, sha, phase, status_description,
    unsent.error as unsent,
    case when repo is null and length(body) < {_LONGEST_READ} then body else '' end as body
from (
    select * from deliveries where (%(id)s::bigint is null or deployment_id = %(id)s)
        and (%(ignored)s or outcome is distinct from 'ignored' or event = 'deployment')
    order by id desc limit %(limit)s
) found
left join deployments on deployments.id = deployment_id
left join lateral (
    -- A status waits behind an earlier one that failed: the newest need not have an error itself.
    select error from outbox where kind = 'status' and error <> ''
        and outbox.deployment_id = found.deployment_id and state <> 'skipped'
        and not exists (select from outbox later where later.kind = 'status'
            and later.deployment_id = outbox.deployment_id and later.state = 'sent'
            and later.position > outbox.position)
    order by position desc limit 1
) unsent on true
order by found.id desc
"""


def newest(
    connection: Sync, limit: int, *, deployment_id: int | None = None, ignored: bool = True
) -> list[DeliverySummary]:
    """Of one deployment if given; `ignored`: also what the relay ignored, besides deployments, for
    which somebody may wait."""
    cursor = connection.cursor(row_factory=class_row(DeliverySummary), binary=True)
    cursor.execute(_NEWEST, {"id": deployment_id, "ignored": ignored, "limit": limit})
    return cursor.fetchall()

"""Deliveries as GitHub sent them: stored first, processed later."""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast

from backports import zstd
from psycopg.rows import class_row

from webhook.deployments.blockers import Blocker
from webhook.errors import Conflict
from webhook.store import schedule
from webhook.store.database import Async, Sync

Outcome = Literal["done", "ignored", "failed"]
# GitHub sent it; the relay fetched it from GitHub's list; or nobody sent it, and it was made from a
# deployment that GitHub listed.
Way = Literal["webhook", "pulled", "listed"]


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery as it arrives, its body `compressed`. GitHub repeats hook id and GUID when it
    delivers it again."""

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
    way: Way
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """`arrivals` counts how often GitHub sent it. `repo` and what follows are the deployment's, as
    it is now; `blockers` keep it from starting; `unsent` is why GitHub lacks its newest state.
    `body`: of one about no deployment, unless it is long."""

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
    blockers: tuple[Blocker, ...]
    unsent: str | None
    body: bytes


# A body is stored as a frame of zstd (RFC 8878, which begins with these bytes), or as it came where
# that is no longer: JSON begins otherwise. A quarter of the bytes is written to the disk.
_FRAME = b"\x28\xb5\x2f\xfd"
_LEVEL = 1
# Making one costs as much as compressing 10 KB. It may be used by one thread at a time.
_compressor = zstd.ZstdCompressor(level=_LEVEL)
_LARGEST_SHARED = 32 * 1024


def compressed(body: bytes) -> bytes:
    """As it is stored."""
    if len(body) > _LARGEST_SHARED:
        smaller = zstd.compress(body, _LEVEL)
    else:
        smaller = _compressor.compress(body, zstd.ZstdCompressor.FLUSH_FRAME)
    return smaller if len(smaller) < len(body) or body.startswith(_FRAME) else body


def decompressed(stored: bytes) -> bytes:
    """As it came."""
    return zstd.decompress(stored) if stored.startswith(_FRAME) else stored


# So that pages are needed as for a real one; it does not shrink.
_PROBE_BYTES = 8 * 1024

# %b sends the bodies in binary; as text they would be twice as long.
_INSERT = """
insert into deliveries (hook_id, guid, event, body)
select * from unnest(
    %(hooks)b::bigint[], %(guids)b::text[], %(events)b::text[], %(bodies)b::bytea[]
)
on conflict (hook_id, guid) do update set arrivals = deliveries.arrivals + 1
returning id, outcome
"""
# One statement is one round trip, and a transaction by itself.
_INSERT_AND_REQUEST = f"""
with inserted as ({_INSERT}),
stored as (select id from inserted where outcome is null),
{schedule.REQUEST_RECEIVE}
"""


async def insert(connection: Async, batch: Sequence[Received]) -> None:
    """Store a batch; those that are not processed yet are to be. Each delivery may be there once,
    and all processes have to use one order: they lock those that they both have."""
    await connection.execute(_INSERT_AND_REQUEST, _columns(batch), prepare=True)


def check_insert(connection: Sync) -> None:
    """Whether a delivery could be stored: a small one is, and taken back."""
    probe = Received(0, secrets.token_urlsafe(), "probe", os.urandom(_PROBE_BYTES))
    with connection.transaction(force_rollback=True):
        connection.execute(_INSERT, _columns([probe]))


def _columns(batch: Sequence[Received]) -> dict[str, Any]:
    return {
        "hooks": [delivery.hook_id for delivery in batch],
        "guids": [delivery.guid for delivery in batch],
        "events": [delivery.event for delivery in batch],
        "bodies": [delivery.body for delivery in batch],
    }


async def read(connection: Async, delivery_id: int) -> Delivery | None:
    cursor = connection.cursor(row_factory=class_row(Delivery), binary=True)
    await cursor.execute(
        "select id, hook_id, guid, event, body, received_at, outcome, way, delivered_at"
        " from deliveries where id = %s",
        [delivery_id],
    )
    delivery = await cursor.fetchone()
    return delivery and replace(delivery, body=decompressed(delivery.body))


async def finish(
    connection: Async,
    delivery_id: int,
    outcome: Outcome,
    reason: str,
    deployment_id: int | None = None,
) -> None:
    """Raises `Conflict` where another process was quicker."""
    cursor = await connection.execute(
        "update deliveries set outcome = %s, reason = %s, deployment_id = %s"
        " where id = %s and outcome is null",
        [outcome, reason, deployment_id, delivery_id],
    )
    if not cursor.rowcount:
        raise Conflict(f"delivery {delivery_id} was processed by another process")


_LONGEST_READ = 1_000_000
_NEWEST = f"""
select found.id, guid, event, received_at, arrivals, outcome, reason, deployment_id, repo,
    environment, ref, sha, phase, status_description,
    case when waiting then blockers else '[]' end as blockers,
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
    select error from outbox where kind in ('status', 'protection_rule') and error <> ''
        and outbox.deployment_id = found.deployment_id and state <> 'skipped'
        and not exists (select from outbox later where later.kind = outbox.kind
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
    return [_typed(found) for found in cursor]


def _typed(found: DeliverySummary) -> DeliverySummary:
    blockers = tuple(Blocker.from_json(one) for one in cast("list[Any]", found.blockers))
    return replace(found, blockers=blockers, body=_unless_long(found.body))


def _unless_long(stored: bytes) -> bytes:
    length = len(stored)
    if stored.startswith(_FRAME):
        length = zstd.get_frame_info(stored).decompressed_size or 0
    return decompressed(stored) if length < _LONGEST_READ else b""

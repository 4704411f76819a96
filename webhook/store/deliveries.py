"""Deliveries as GitHub sent them: stored first, processed later."""

import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast

from backports import zstd
from psycopg.rows import class_row

from webhook.deployments.blockers import Blocker
from webhook.errors import Conflict
from webhook.store import schedule
from webhook.store.ages import first_since
from webhook.store.database import Async, Sync

Outcome = Literal["done", "ignored", "failed"]
# GitHub sent it; the relay fetched it from GitHub's list; or nobody sent it, and it was made from a
# deployment that GitHub listed.
Way = Literal["webhook", "pulled", "listed"]
# An outcome, or that there is none yet.
State = Literal["waiting", "processed", "ignored", "failed"]


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
    """`done_before`: it was processed, and is processed once more, because somebody replays it.
    `action` and `repo_id`: of the payload, None where nobody has read that, or it has none."""

    id: int
    hook_id: int
    guid: str
    event: str
    body: bytes
    received_at: datetime
    outcome: Outcome | None
    way: Way
    delivered_at: datetime | None
    done_before: bool = False
    action: str | None = None
    repo_id: int | None = None


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """`arrivals` counts how often GitHub sent it; `delivered_at` is when it did first, None where
    that is `received_at`. `failures`: unexpected errors so far. `action`, `repo_id`: of the
    payload, None where nobody has read it. `repo` and what follows are the deployment's, as it is
    now; `blockers` keep it from starting; `unsent` is why GitHub lacks its newest state. `body`: of
    one of which the store does not know the repository's name, unless it is long."""

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
    way: Way
    delivered_at: datetime | None
    failures: int
    action: str | None
    repo_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which deliveries; what is None or empty selects all. `ignored`: also what the relay ignored,
    besides deployments, for which somebody may wait. `failing`: what could not be processed the
    last time, whether it is tried again or not. `repo_ids`: of these repositories. `text`: in the
    reason, or in the deployment's environment, ref or commit."""

    since: datetime | None = None
    until: datetime | None = None
    event: str = ""
    outcome: State | None = None
    deployment_id: int | None = None
    ignored: bool = True
    failing: bool = False
    repo_ids: Collection[int] | None = None
    text: str = ""


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


_READ = (
    "select id, hook_id, guid, event, body, received_at, outcome, way, delivered_at, done_before,"
    " action, repo_id from deliveries where id = %s"
)


async def read(connection: Async, delivery_id: int) -> Delivery | None:
    cursor = connection.cursor(row_factory=class_row(Delivery), binary=True)
    await cursor.execute(_READ, [delivery_id])
    delivery = await cursor.fetchone()
    return delivery and replace(delivery, body=decompressed(delivery.body))


def read_sync(connection: Sync, delivery_id: int) -> Delivery | None:
    cursor = connection.cursor(row_factory=class_row(Delivery), binary=True)
    delivery = cursor.execute(_READ, [delivery_id]).fetchone()
    return delivery and replace(delivery, body=decompressed(delivery.body))


async def finish(
    connection: Async,
    delivery_id: int,
    outcome: Outcome,
    reason: str,
    deployment_id: int | None = None,
    *,
    action: str | None = None,
    repo_id: int | None = None,
) -> None:
    """`action`, `repo_id`: of its payload, None where nobody has read it. Raises `Conflict` where
    another process was quicker."""
    cursor = await connection.execute(
        "update deliveries set outcome = %s, reason = %s, deployment_id = %s,"
        " action = coalesce(%s, action), repo_id = coalesce(%s, repo_id)"
        " where id = %s and outcome is null",
        [outcome, reason, deployment_id, action, repo_id, delivery_id],
    )
    if not cursor.rowcount:
        raise Conflict(f"delivery {delivery_id} was processed by another process")


async def failed(connection: Async, delivery_id: int, reason: str) -> int:
    """Keep why it could not be processed, though it is tried again; how often that was so."""
    cursor = await connection.execute(
        "update deliveries set failures = failures + 1, reason = %s"
        " where id = %s and outcome is null returning failures",
        [reason, delivery_id],
    )
    row = await cursor.fetchone()
    return row["failures"] if row else 0


def dead_letters(connection: Sync, most: int) -> int:
    """How many could not be processed, counted up to so many."""
    row = connection.execute(
        "select count(*) as found from (select from dead_letters limit %s) dead", [most]
    ).fetchone()
    return row["found"] if row else 0


EVERYTHING = Selection()
LONGEST_READ = 1_000_000
_LAST = 2**63 - 1
_OUTCOMES: Mapping[State | None, str] = {
    None: "true",
    "waiting": "outcome is null and id in (select subject from schedule where task = 'receive')",
    "processed": "outcome = 'done'",
    "ignored": "outcome = 'ignored'",
    "failed": "outcome = 'failed' and id in (select delivery_id from dead_letters)",
}
_FAILING = """
    (outcome = 'failed' or outcome is null and failures > 0)
    and id in (select delivery_id from dead_letters
        union all select subject from schedule where task = 'receive')
"""
# Its repository, where nobody has read its payload for that: the deployment's. Not `exists`: it
# would be answered by reading all deployments.
_SELECTED = """
    id >= %(first)s and id < %(before)s
    and (%(since)s::timestamptz is null or received_at >= %(since)s)
    and (%(until)s::timestamptz is null or received_at < %(until)s)
    and (%(event)s = '' or event = %(event)s)
    and (%(id)s::bigint is null or deployment_id = %(id)s)
    and (%(ignored)s or outcome is distinct from 'ignored' or event = 'deployment')
    and (%(repo_ids)s::bigint[] is null or repo_id = any(%(repo_ids)s) or repo_id is null
        and (select deployments.repo_id = any(%(repo_ids)s) from deployments
            where deployments.id = deployment_id))
    and (%(text)s = '' or strpos(lower(reason), %(text)s) > 0
        or (select strpos(lower(environment), %(text)s) > 0 or strpos(lower(ref), %(text)s) > 0
            or starts_with(sha, %(text)s) from deployments where deployments.id = deployment_id))
"""
_NEWEST = """
select found.id, guid, event, received_at, arrivals, outcome, reason, deployment_id,
    coalesce(repo, named.full_name) as repo, environment, ref, sha, phase, status_description,
    case when waiting then blockers else '[]' end as blockers,
    unsent.error as unsent,
    case when repo is null and named.full_name is null and length(body) < {longest} then body
        else '' end as body,
    way, delivered_at, failures, action,
    coalesce(found.repo_id, deployments.repo_id) as repo_id
from (
    select * from deliveries where {selected} order by id desc limit %(limit)s
) found
left join deployments on deployments.id = deployment_id
left join lateral (
    select full_name from repository_names where repository_names.repo_id = found.repo_id
    order by seen_at desc, recorded_at desc limit 1
) named on true
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
    connection: Sync,
    limit: int,
    selection: Selection = EVERYTHING,
    *,
    before: int = _LAST,
    least: int = 0,
    longest: int = LONGEST_READ,
) -> list[DeliverySummary]:
    """The newest first, of those that were stored before that one, and not before the `least`.
    `longest`: of a body that is read, in bytes."""
    cursor = connection.cursor(row_factory=class_row(DeliverySummary), binary=True)
    values = values_of(connection, selection)
    values |= {"before": before, "first": max(values["first"], least), "limit": limit}
    cursor.execute(_NEWEST.format(longest=longest, selected=selected_by(selection)), values)
    return [_typed(found, longest) for found in cursor]


def selected_by(selection: Selection) -> str:
    """A condition, for `values_of` it, and `first` and `before`: ids."""
    failing = f" and {_FAILING}" if selection.failing else ""
    return f"{_SELECTED} and {_OUTCOMES[selection.outcome]}{failing}"


def summaries(connection: Sync, delivery_ids: Collection[int]) -> list[DeliverySummary]:
    """The newest first."""
    cursor = connection.cursor(row_factory=class_row(DeliverySummary), binary=True)
    query = _NEWEST.format(longest=LONGEST_READ, selected="id = any(%(ids)s)")
    cursor.execute(query, {"ids": list(delivery_ids), "limit": len(delivery_ids)})
    return [_typed(found) for found in cursor]


def count_since(connection: Sync, since: datetime) -> int:
    row = connection.execute(
        "select count(*) as found from deliveries where id >= %s and received_at >= %s",
        [first_since(connection, "deliveries", since), since],
    ).fetchone()
    return row["found"] if row else 0


def values_of(connection: Sync, selection: Selection) -> dict[str, Any]:
    return {
        "first": first_since(connection, "deliveries", selection.since) if selection.since else 0,
        "since": selection.since,
        "until": selection.until,
        "event": selection.event,
        "id": selection.deployment_id,
        "ignored": selection.ignored,
        "repo_ids": None if selection.repo_ids is None else list(selection.repo_ids),
        "text": selection.text.lower(),
    }


# Hook ids are few, and each is found after the one before. What sorts after all GUIDs with that
# beginning is no letter or digit of one.
_OF_GUID = """
with recursive hooks as (
    (select hook_id from deliveries order by hook_id limit 1)
    union all
    select (select hook_id from deliveries where hook_id > hooks.hook_id order by hook_id limit 1)
    from hooks where hook_id is not null
)
select found.id, guid from hooks cross join lateral (
    select id, guid from deliveries where hook_id = hooks.hook_id
        and guid >= %(prefix)s and guid < %(prefix)s || 'zzzzzzzz' and starts_with(guid, %(prefix)s)
    order by guid limit %(limit)s
) found order by found.id desc limit %(limit)s
"""


def with_guid(connection: Sync, prefix: str, limit: int) -> dict[str, int]:
    """GUIDs that begin so, each with the id of the newest delivery that has it: another hook may
    have the same one."""
    cursor = connection.execute(_OF_GUID, {"prefix": prefix, "limit": limit})
    return {row["guid"]: row["id"] for row in reversed(cursor.fetchall())}


def _typed(found: DeliverySummary, longest: int = LONGEST_READ) -> DeliverySummary:
    blockers = tuple(Blocker.from_json(one) for one in cast("list[Any]", found.blockers))
    return replace(found, blockers=blockers, body=_unless_long(found.body, longest))


def _unless_long(stored: bytes, longest: int) -> bytes:
    length = len(stored)
    if stored.startswith(_FRAME):
        length = zstd.get_frame_info(stored).decompressed_size or 0
    return decompressed(stored) if length < longest else b""

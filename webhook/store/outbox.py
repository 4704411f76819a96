"""The outbox: outward writes (a status, a message, a deployment, a check run) and their state.

An entry is `waiting`, then `claimed` (committed before the call, so that a crash in it is seen),
then `sent`, `rejected`, or `skipped` because there is no need for it any more. A claimed one is
left alone until `claimed_until`: the call may still be under way, here or elsewhere.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from webhook.errors import Excluded
from webhook.store.database import Async, Sync

Kind = Literal["check_run", "status", "message", "deployment", "protection_rule"]
State = Literal["waiting", "claimed", "sent", "rejected", "skipped"]
# Where something is on the other side: for a status its id, for a message what its notifier needs.
Ref = Mapping[str, str]

_NEW = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`first_claimed_at`: what it wrote is not older. `lookups`: how often the result of the last
    attempt was searched in vain. `error`: of the last attempt, until one succeeds. `position`: of a
    status, that of its timeline entry; of a reply, that of the last one that it covers; of an
    announcement, or of a check of a file, its id. `digest`: of a message's content. `simplified`:
    it was sent in a simpler form, and `error` is why. `rejected_call`: the call that is rejected
    since `rejected_since`, at last at `rejected_at`."""

    id: int
    kind: Kind
    deployment_id: int | None
    action_id: int | None
    destination: str
    purpose: str
    position: int
    state: State
    claimed_until: datetime | None
    first_claimed_at: datetime | None
    attempts: int
    lookups: int
    error: str
    rejected_call: str
    rejected_since: datetime | None
    rejected_at: datetime | None
    ref: Ref | None
    digest: str
    edits: int
    simplified: bool

    @classmethod
    def new(
        cls, kind: Kind, deployment_id: int, *, destination: str, purpose: str, position: int
    ) -> Self:
        """One that the store does not have yet: `claim` and `keep` store it."""
        return cls(
            id=_NEW,
            kind=kind,
            deployment_id=deployment_id,
            action_id=None,
            destination=destination,
            purpose=purpose,
            position=position,
            state="waiting",
            claimed_until=None,
            first_claimed_at=None,
            attempts=0,
            lookups=0,
            error="",
            rejected_call="",
            rejected_since=None,
            rejected_at=None,
            ref=None,
            digest="",
            edits=0,
            simplified=False,
        )

    @property
    def over(self) -> bool:
        """Nothing is to be sent any more."""
        return self.state in ("sent", "skipped")


COLUMNS = ", ".join(field.name for field in fields(Entry))
_TIMES = ("claimed_until", "first_claimed_at", "rejected_since", "rejected_at")
# A repository's name in a text; part of an address too.
_REPO = re.compile(r"(?<![\w.-])[\w.-]+/[\w.-]+", re.ASCII)
# A late job must not change what another one has claimed since.
_STILL_CLAIMED = "state = 'claimed' and attempts = %s"


def from_json(document: dict[str, Any]) -> Entry:
    """As PostgreSQL's `to_jsonb` writes one."""
    times = {
        name: datetime.fromisoformat(document[name]) if document[name] else None for name in _TIMES
    }
    return Entry(**{**document, **times})


async def entry_of(
    connection: Async,
    kind: Kind,
    deployment_id: int | None,
    *,
    action_id: int | None = None,
    destination: str = "",
    purpose: str = "",
    position: int = 0,
) -> Entry:
    """The entry, created if missing."""
    key = [kind, deployment_id, action_id, destination, purpose, position]
    cursor = connection.cursor(row_factory=class_row(Entry))
    await cursor.execute(
        "insert into outbox (kind, deployment_id, action_id, destination, purpose, position)"
        f" values (%s, %s, %s, %s, %s, %s) on conflict do nothing returning {COLUMNS}",
        key,
    )
    if (created := await cursor.fetchone()) is not None:
        return created
    # `is not distinct from` would read the whole kind: no index serves it.
    deployment = "is null" if deployment_id is None else "= %s"
    action = "is null" if action_id is None else "= %s"
    [found] = await _read(
        connection,
        f"where kind = %s and deployment_id {deployment} and action_id {action}"
        " and destination = %s and purpose = %s and position = %s",
        [value for value in key if value is not None],
    )
    return found


async def keep(connection: Async, entry: Entry) -> Entry:
    """It is stored, and not claimed."""
    if entry.id != _NEW:
        return entry
    return await entry_of(
        connection,
        entry.kind,
        entry.deployment_id,
        destination=entry.destination,
        purpose=entry.purpose,
        position=entry.position,
    )


async def keep_doubted(connection: Async, entry: Entry, since: datetime) -> Entry:
    """It is stored as one whose call was begun since then, so that it is searched before it is
    sent."""
    kept = await keep(connection, entry)
    cursor = connection.cursor(row_factory=class_row(Entry))
    await cursor.execute(
        "update outbox set state = 'claimed', claimed_until = now(), first_claimed_at = %s"
        f" where id = %s and state = 'waiting' and attempts = 0 returning {COLUMNS}",
        [since, kept.id],
    )
    return await cursor.fetchone() or kept


async def pending(connection: Async, kind: Kind, deployment_id: int) -> list[Entry]:
    """What is still to be sent of a deployment, in order."""
    where = "where kind = %s and deployment_id = %s and pending order by position"
    return await _read(connection, where, [kind, deployment_id])


async def deployments_with_pending(
    connection: Async, installation_id: int, account: str
) -> list[int]:
    """Those whose statuses or answers GitHub does not have yet, of the installation or of its
    account: it may have been another installation's."""
    cursor = await connection.execute(
        "select distinct deployment_id from outbox join deployments on deployments.id ="
        " deployment_id where kind in ('status', 'protection_rule') and pending"
        " and (installation_id = %s or lower(split_part(repo, '/', 1)) = lower(%s))",
        [installation_id, account],
    )
    return [row["deployment_id"] async for row in cursor]


async def claim(connection: Async, entry: Entry, lasts: timedelta) -> Entry | None:
    """The entry, if the call is ours to make: nobody else makes it meanwhile. None where
    another job was quicker. Raises `Excluded`; the transaction, if any, is lost then."""
    cursor = connection.cursor(row_factory=class_row(Entry))
    if entry.id == _NEW:
        await cursor.execute(
            "insert into outbox (kind, deployment_id, destination, purpose, position, state,"
            " attempts, first_claimed_at, claimed_until)"
            " values (%s, %s, %s, %s, %s, 'claimed', 1, now(), now() + %s)"
            f" on conflict do nothing returning {COLUMNS}",
            [
                entry.kind,
                entry.deployment_id,
                entry.destination,
                entry.purpose,
                entry.position,
                lasts,
            ],
        )
        return await cursor.fetchone()
    try:
        await cursor.execute(
            "update outbox set state = 'claimed', attempts = attempts + 1, lookups = 0,"
            " first_claimed_at = coalesce(first_claimed_at, now()),"
            " claimed_until = now() + %s"
            " where id = %s and attempts = %s and (state in ('waiting', 'rejected')"
            f" or (state = 'claimed' and claimed_until <= now())) returning {COLUMNS}",
            [lasts, entry.id, entry.attempts],
        )
    except psycopg.errors.UniqueViolation:
        raise Excluded from None
    return await cursor.fetchone()


async def extend(connection: Async, entry_id: int, lasts: timedelta) -> None:
    """Another call is made under the same claim."""
    await connection.execute(
        "update outbox set claimed_until = now() + %s where id = %s and state = 'claimed'",
        [lasts, entry_id],
    )


async def search_later(
    connection: Async, entry: Entry, rest: timedelta, *, lookups: int = 0, error: str = ""
) -> None:
    """Whether the call got through is not known; its result is searched after `rest`."""
    await connection.execute(
        "update outbox set claimed_until = now() + %s, lookups = %s,"
        f" error = coalesce(nullif(%s, ''), error) where id = %s and {_STILL_CLAIMED}",
        [rest, lookups, error, entry.id, entry.attempts],
    )


async def release(connection: Async, entry: Entry, state: State, error: str) -> None:
    """The call was not made, or did nothing, and why. `claimed`: an earlier one may have."""
    await connection.execute(
        "update outbox set state = %s, error = %s, claimed_until = case when %s = 'claimed'"
        " then claimed_until end where id = %s and attempts = %s"
        " and state not in ('sent', 'skipped')",
        [state, error, state, entry.id, entry.attempts],
    )


async def keep_rejection(
    connection: Async, entry: Entry, call: str, since: datetime, at: datetime
) -> None:
    await connection.execute(
        "update outbox set rejected_call = %s, rejected_since = %s, rejected_at = %s where id = %s",
        [call, since, at, entry.id],
    )


async def keep_error(connection: Async, entry: Entry, error: str) -> None:
    await connection.execute(
        "update outbox set error = %s, simplified = false where id = %s", [error, entry.id]
    )


async def skip(connection: Async, entry: Entry) -> Entry:
    """As it is then: it may have been sent."""
    cursor = connection.cursor(row_factory=class_row(Entry))
    await cursor.execute(
        "update outbox set state = 'skipped', claimed_until = null, error = ''"
        f" where id = %s and state <> 'sent' returning {COLUMNS}",
        [entry.id],
    )
    return await cursor.fetchone() or replace(entry, state="sent")


async def sent(
    connection: Async,
    entry: Entry,
    ref: Ref,
    digest: str = "",
    *,
    error: str = "",
    also: tuple[str, Sequence[Any]] | None = None,
) -> Entry:
    """`error`: why it was sent in a simpler form. `also`: what is recorded by the same statement,
    before it, with its values. Raises `Excluded` where this one was given up, and another has begun
    since; the transaction, if any, is lost then."""
    before, values = also or ("", ())
    cursor = connection.cursor(row_factory=class_row(Entry))
    try:
        await cursor.execute(
            f"{f'with {before}' if before else ''}"
            " update outbox set state = 'sent', ref = %s, digest = %s, claimed_until = null,"
            " error = %s, simplified = %s, rejected_call = '', rejected_since = null"
            f" where id = %s returning {COLUMNS}",
            [*values, Jsonb(dict(ref)), digest, error, bool(error), entry.id],
        )
    except psycopg.errors.UniqueViolation:
        raise Excluded from None
    recorded = await cursor.fetchone()
    return recorded or entry


async def is_begun(connection: Async, action_id: int) -> bool:
    """Whether the creation by an action is claimed or sent; nobody claims it until the transaction
    ends."""
    cursor = await connection.execute(
        "select state from outbox where action_id = %s for update", [action_id]
    )
    row = await cursor.fetchone()
    return row is not None and row["state"] in ("claimed", "sent")


async def abandon(connection: Async, action_id: int, error: str) -> None:
    """The creation by an action is given up, whatever became of its call."""
    await connection.execute(
        "update outbox set state = 'skipped', error = %s, claimed_until = null"
        " where action_id = %s and state <> 'sent'",
        [error, action_id],
    )


def messages_of(connection: Sync, deployment_id: int) -> list[Entry]:
    cursor = connection.cursor(row_factory=class_row(Entry))
    cursor.execute(
        f"select {COLUMNS} from outbox where kind = 'message' and deployment_id = %s"
        " order by purpose, destination, position",
        [deployment_id],
    )
    return cursor.fetchall()


async def newest_ref(connection: Async, destination: str) -> Ref | None:
    """The newest message that was sent there, whatever it is about."""
    cursor = await connection.execute(
        "select ref from outbox where destination = %s and message_sent order by id desc limit 1",
        [destination],
    )
    row = await cursor.fetchone()
    return row["ref"] if row else None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsentStatuses:
    """Of one repository: its newest statuses did not reach GitHub, `since` then."""

    repo: str
    deployments: int
    since: datetime
    error: str

    def __str__(self) -> str:
        return f"{self._count} of {self.repo} {self._since}: {self.error}"

    @property
    def public(self) -> str:
        """For everybody: it names no repository, which may be private."""
        return f"{self._count} {self._since}: {_REPO.sub('OWNER/NAME', self.error)}"

    @property
    def _count(self) -> str:
        count = "a deployment" if self.deployments == 1 else f"{self.deployments} deployments"
        return f"GitHub lacks the state of {count}"

    @property
    def _since(self) -> str:
        return f"since {self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


# Materialized: PostgreSQL expects a row or two, and would search what was sent since for each.
_UNSENT_STATUSES = """
with failing as materialized (
    select repo_id, repo, deployment_id, outbox.position, at, outbox.error
    from outbox join deployments on deployments.id = deployment_id
    join timeline using (deployment_id, position)
    where kind in ('status', 'protection_rule') and outbox.error <> ''
        and outbox.state <> 'skipped'
        and phase_at > now() - interval '7 days'
        and (outbox.rejected_since is not null or outbox.state = 'rejected'
            or at < now() - interval '1 minute')
), sent as materialized (
    select repo_id, (
        -- What was sent last was of one of the newest.
        select max(position) from (select id from deployments lately
            where lately.repo_id = repos.repo_id order by id desc limit 20) lately
        join outbox on deployment_id = lately.id
        where kind in ('status', 'protection_rule') and state = 'sent') as newest
    from (select distinct repo_id from failing) repos
)
select max(repo) as repo, count(distinct deployment_id) as deployments, min(at) as since,
    (array_agg(error order by position desc))[1] as error
from failing join sent using (repo_id)
where newest is null or position > newest group by repo_id order by since
"""


def unsent_statuses(connection: Sync) -> list[UnsentStatuses]:
    """Where the newest attempt of the last seven days failed, and none has succeeded since. A short
    outage does not count."""
    cursor = connection.cursor(row_factory=class_row(UnsentStatuses))
    return cursor.execute(_UNSENT_STATUSES).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedMessage:
    """`state` is `claimed` where it may have been sent: it is searched, and not rejected."""

    destination: str
    error: str
    state: State


# Of each destination where one failed: the newest that failed, and the newest that are there.
_LATELY_FAILED = """
with recursive failing as (
    (select destination from outbox where kind = 'message' and error <> ''
        order by destination limit 1)
    union all
    select (select destination from outbox where kind = 'message' and error <> ''
        and destination > failing.destination order by destination limit 1)
    from failing where destination is not null
)
select newest.* from failing cross join lateral (
    select destination, lately.error, state from (
        (select * from outbox failed where failed.destination = failing.destination
            and kind = 'message' and error <> '' order by id desc limit 3)
        union all
        (select * from outbox there where there.destination = failing.destination
            and message_sent and error = ''
            order by id desc limit 3)
    ) lately left join deployments on deployments.id = deployment_id
    left join announcements on purpose = 'announcement' and announcements.id = position
    cross join lateral (select coalesce(phase_at, at) as news_since) news
    where news_since > now() - interval '7 days'
        and (lately.error = '' or state <> 'waiting' or lately.rejected_since is not null)
    order by news_since desc, lately.error = '' limit 1
) newest where newest.error <> '' order by destination
"""


def lately_failed(connection: Sync) -> list[FailedMessage]:
    """Where the newest message of the last seven days could not be sent, or not be changed."""
    cursor = connection.cursor(row_factory=class_row(FailedMessage))
    return cursor.execute(_LATELY_FAILED).fetchall()


async def extend_to(connection: Async, entry: Entry, position: int) -> Entry | None:
    """A reply that is not there covers more entries; None where it is being sent, or was."""
    cursor = connection.cursor(row_factory=class_row(Entry))
    await cursor.execute(
        "update outbox set position = %s where id = %s and state in ('waiting', 'rejected')"
        f" returning {COLUMNS}",
        [position, entry.id],
    )
    return await cursor.fetchone()


async def edited(connection: Async, entry: Entry, digest: str, error: str = "") -> bool:
    """Whether nobody else edited it meanwhile: else it is not known whose content is there.
    `error`: why it was edited in a simpler form."""
    cursor = await connection.execute(
        "update outbox set digest = case when edits = %s then %s else '' end, edits = edits + 1,"
        " error = %s, simplified = %s, rejected_call = '', rejected_since = null where id = %s"
        " returning edits",
        [entry.edits, digest, error, bool(error), entry.id],
    )
    row = await cursor.fetchone()
    return row is None or row["edits"] == entry.edits + 1


async def forget(connection: Async, entry: Entry) -> Entry:
    """The message was deleted there: it is to be sent again."""
    cursor = connection.cursor(row_factory=class_row(Entry))
    await cursor.execute(
        "update outbox set state = 'waiting', ref = null, digest = '', first_claimed_at = null,"
        f" claimed_until = null where id = %s returning {COLUMNS}",
        [entry.id],
    )
    return await cursor.fetchone() or entry


async def _read(connection: Async, where: str, values: list[Any]) -> list[Entry]:
    cursor = connection.cursor(row_factory=class_row(Entry))
    await cursor.execute(f"select {COLUMNS} from outbox {where}", values)
    return await cursor.fetchall()

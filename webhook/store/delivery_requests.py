"""What people requested on the pages of the deliveries: to process some once more, or that GitHub
sends one again. A worker does it (`webhook.engine.delivery_requests`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from webhook.store import schedule
from webhook.store.database import Async, Sync
from webhook.store.schedule import Key, Task

Kind = Literal["replay", "redeliver"]
State = Literal["waiting", "running", "done", "cancelled", "failed"]
OPEN: tuple[State, ...] = ("waiting", "running")
_TASKS: Mapping[Kind, Task] = {"replay": "replay", "redeliver": "redeliver"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequest:
    """`key`: the same each time that one form is sent. `guid`, `repo_id`, `repo`: of one delivery;
    "" and 0 of all that match a `filter`. `deliveries`: to process again, the oldest first.
    `arrivals`: how often GitHub had sent it before."""

    key: str
    kind: Kind
    login: str
    user_id: int
    guid: str = ""
    repo_id: int = 0
    repo: str = ""
    filter: Mapping[str, str] = field(default_factory=dict)
    deliveries: Sequence[int] = ()
    arrivals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRequest:
    """`count`: of the deliveries to process again, of which `position` were taken, and `skipped` of
    these were being processed just then. `results`: how many ended how, once it is over."""

    id: int
    at: datetime
    kind: Kind
    login: str
    user_id: int
    guid: str
    repo_id: int
    repo: str
    filter: dict[str, str]
    count: int
    position: int
    skipped: int
    arrivals: int
    state: State
    message: str
    results: dict[str, int]
    ended_at: datetime | None

    @property
    def open(self) -> bool:
        return self.state in OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    guid: str
    event: str
    reason: str
    repo_id: int | None


_COLUMNS = (
    "id, at, kind, login, user_id, guid, repo_id, repo, filter, cardinality(deliveries) as count,"
    " position, skipped, arrivals, state, message, results, ended_at"
)
_SELECT = f"select {_COLUMNS} from delivery_requests"
_OPEN = "state in ('waiting', 'running')"


def add(connection: Sync, request: NewRequest) -> tuple[int, bool]:
    """In a transaction: its id, and whether it is new. A worker does it then."""
    row = connection.execute(
        "insert into delivery_requests"
        " (key, kind, login, user_id, guid, repo_id, repo, filter, deliveries, arrivals)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (key) do nothing"
        " returning id",
        [
            request.key,
            request.kind,
            request.login,
            request.user_id,
            request.guid,
            request.repo_id,
            request.repo,
            Jsonb(dict(request.filter)),
            list(request.deliveries),
            request.arrivals,
        ],
    ).fetchone()
    if row is not None:
        schedule.request_sync(connection, [Key(_TASKS[request.kind], row["id"])])
        return row["id"], True
    known = connection.execute(
        "select id from delivery_requests where key = %s", [request.key]
    ).fetchone()
    assert known is not None
    return known["id"], False


def read_sync(connection: Sync, request_id: int) -> DeliveryRequest | None:
    cursor = connection.cursor(row_factory=class_row(DeliveryRequest))
    return cursor.execute(f"{_SELECT} where id = %s", [request_id]).fetchone()


def of_guid(connection: Sync, guid: str, limit: int) -> list[DeliveryRequest]:
    """The newest first, of one delivery alone."""
    cursor = connection.cursor(row_factory=class_row(DeliveryRequest))
    query = f"{_SELECT} where guid = %s and guid <> '' order by id desc limit %s"
    return cursor.execute(query, [guid, limit]).fetchall()


def newest_of(connection: Sync, guids: Sequence[str]) -> dict[str, DeliveryRequest]:
    """Of each of these deliveries alone."""
    cursor = connection.cursor(row_factory=class_row(DeliveryRequest))
    cursor.execute(
        f"select newest.* from unnest(%s::text[]) as given (guid) cross join lateral ({_SELECT}"
        " where guid = given.guid and guid <> '' order by id desc limit 1) newest",
        [list(guids)],
    )
    return {one.guid: one for one in cursor}


def of_many(connection: Sync, user_id: int | None, limit: int) -> list[DeliveryRequest]:
    """The newest first, of what matched a filter: that person's, or everybody's."""
    cursor = connection.cursor(row_factory=class_row(DeliveryRequest))
    if user_id is None:
        query, values = f"{_SELECT} where guid = '' order by id desc limit %s", [limit]
    else:
        query = f"{_SELECT} where guid = '' and user_id = %s order by id desc limit %s"
        values = [user_id, limit]
    return cursor.execute(query, values).fetchall()


def cancel(connection: Sync, request_id: int, message: str) -> bool:
    """Whether it was not over: what it has begun goes on."""
    cursor = connection.execute(
        f"update delivery_requests set state = 'cancelled', message = %s where id = %s and {_OPEN}",
        [message, request_id],
    )
    if cursor.rowcount:
        schedule.request_sync(connection, [Key("replay", request_id)])
    return cursor.rowcount == 1


def failures(connection: Sync, request_id: int, limit: int) -> list[Failure]:
    """Of what it processed again, what could not be."""
    cursor = connection.cursor(row_factory=class_row(Failure))
    cursor.execute(
        "select guid, event, reason, repo_id from deliveries where outcome = 'failed' and id in ("
        " select unnest(deliveries[1:position]) from delivery_requests where id = %s"
        ") order by id limit %s",
        [request_id, limit],
    )
    return cursor.fetchall()


_RESULTS = (
    "select coalesce(outcome, 'waiting') as outcome, count(*) as count from deliveries"
    " where id in (select unnest(deliveries[1:position]) from delivery_requests where id = %s)"
    " group by 1"
)


def results(connection: Sync, request_id: int) -> dict[str, int]:
    """By outcome, of what was taken."""
    rows = connection.execute(_RESULTS, [request_id]).fetchall()
    return {row["outcome"]: row["count"] for row in rows}


# -- the worker's ----------------------------------------------------------------------------


async def begin(connection: Async, request_id: int) -> DeliveryRequest | None:
    """In a transaction: locked for it; None: it is gone."""
    cursor = connection.cursor(row_factory=class_row(DeliveryRequest))
    await cursor.execute(f"{_SELECT} where id = %s for update", [request_id])
    return await cursor.fetchone()


async def next_batch(connection: Async, request_id: int, limit: int) -> list[int]:
    """The deliveries to process again now."""
    cursor = await connection.execute(
        "select deliveries[position + 1:position + %s] as ids from delivery_requests where id = %s",
        [limit, request_id],
    )
    row = await cursor.fetchone()
    return list(row["ids"]) if row else []


async def taken(connection: Async, request_id: int, count: int, skipped: int) -> None:
    await connection.execute(
        "update delivery_requests set state = 'running', position = position + %s,"
        " skipped = skipped + %s where id = %s",
        [count, skipped, request_id],
    )


async def unprocessed(connection: Async, request_id: int, limit: int) -> int:
    """How many of the last that were taken still wait."""
    cursor = await connection.execute(
        "select count(*) as found from deliveries where outcome is null and id in ("
        " select unnest(deliveries[greatest(position - %s + 1, 1):position])"
        " from delivery_requests where id = %s)",
        [limit, request_id],
    )
    row = await cursor.fetchone()
    return row["found"] if row else 0


async def end(connection: Async, request_id: int, state: State, message: str = "") -> None:
    """With how many ended how. A message that is there stays."""
    await connection.execute(
        f"with counted as ({_RESULTS})"
        " update delivery_requests set state = %s, ended_at = now(),"
        " message = coalesce(nullif(%s, ''), message),"
        " results = coalesce((select jsonb_object_agg(outcome, count) from counted), '{}')"
        " where id = %s and ended_at is null",
        [request_id, state, message, request_id],
    )


async def set_running(connection: Async, request_id: int) -> None:
    """A call to GitHub is begun, whose end is not known yet."""
    await connection.execute(
        "update delivery_requests set state = 'running' where id = %s", [request_id]
    )

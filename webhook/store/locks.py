"""Locks: a row for each, which changes once, when the lock ends; so the table is their history.

Of each scope (a repository or all, and an environment or a pattern) one holds at most. An expired
one is ended when another takes its scope; until then whoever reads it looks at the time.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

from psycopg.rows import DictRow

from webhook.deployments.locks import Lets, Lock, covers
from webhook.store.audit import Source
from webhook.store.database import Async, Sync

Ending = Literal["unlocked", "taken over", "replaced", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLock:
    """`repo_id` 0: of all repositories. `environment`: a name or a pattern."""

    repo_id: int
    repo: str
    environment: str
    owner: str
    reason: str
    lets: tuple[Lets, ...]
    source: Source
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRow(Lock):
    """`repo`: the name that is its repository's now. `ended_at`: None as long as nobody ended it;
    it may have expired. `ended_by`: "" where nobody did."""

    source: Source
    ended_at: datetime | None
    ended_by: str
    ended_how: Ending | Literal[""]

    def holds(self, now: datetime) -> bool:
        return self.ended_at is None and (self.expires_at is None or self.expires_at > now)


_NAMES = [field.name for field in fields(LockRow)]
_NAME_NOW = (
    "coalesce((select full_name from repository_names where repository_names.repo_id ="
    " locks.repo_id order by seen_at desc, recorded_at desc limit 1), repo) as repo"
)
_COLUMNS = ", ".join(_NAME_NOW if name == "repo" else name for name in _NAMES)
_SELECT = f"select {_COLUMNS} from locks"
_HOLDS = "ended_at is null and (expires_at is null or expires_at > %s)"


def _row(values: DictRow) -> LockRow:
    return LockRow(**{**values, "lets": tuple(values["lets"])})


async def add(connection: Async, lock: NewLock) -> LockRow | None:
    """None where the scope has one already, maybe since a moment ago."""
    cursor = await connection.execute(
        "insert into locks (repo_id, repo, environment, owner, reason, lets, source, created_at,"
        " expires_at) values (%s, %s, lower(%s), %s, %s, %s, %s, %s, %s)"
        " on conflict (repo_id, environment) where ended_at is null do nothing"
        f" returning {', '.join(_NAMES)}",
        [
            lock.repo_id,
            lock.repo,
            lock.environment,
            lock.owner,
            lock.reason,
            list(lock.lets),
            lock.source,
            lock.created_at,
            lock.expires_at,
        ],
    )
    values = await cursor.fetchone()
    return _row(values) if values else None


async def end(connection: Async, lock_id: int, how: Ending, by: str, at: datetime) -> bool:
    """Whether this ended it."""
    cursor = await connection.execute(
        "update locks set ended_at = %s, ended_by = %s, ended_how = %s"
        " where id = %s and ended_at is null",
        [at, by, how, lock_id],
    )
    return cursor.rowcount == 1


async def in_scope(connection: Async, repo_id: int, environment: str) -> LockRow | None:
    """The one of exactly that scope, locked until the transaction ends; it may have expired."""
    return await _one(
        connection,
        "where repo_id = %s and environment = lower(%s) and ended_at is null for update of locks",
        [repo_id, environment],
    )


async def read(connection: Async, lock_id: int) -> LockRow | None:
    return await _one(connection, "where id = %s", [lock_id])


async def active(connection: Async, now: datetime) -> list[LockRow]:
    """All that hold, the oldest first."""
    return await _all(connection, f"where {_HOLDS} order by id", [now])


async def active_of(connection: Async, repo_id: int, now: datetime) -> list[LockRow]:
    """Those that hold and concern the repository, those of everything among them."""
    where = f"where repo_id in (0, %s) and {_HOLDS} order by id"
    return await _all(connection, where, [repo_id, now])


async def active_in(
    connection: Async, repo_id: int, environment: str, now: datetime
) -> list[LockRow]:
    """Those that hold a deployment to that environment."""
    found = await active_of(connection, repo_id, now)
    return [lock for lock in found if covers(lock, repo_id, environment)]


def active_in_sync(
    connection: Sync, repo_id: int, environment: str, now: datetime
) -> list[LockRow]:
    """As `active_in`."""
    query = f"{_SELECT} where repo_id in (0, %s) and {_HOLDS} order by id"
    found = map(_row, connection.execute(query, [repo_id, now]))
    return [lock for lock in found if covers(lock, repo_id, environment)]


async def history(connection: Async, limit: int) -> list[LockRow]:
    """The newest first, whether or not they have ended."""
    return await _all(connection, "order by id desc limit %s", [limit])


async def held_by(connection: Async, lock: Lock) -> list[int]:
    """Deployments in its scope that have not started, the newest first; also those whose gates are
    being asked at this moment, which may not be recorded as waiting yet."""
    here = "followed and repo_id = %s" if lock.repo_id else "ended_at is null"
    cursor = await connection.execute(
        f"select id, repo_id, environment from deployments where {here} and ended_at is null"
        " and requested_at is not null and started_at is null and gated order by id desc",
        [lock.repo_id] if lock.repo_id else [],
    )
    return [row["id"] async for row in cursor if covers(lock, row["repo_id"], row["environment"])]


async def _one(connection: Async, where: str, values: Iterable[object]) -> LockRow | None:
    found = await _all(connection, where, values)
    return found[0] if found else None


async def _all(connection: Async, where: str, values: Iterable[object]) -> list[LockRow]:
    cursor = await connection.execute(f"{_SELECT} {where}", list(values))
    return [_row(row) async for row in cursor]

"""Connections to PostgreSQL: a pool for the web process, one for the worker.

Connections are in autocommit mode; a transaction is `with connection.transaction():`.
"""

from typing import Any, TypeAlias

from psycopg import AsyncConnection, Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from webhook.store.connection import BoundedAsyncConnection, BoundedConnection, Deadlines
from webhook.timing import DEFAULT_TIMING, Timing

Sync: TypeAlias = Connection[DictRow]
Async: TypeAlias = AsyncConnection[DictRow]
SyncPool: TypeAlias = ConnectionPool[BoundedConnection]
AsyncPool: TypeAlias = AsyncConnectionPool[BoundedAsyncConnection]

# A server that disappears is noticed in seconds rather than minutes.
_LIVENESS = {
    "connect_timeout": 4,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def _liveness(timing: Timing) -> dict[str, Any]:
    deadlines = Deadlines(
        exchange=timing.exchange_within.total_seconds(),
        check=timing.connection_check_within.total_seconds(),
        trusted=timing.connection_trusted_for.total_seconds(),
        listen=timing.listen_check_interval.total_seconds(),
    )
    return {**_LIVENESS, "deadlines": deadlines}


def _connection(timing: Timing, *, read_only: bool = False) -> dict[str, Any]:
    """Locks of rows are short; waiting for one fails rather than hangs. `read_only`: PostgreSQL
    refuses to write anything."""
    statement, lock = (
        int(span.total_seconds() * 1000) for span in (timing.statement_within, timing.lock_within)
    )
    return {
        **_liveness(timing),
        "autocommit": True,
        "row_factory": dict_row,
        # What is read is found by many short look-ups: compiling a statement takes longer.
        "options": f"-c statement_timeout={statement} -c lock_timeout={lock} -c timezone=UTC"
        " -c jit=off" + (" -c default_transaction_read_only=on" if read_only else ""),
    }


def connect(url: str, timing: Timing = DEFAULT_TIMING) -> BoundedConnection:
    """One connection; `psycopg.OperationalError` if the store does not respond."""
    return BoundedConnection.connect(url, **_connection(timing))


async def connect_async(url: str, timing: Timing = DEFAULT_TIMING) -> BoundedAsyncConnection:
    return await BoundedAsyncConnection.connect(url, **_connection(timing))


def sync_pool(url: str, size: int, timing: Timing = DEFAULT_TIMING) -> SyncPool:
    return ConnectionPool(
        url,
        connection_class=BoundedConnection,
        kwargs=_connection(timing),
        min_size=0,
        max_size=size,
        timeout=timing.connection_within.total_seconds(),
        check=BoundedConnection.check,
        open=True,
    )


def async_pool(
    url: str, size: int, timing: Timing = DEFAULT_TIMING, *, read_only: bool = False
) -> AsyncPool:
    return AsyncConnectionPool(
        url,
        connection_class=BoundedAsyncConnection,
        kwargs=_connection(timing, read_only=read_only),
        min_size=1,
        max_size=size,
        timeout=timing.connection_within.total_seconds(),
        check=BoundedAsyncConnection.check,
        open=False,
    )

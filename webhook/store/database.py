"""Connections to PostgreSQL: a pool for the web process, one for the worker.

Connections are in autocommit mode; a transaction is `with connection.transaction():`.
"""

from typing import Any, TypeAlias

from psycopg import AsyncConnection, Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from webhook.timing import DEFAULT_TIMING, Timing

Sync: TypeAlias = Connection[DictRow]
Async: TypeAlias = AsyncConnection[DictRow]
SyncPool: TypeAlias = ConnectionPool[Sync]
AsyncPool: TypeAlias = AsyncConnectionPool[Async]

# A server that disappears is noticed in seconds rather than minutes.
LIVENESS = {
    "connect_timeout": 4,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def _connection(timing: Timing) -> dict[str, Any]:
    """Locks of rows are short; waiting for one fails rather than hangs."""
    statement, lock = (
        int(span.total_seconds() * 1000) for span in (timing.statement_within, timing.lock_within)
    )
    return {
        **LIVENESS,
        "autocommit": True,
        "row_factory": dict_row,
        "options": f"-c statement_timeout={statement} -c lock_timeout={lock} -c timezone=UTC",
    }


def connect(url: str, timing: Timing = DEFAULT_TIMING) -> Sync:
    """One connection; `psycopg.OperationalError` if the store does not respond."""
    return Connection[DictRow].connect(url, **_connection(timing))


def sync_pool(url: str, size: int, timing: Timing = DEFAULT_TIMING) -> SyncPool:
    return ConnectionPool(
        url,
        kwargs=_connection(timing),
        min_size=0,
        max_size=size,
        timeout=timing.connection_within.total_seconds(),
        check=ConnectionPool.check_connection,
        open=True,
    )


def async_pool(url: str, size: int, timing: Timing = DEFAULT_TIMING) -> AsyncPool:
    return AsyncConnectionPool(
        url,
        kwargs=_connection(timing),
        min_size=1,
        max_size=size,
        timeout=timing.connection_within.total_seconds(),
        check=AsyncConnectionPool.check_connection,
        open=False,
    )

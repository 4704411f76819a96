"""Connections to PostgreSQL: a pool for the web process, one for the worker.

Connections are in autocommit mode; a transaction is `with connection.transaction():`.
"""

from datetime import timedelta
from typing import TypeAlias

from psycopg import AsyncConnection, Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from webhook.timing import DEFAULT_TIMING

Sync: TypeAlias = Connection[DictRow]
Async: TypeAlias = AsyncConnection[DictRow]
SyncPool: TypeAlias = ConnectionPool[Sync]
AsyncPool: TypeAlias = AsyncConnectionPool[Async]

# So that a server which is gone without a word is noticed in seconds rather than minutes.
LIVENESS = {
    "connect_timeout": 4,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_CONNECTION = {
    **LIVENESS,
    "autocommit": True,
    "row_factory": dict_row,
    # Nobody holds a row's lock for long; whoever waits for one fails rather than hangs.
    "options": "-c statement_timeout=30s -c lock_timeout=3s -c timezone=UTC",
}


def connect(url: str) -> Sync:
    """One connection; `psycopg.OperationalError` where the store does not answer."""
    return Connection[DictRow].connect(url, **_CONNECTION)  # type: ignore[arg-type]


def sync_pool(
    url: str, size: int, within: timedelta = DEFAULT_TIMING.connection_within
) -> SyncPool:
    return ConnectionPool(
        url,
        kwargs=_CONNECTION,
        min_size=0,
        max_size=size,
        timeout=within.total_seconds(),
        check=ConnectionPool.check_connection,
        open=True,
    )


def async_pool(
    url: str, size: int, within: timedelta = DEFAULT_TIMING.connection_within
) -> AsyncPool:
    return AsyncConnectionPool(
        url,
        kwargs=_CONNECTION,
        min_size=1,
        max_size=size,
        timeout=within.total_seconds(),
        check=AsyncConnectionPool.check_connection,
        open=False,
    )

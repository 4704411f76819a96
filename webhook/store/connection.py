"""Connections on which no exchange waits for ever. A proxy between here and PostgreSQL may answer
TCP while the server behind it is gone: then neither keep-alives nor TCP's time-outs notice it.

Source: psycopg 3.3, `Connection.wait`, through which each exchange with the server goes. One that
listens is checked whenever notifications pause (webhook.store.schedule).
"""

import select
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Self, TypeVar

from psycopg import AsyncConnection, Connection, Notify, OperationalError
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from psycopg.rows import DictRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool

T = TypeVar("T")
# Seconds between two wake-ups of a thread that waits, for Ctrl-C. A task needs none.
_INTERVAL = 0.1
_NO_INTERVAL = 3600.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """In seconds: of a statement, of the check of a connection that was idle, how lately it was
    used where it needs no check, and how long is listened for notifications before a check."""

    exchange: float
    check: float
    trusted: float
    listen: float


class _Bounded:
    """What both kinds share."""

    deadlines: Deadlines
    _within: float
    _used_at: float
    pgconn: Any

    def bound(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self._within = deadlines.exchange
        self._used_at = monotonic()

    @property
    def _is_trusted(self) -> bool:
        """It has just worked, and PostgreSQL has sent nothing since, as it does when it ends."""
        used_lately = monotonic() - self._used_at < self.deadlines.trusted
        return used_lately and not _is_readable(self.pgconn.socket)

    @contextmanager
    def checked(self) -> Iterator[None]:
        """What is exchanged in the block only checks that the other side is there."""
        self._within = self.deadlines.check
        try:
            yield
        finally:
            self._within = self.deadlines.exchange

    def _given_up(self) -> OperationalError:
        """Closed, so that a pool replaces it. What was sent may have been done."""
        self.pgconn.finish()
        return OperationalError(f"PostgreSQL has not responded for {self._within:g} s")


class BoundedConnection(_Bounded, Connection[DictRow]):
    @classmethod
    def connect(cls, conninfo: str = "", *, deadlines: Deadlines, **given: Any) -> Self:  # type: ignore[override]
        connection = super().connect(conninfo, **given)
        connection.bound(deadlines)
        return connection

    def wait(self, gen: PQGen[T], interval: float = _INTERVAL, timeout: float | None = None) -> T:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            result = super().wait(gen, interval, self._within)
        except _WaitTimeout:
            raise self._given_up() from None
        self._used_at = monotonic()
        return result

    def check(self) -> None:
        if self._is_trusted:
            return
        with self.checked():
            ConnectionPool.check_connection(self)


class BoundedAsyncConnection(_Bounded, AsyncConnection[DictRow]):
    @classmethod
    async def connect(cls, conninfo: str = "", *, deadlines: Deadlines, **given: Any) -> Self:  # type: ignore[override]
        connection = await super().connect(conninfo, **given)
        connection.bound(deadlines)
        return connection

    async def wait(
        self,
        gen: PQGen[T],
        interval: float = _NO_INTERVAL,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's
    ) -> T:
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        try:
            result = await super().wait(gen, interval, self._within)
        except _WaitTimeout:
            raise self._given_up() from None
        self._used_at = monotonic()
        return result

    async def check(self) -> None:
        if self._is_trusted:
            return
        with self.checked():
            await AsyncConnectionPool.check_connection(self)

    async def notifies(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's
        stop_after: int | None = None,
    ) -> AsyncGenerator[Notify]:
        """Pauses after `Deadlines.listen`, for whoever listens to check the connection."""
        within = self.deadlines.listen if timeout is None else timeout
        async for notification in super().notifies(timeout=within, stop_after=stop_after):
            yield notification


def _is_readable(socket: int) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))

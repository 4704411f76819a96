"""Commits deliveries, and what is to be done with them: all that wait at once in one statement.

On the event loop that serves the requests: whoever waits for a commit holds no thread, and all
deliveries of a batch share one (an fsync). `script/bench` compares it with a commit for each.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import psycopg
import structlog

from webhook.errors import STORE_UNAVAILABLE, UnknownOutcome
from webhook.store import database, deliveries, recovery
from webhook.store.connection import BoundedAsyncConnection
from webhook.store.deliveries import Received
from webhook.timing import DEFAULT_TIMING, Timing

log = structlog.get_logger()

# Of a batch; one that is as large is stored before the next begins.
MOST_DELIVERIES = 128
MOST_BYTES = 4 * 1024 * 1024
# Seconds. Where several wait already, more are about to: a batch costs as much as many deliveries.
GATHERED_FOR = 0.001

_Waiting = tuple[Received, "asyncio.Future[None]"]


class Inbox:
    """Of the event loop on which it is first used."""

    def __init__(self, url: str, timing: Timing = DEFAULT_TIMING) -> None:
        self._url = url
        # So that a second try fits into the time that a request waits.
        self._timing = replace(timing, exchange_within=timing.connection_within / 2)
        self._waiting: deque[_Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._doubt = ""
        self._connection: BoundedAsyncConnection | None = None

    def put(self, received: Received) -> "asyncio.Future[None]":
        """Done when it is on disk; fails with `UnknownOutcome`. Whoever cancels it before it is
        being stored takes it back."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((received, future))
        if self._writing is None:
            self._writing = loop.create_task(self._write_all())
        return future

    def doubt(self, reason: str) -> None:
        """A delivery was not stored: the next that is stored says so, and GitHub's list is compared
        for it some time later."""
        self._doubt = reason

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                if len(self._waiting) > 1:
                    await asyncio.sleep(GATHERED_FOR)
                if batch := self._next_batch():
                    await self._write(batch)
        finally:
            self._writing = None

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < MOST_DELIVERIES and size < MOST_BYTES:
            received, future = self._waiting.popleft()
            if future.done():
                self.doubt("a delivery was not stored in time")
            else:
                batch.append((received, future))
                size += len(received.body)
        return batch

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        unique = {(received.hook_id, received.guid): received for received, _ in batch}
        error: UnknownOutcome | None = None
        try:
            # In an order, because another process may have the same ones.
            await self._store([unique[key] for key in sorted(unique)])
        except Exception as failure:  # noqa: BLE001 - each request that waits gets it
            log.error("deliveries could not be stored", count=len(batch), error=str(failure))
            await self._drop_connection()
            self.doubt("the store did not take a delivery")
            error = UnknownOutcome(str(failure), code=STORE_UNAVAILABLE)
        for _, future in batch:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        if self._doubt and error is None:
            await self._record_doubt()

    async def _record_doubt(self) -> None:
        reason, self._doubt = self._doubt, ""
        try:
            assert self._connection is not None
            after = self._timing.deliveries_compared_after_doubt
            await recovery.doubt(self._connection, reason, after)
        except Exception as failure:  # noqa: BLE001 - the next one that is stored says it
            log.warning("a doubt could not be recorded", error=str(failure))
            self._doubt = reason
            await self._drop_connection()

    async def _store(self, batch: Sequence[Received]) -> None:
        """A connection that broke since the last batch is replaced once; storing is idempotent."""
        if self._connection is not None:
            try:
                return await deliveries.insert(self._connection, batch)
            except psycopg.Error:
                await self._drop_connection()
        self._connection = await database.connect_async(self._url, self._timing)
        return await deliveries.insert(self._connection, batch)

    async def _drop_connection(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

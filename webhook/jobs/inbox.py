"""Commits deliveries together with their jobs: all that wait at a moment in one transaction.

One writer thread a process; a request puts its delivery and waits, so that all deliveries of a
batch share one commit (an fsync). `script/bench` compares it with a commit for each.
"""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import psycopg
import structlog
from procrastinate.exceptions import ConnectorException

from webhook.errors import STORE_UNAVAILABLE, UnknownOutcome
from webhook.jobs.queue import Queue
from webhook.store import database, deliveries
from webhook.store.connection import BoundedConnection
from webhook.store.deliveries import Received
from webhook.timing import DEFAULT_TIMING, Timing

log = structlog.get_logger()

# Deliveries in one transaction; with bodies of 25 MB at most, memory stays in bounds.
LARGEST_BATCH = 64

_Waiting = tuple[Received, "Future[None]"]


class Inbox:
    def __init__(self, url: str, timing: Timing = DEFAULT_TIMING) -> None:
        self._url = url
        # So that a second try fits into the time that a request waits.
        self._timing = replace(timing, exchange_within=timing.connection_within / 2)
        self._jobs = Queue()
        self._waiting: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._connection: BoundedConnection | None = None
        threading.Thread(target=self._write_forever, name="inbox", daemon=True).start()

    def put(self, received: Received) -> "Future[None]":
        """Done when it is on disk; fails with `UnknownOutcome`."""
        future: Future[None] = Future()
        self._waiting.put((received, future))
        return future

    def _write_forever(self) -> None:
        while True:
            batch = self._next_batch()
            try:
                self._write([received for received, _ in batch])
            except Exception as error:  # noqa: BLE001 - each request that waits gets it
                log.error("deliveries could not be stored", count=len(batch), error=str(error))
                self._drop_connection()
                for _, future in batch:
                    future.set_exception(UnknownOutcome(str(error), code=STORE_UNAVAILABLE))
            else:
                for _, future in batch:
                    future.set_result(None)

    def _next_batch(self) -> list[_Waiting]:
        batch = [self._waiting.get()]
        while len(batch) < LARGEST_BATCH:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return batch

    def _write(self, batch: Sequence[Received]) -> None:
        """A connection that broke since the last batch is replaced once; storing is idempotent."""
        if self._connection is not None:
            try:
                return self._commit(self._connection, batch)
            except (psycopg.Error, ConnectorException):
                self._drop_connection()
        self._connection = database.connect(self._url, self._timing)
        return self._commit(self._connection, batch)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, connection: BoundedConnection, batch: Sequence[Received]) -> None:
        unique = {(received.hook_id, received.guid): received for received in batch}
        with connection.transaction():
            to_process = deliveries.insert(connection, list(unique.values()))
            if to_process:
                self._jobs.receive(connection, to_process)

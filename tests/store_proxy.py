"""A proxy before the store, as a load balancer or a NAT is: it can lose what is behind it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit

SOCKET = ".s.PGSQL.5432"


class StoreProxy:
    """`url` is the store's through it."""

    def __init__(self, store_url: str) -> None:
        parts = urlsplit(store_url)
        self._socket = f"{parse_qs(parts.query)['host'][0]}/{SOCKET}"
        self._store = parts
        self._loop = asyncio.new_event_loop()
        self._lost = 0
        self._port = 0
        self._accepted = 0

    @property
    def url(self) -> str:
        user = f"{self._store.username}@" if self._store.username else ""
        return f"postgresql://{user}127.0.0.1:{self._port}{self._store.path}"

    @contextmanager
    def running(self) -> Iterator["StoreProxy"]:
        began = threading.Event()
        stop = asyncio.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
            self._port = server.sockets[0].getsockname()[1]
            began.set()
            async with server:
                await stop.wait()
            # One that is left behind is logged with its traceback whenever garbage is collected.
            # Before Python 3.11.8 that breaks an `ast.parse` of that moment, as of a Flask route:
            # https://github.com/python/cpython/issues/106905
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        def run() -> None:
            self._loop.run_until_complete(serve())
            self._loop.close()

        thread = threading.Thread(target=run)
        thread.start()
        began.wait()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(stop.set)
            thread.join()

    def lose(self) -> None:
        """What is connected now gets no response any more, though TCP acknowledges all that it
        sends. New connections work."""
        self._lost = self._accepted

    async def connected_again(self) -> None:
        """Since what was there is lost."""
        async with asyncio.timeout(10):
            while self._accepted == self._lost:
                await asyncio.sleep(0.01)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self._accepted = self._accepted + 1
        to_store = await asyncio.open_unix_connection(self._socket)
        with suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(
                self._copy(number, reader, to_store[1]), self._copy(number, to_store[0], writer)
            )
        writer.close()
        to_store[1].close()

    async def _copy(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            if number > self._lost:
                writer.write(data)
        writer.close()

"""Signed deliveries over a few connections that are kept open, as cheaply as Python can.

An aiohttp client would cost the machine more for each delivery than the relay's web process.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from sandbox.github.webhooks import encoded

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Headers = Callable[[str, bytes], dict[str, str]]


class WebhookSender:
    """`headers` are those of an event's body. Errors: AssertionError where the relay refuses it."""

    def __init__(self, headers: Headers) -> None:
        self.port = 0
        self._headers = headers
        self._idle: list[_Connection] = []
        self._running: set[asyncio.Task[None]] = set()

    def send(self, event: str, body: Mapping[str, object]) -> None:
        """In the background."""
        task = asyncio.get_running_loop().create_task(self._send(event, encoded(body)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        await asyncio.gather(*self._running)
        while self._idle:
            self._idle.pop()[1].close()

    async def _send(self, event: str, payload: bytes) -> None:
        fields = {"Host": "x", "Content-Length": len(payload), **self._headers(event, payload)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        request = f"POST /webhook HTTP/1.1\r\n{lines}\r\n".encode() + payload
        while self._idle:
            connection = self._idle.pop()
            with suppress(ConnectionError, asyncio.IncompleteReadError):  # closed, as it was idle
                await self._exchange(connection, request)
                return
        await self._exchange(await asyncio.open_connection("127.0.0.1", self.port), request)

    async def _exchange(self, connection: _Connection, request: bytes) -> None:
        reader, writer = connection
        writer.write(request)
        response = await reader.readuntil(b"\r\n\r\n")
        assert response.split(b" ", 2)[1] == b"202", response
        await reader.readexactly(length_of(response))
        self._idle.append(connection)


def length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise AssertionError("a response without a length")

"""Reads the bodies of requests whose sender is not known yet, within bounds of time, number and
memory, on the event loop: none of them holds a thread until it is complete.

- A body that is not complete in time is given up (408).
- So many are read at once; one more ends the oldest (503). A real delivery arrives within
  milliseconds, so those who send slowly end each other.
- What is larger than `small` waits until its whole length fits into the memory for large bodies,
  and keeps it until the response.

Source: github.com/emmett-framework/granian, "RSGI specification".
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from webhook.errors import HttpError

T = TypeVar("T")
_SLOW = "send it again, faster; GitHub itself waits for ten seconds"
_BUSY = "send it again in a few seconds"


class Incoming(Protocol):
    """The body of a request, as granian hands it over."""

    async def __call__(self) -> bytes: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class BodyBounds:
    """Of one process; sizes are in bytes, times in seconds."""

    most: int = 512
    small: int = 32 * 1024
    memory: int = 64 * 1024 * 1024
    within: float = 10.0
    # A body that is not wanted is read for so long, since a client that is still sending when the
    # connection closes may never see the response.
    discarded_within: float = 2.0


DEFAULT_BOUNDS = BodyBounds()


class Bodies:
    """Those of one process."""

    def __init__(self, bounds: BodyBounds) -> None:
        self._bounds = bounds
        self._memory = _Memory(bounds.memory)
        self._readers: dict[asyncio.Timeout, None] = {}
        self._ended: set[asyncio.Timeout] = set()

    @property
    def small(self) -> int:
        return self._bounds.small

    @asynccontextmanager
    async def read(
        self, incoming: Incoming, length: int | None, largest: int
    ) -> AsyncIterator[bytes]:
        """The body, cut off one byte after `largest`; its memory counts until the block ends.
        `length` is the announced one. Errors: `HttpError`."""
        with self._memory.share() as share:
            body = await self._within(
                self._bounds.within, self._collect(incoming, length, largest, share)
            )
            if length is not None and len(body) < length:
                raise _incomplete()
            yield body

    async def read_small(self, incoming: Incoming, length: int) -> bytes:
        """A body of at most `small` bytes. Errors: `HttpError`."""
        try:
            body = await self._within(self._bounds.within, incoming())
        except RuntimeError:  # granian's, where the client is gone
            raise _incomplete() from None
        if len(body) < length:
            raise _incomplete()
        return body

    async def _collect(
        self, incoming: Incoming, length: int | None, largest: int, share: "_Share"
    ) -> bytes:
        if length is not None:
            await share.take(length)
        chunks, size = [], 0
        async for chunk in incoming:
            chunks.append(chunk)
            size += len(chunk)
            if size > self._bounds.small and not share.size:
                await share.take(largest + 1)
            if size > largest:
                break
        return b"".join(chunks)[: largest + 1]

    async def discard(self, incoming: Incoming) -> None:
        async def read() -> None:
            async for _ in incoming:
                pass

        with suppress(HttpError, RuntimeError):
            await self._within(self._bounds.discarded_within, read())

    async def _within(self, seconds: float, reading: Awaitable[T]) -> T:
        if len(self._readers) >= self._bounds.most:
            self._end_oldest()
        timeout = asyncio.timeout(seconds)
        try:
            async with timeout:
                self._readers[timeout] = None
                return await reading
        except TimeoutError:
            if timeout in self._ended:
                message = "too many bodies arrive at once, and this one slowly"
                raise HttpError(503, message, _BUSY) from None
            raise HttpError(408, "the body did not arrive in time", _SLOW) from None
        finally:
            self._readers.pop(timeout, None)
            self._ended.discard(timeout)

    def _end_oldest(self) -> None:
        oldest = next(iter(self._readers))
        del self._readers[oldest]
        self._ended.add(oldest)
        with suppress(RuntimeError):  # it ends already
            oldest.reschedule(0)


def _incomplete() -> HttpError:
    return HttpError(400, "the connection ended before the body was complete", _BUSY)


class _Memory:
    """Bytes that are handed out in the order in which they were requested."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextmanager
    def share(self) -> Iterator["_Share"]:
        share = _Share(self)
        try:
            yield share
        finally:
            self._free += share.size
            self._hand_out()

    async def take(self, size: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free += size
            self._hand_out()
            raise

    def _hand_out(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.done():
                if size > self._free:
                    return
                self._free -= size
                turn.set_result(None)
            self._waiting.popleft()


class _Share:
    """What one body has of the memory."""

    def __init__(self, memory: _Memory) -> None:
        self._memory = memory
        self.size = 0

    async def take(self, size: int) -> None:
        await self._memory.take(size)
        self.size = size

"""Reads the bodies of requests whose sender is not known yet, within bounds of time, number and
memory, on the event loop: none of them holds a thread until it is complete.

- A body that is not complete in time is given up (408).
- So many are read at once; one more ends the oldest (503), which has had `spared_for` by then: a
  burst of real deliveries may be more than the loop can read at once. So many connections there may
  be. What arrives of one larger than `small`, where the memory for these is full, ends the oldest
  of them at once; it keeps it until the response. A real delivery arrives within milliseconds, so
  those who send slowly end each other, and nobody waits for them.

Source: github.com/emmett-framework/granian, "RSGI specification".
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
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
    spared_for: float = 3.0
    small: int = 32 * 1024
    memory: int = 64 * 1024 * 1024
    within: float = 10.0
    # A body that is not wanted is read for so long, since a client that is still sending when the
    # connection closes may never see the response.
    discarded_within: float = 2.0


DEFAULT_BOUNDS = BodyBounds()


@dataclass(slots=True, eq=False)
class _Body:
    """`held`: bytes that are there and count. `chunks` are here, since errors keep frames alive.
    `is_hurried`: it ends sooner, for another one."""

    began: float
    held: int = 0
    chunks: list[bytes] = field(default_factory=list)
    is_hurried: bool = False
    is_ended: bool = False
    timeout: asyncio.Timeout | None = None


class Bodies:
    """Those of one process."""

    def __init__(self, bounds: BodyBounds) -> None:
        self._bounds = bounds
        self._free = bounds.memory
        # The oldest first.
        self._arriving: dict[_Body, None] = {}
        self._unhurried: dict[_Body, None] = {}

    @property
    def small(self) -> int:
        return self._bounds.small

    @asynccontextmanager
    async def read(
        self, incoming: Incoming, length: int | None, largest: int
    ) -> AsyncIterator[bytes]:
        """The body, cut off one byte after `largest`; its memory counts until the block ends.
        `length` is the announced one. Errors: `HttpError`."""
        body = _Body(_now())
        try:
            content = await self._within(
                self._bounds.within, self._collect(incoming, largest, body), body
            )
            if length is not None and len(content) < length:
                raise _incomplete()
            yield content
        finally:
            self._drop(body)

    async def read_small(self, incoming: Incoming, length: int) -> bytes:
        """A body of at most `small` bytes. Errors: `HttpError`."""
        try:
            body = await self._within(self._bounds.within, incoming(), _Body(_now()))
        except RuntimeError:  # granian's, where the client is gone
            raise _incomplete() from None
        if len(body) < length:
            raise _incomplete()
        return body

    async def _collect(self, incoming: Incoming, largest: int, body: _Body) -> bytes:
        size = 0
        async for chunk in incoming:
            size += len(chunk)
            self._hold(body, chunk)
            if size > largest or body.is_ended:
                break
        if body.is_ended:
            raise TimeoutError
        content = b"".join(body.chunks)[: largest + 1]
        body.chunks.clear()
        return content

    def _hold(self, body: _Body, chunk: bytes) -> None:
        body.chunks.append(chunk)
        body.held += len(chunk)
        self._free -= len(chunk)
        while self._free < 0 and (oldest := next((b for b in self._arriving if b.held), None)):
            self._end(oldest)

    async def discard(self, incoming: Incoming) -> None:
        async def read() -> None:
            async for _ in incoming:
                pass

        with suppress(HttpError, RuntimeError):
            await self._within(self._bounds.discarded_within, read(), _Body(_now()))

    async def _within(self, seconds: float, reading: Awaitable[T], body: _Body) -> T:
        if len(self._unhurried) >= self._bounds.most:
            self._hurry(next(iter(self._unhurried)))
        body.timeout = asyncio.timeout(seconds)
        try:
            async with body.timeout:
                self._arriving[body] = self._unhurried[body] = None
                return await reading
        except TimeoutError:
            if body.is_ended or body.is_hurried:
                message = "too many bodies arrive at once, and this one slowly"
                raise HttpError(503, message, _BUSY) from None
            raise HttpError(408, "the body did not arrive in time", _SLOW) from None
        finally:
            self._arriving.pop(body, None)
            self._unhurried.pop(body, None)

    def _hurry(self, body: _Body) -> None:
        del self._unhurried[body]
        body.is_hurried = True
        self._end_at(body, max(_now(), body.began + self._bounds.spared_for))

    def _end(self, body: _Body) -> None:
        del self._arriving[body]
        self._drop(body)
        body.is_ended = True
        self._end_at(body, _now())

    def _end_at(self, body: _Body, when: float) -> None:
        assert body.timeout is not None
        with suppress(RuntimeError):  # it ends already
            body.timeout.reschedule(when)

    def _drop(self, body: _Body) -> None:
        self._free += body.held
        body.held = 0
        body.chunks.clear()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _incomplete() -> HttpError:
    return HttpError(400, "the connection ended before the body was complete", _BUSY)

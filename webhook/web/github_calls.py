"""Calls to GitHub that a view waits for: its thread waits, a loop of their own makes them.

The loop begins with the first call of a process, so that what only takes deliveries has none.
Errors: those of what is called, and `UnknownOutcome` where it takes longer than the view may wait.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TypeVar

import aiohttp

from webhook.errors import UnknownOutcome
from webhook.github.client import MOST_CALLS, GitHub
from webhook.sessions import open_session
from webhook.settings import Settings
from webhook.timing import Clock

# Seconds that a person waits for GitHub, of one call and of many.
WITHIN = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outside:
    """`slots`: how many calls may be under way at once; those that come then wait."""

    github: GitHub
    session: aiohttp.ClientSession
    slots: asyncio.Semaphore


class GitHubCalls:
    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._outside: Outside | None = None

    def run(self, call: Callable[[Outside], Awaitable[T]], within: float = WITHIN) -> T:
        """What `call` returns. `within`: seconds."""
        try:
            return self.begin(call, within).result()
        except TimeoutError:
            raise UnknownOutcome(f"GitHub did not respond within {within:g} s") from None
        except CancelledError:
            raise UnknownOutcome("GitHub is not asked any more: the relay stops") from None

    def begin(self, call: Callable[[Outside], Awaitable[T]], within: float) -> "Future[T]":
        """Nobody waits for it here; it raises `TimeoutError` where it takes longer."""

        async def bounded() -> T:
            async with asyncio.timeout(within):
                return await call(await self._opened())

        with self._lock:  # else it may be closed meanwhile, and nobody hears of it again
            return asyncio.run_coroutine_threadsafe(bounded(), self._running())

    def close(self) -> None:
        """What is under way ends as cancelled. It begins again with the next call."""
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    async def _end(self) -> None:
        outside, self._outside = self._outside, None
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for one in under_way:
            one.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        if outside is not None:
            await outside.session.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="github", daemon=True
            )
            self._thread.start()
        return self._loop

    async def _opened(self) -> Outside:
        if self._outside is None:
            session = open_session()
            github = GitHub(self._settings, session, self._clock)
            self._outside = Outside(github, session, asyncio.Semaphore(MOST_CALLS))
        return self._outside

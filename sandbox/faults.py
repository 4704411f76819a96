"""Told to fail: what a stand-in does instead of, or besides, its work."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

SECONDARY = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One misfortune: `wait`, act (or not), `linger`, then `answer` or close the connection."""

    wait: float = 0
    linger: float = 0
    acts: bool = False
    drops: bool = False
    answer: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None

    @classmethod
    def status(cls, code: int, body: Any = None, *, acts: bool = False) -> "Fault":
        """Answer so; with `acts` the work is done nevertheless, which 5xx never rules out."""
        shown = {"message": "Server Error"} if body is None else body
        return cls(answer=code, body=shown, acts=acts)

    @classmethod
    def slack(cls, error: str, *, acts: bool = False) -> "Fault":
        """Slack's refusals are HTTP 200."""
        return cls(answer=200, body={"ok": False, "error": error}, acts=acts)

    @classmethod
    def rate_limited(cls, retry_after: int = 1) -> "Fault":
        """429 + Retry-After, in the words of both services."""
        body = {"ok": False, "error": "ratelimited", "message": SECONDARY}
        return cls(answer=429, headers={"Retry-After": str(retry_after)}, body=body)

    @classmethod
    def secondary_limit(cls, retry_after: int | None = 60) -> "Fault":
        """GitHub's 403; it may come without Retry-After."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return cls(answer=403, headers=headers, body={"message": SECONDARY})

    @classmethod
    def primary_limit(cls, reset_in: float = 60) -> "Fault":
        """GitHub's 403 when the hour's requests are used up."""
        headers = {
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": str(int(time.time() + reset_in) + 1),
        }
        return cls(answer=403, headers=headers, body={"message": "API rate limit exceeded."})

    @classmethod
    def hang(cls, seconds: float) -> "Fault":
        """Silence, then the usual answer; the work is done even if the client has gone."""
        return cls(wait=seconds, acts=True)

    @classmethod
    def hang_after(cls, seconds: float) -> "Fault":
        """The work is done at once; the answer takes its time."""
        return cls(acts=True, linger=seconds)

    @classmethod
    def drop_before(cls) -> "Fault":
        return cls(drops=True)

    @classmethod
    def drop_after(cls) -> "Fault":
        return cls(drops=True, acts=True)


@dataclass(slots=True)
class _Told:
    match: str
    fault: Fault
    times: int

    def pick(self) -> Fault | None:
        if self.times <= 0:
            return None
        self.times -= 1
        return self.fault


@dataclass(slots=True)
class _ByChance:
    match: str
    faults: Sequence[Fault]
    probability: float
    chance: random.Random

    def pick(self) -> Fault | None:
        if self.chance.random() >= self.probability:
            return None
        return self.chance.choice(self.faults)


class Faults:
    """The faults of one stand-in. A match is `METHOD /path`, both with `*` (which crosses `/`),
    the path without the service's `/api` or `/api/v3` in front."""

    def __init__(self) -> None:
        self.fired: list[tuple[str, Fault]] = []
        self._rules: list[_Told | _ByChance] = []

    def add(self, match: str, fault: Fault, times: int = 1) -> None:
        self._rules.append(_Told(match, fault, times))

    def randomly(
        self, match: str, faults: Sequence[Fault], probability: float, seed: int = 0
    ) -> None:
        self._rules.append(_ByChance(match, faults, probability, random.Random(seed)))

    def clear(self) -> None:
        self._rules.clear()

    def next(self, method: str, path: str) -> Fault | None:
        line = f"{method} {short(path)}"
        for rule in self._rules:
            if fnmatchcase(line, rule.match) and (fault := rule.pick()):
                self.fired.append((line, fault))
                return fault
        return None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = self.next(request.method, request.path)
        return await handler(request) if fault is None else await _suffer(fault, request, handler)


async def _suffer(fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    await request.read()  # or the client may still be sending when the connection closes
    await asyncio.sleep(fault.wait)
    done = await handler(request) if fault.acts else None
    await asyncio.sleep(fault.linger)
    if fault.drops and request.transport is not None:
        request.transport.close()
    if fault.answer is not None:
        return web.json_response(fault.body, status=fault.answer, headers=fault.headers)
    return done or web.Response()


def short(path: str) -> str:
    """The path as both flavours of the service's address know it."""
    for prefix in ("/api/v3", "/api"):
        if path.startswith(prefix + "/"):
            return path.removeprefix(prefix)
    return path

"""Fault injection: how a test makes a stand-in fail, hang or drop a connection.

`server.faults.add("POST /repos/*/statuses", Fault.status(502))` fails the next matching request.
Units: seconds.
"""

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
    """What happens to one request: wait `delay`, handle it if `acts`, wait `delay_after`, then
    close the connection if `drops`, or respond with `status_code`, `headers` and `body`. Without
    either, the response is the usual one, or an empty 200 where nothing was done."""

    delay: float = 0
    delay_after: float = 0
    acts: bool = False
    drops: bool = False
    status_code: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None

    @classmethod
    def status(cls, code: int, body: Any = None, *, acts: bool = False) -> "Fault":
        """With `acts` the work is done nevertheless, which a 5xx never rules out."""
        document = {"message": "Server Error"} if body is None else body
        return cls(status_code=code, body=document, acts=acts)

    @classmethod
    def slack(cls, error: str, *, acts: bool = False) -> "Fault":
        """Slack's errors are HTTP 200."""
        return cls(status_code=200, body={"ok": False, "error": error}, acts=acts)

    @classmethod
    def rate_limited(cls, retry_after: int = 1) -> "Fault":
        """429 and Retry-After, with a body as GitHub and as Slack send it."""
        body = {"ok": False, "error": "ratelimited", "message": SECONDARY}
        return cls(status_code=429, headers={"Retry-After": str(retry_after)}, body=body)

    @classmethod
    def secondary_limit(cls, retry_after: int | None = 60) -> "Fault":
        """GitHub's 403; it may come without Retry-After."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return cls(status_code=403, headers=headers, body={"message": SECONDARY})

    @classmethod
    def primary_limit(cls, reset_in: float = 60) -> "Fault":
        """GitHub's 403 when the hour's requests are used up."""
        headers = {
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": str(int(time.time() + reset_in) + 1),
        }
        return cls(status_code=403, headers=headers, body={"message": "API rate limit exceeded."})

    @classmethod
    def hang(cls, seconds: float) -> "Fault":
        """No response for a while; then the work is done, even if the client has gone."""
        return cls(delay=seconds, acts=True)

    @classmethod
    def hang_after(cls, seconds: float) -> "Fault":
        """The work is done at once; the response is late."""
        return cls(acts=True, delay_after=seconds)

    @classmethod
    def drop_before(cls) -> "Fault":
        """The connection closes, and nothing was done."""
        return cls(drops=True)

    @classmethod
    def drop_after(cls) -> "Fault":
        """The work is done, and the connection closes without a response."""
        return cls(drops=True, acts=True)


@dataclass(slots=True)
class _Scripted:
    match: str
    fault: Fault
    times: int

    def pick(self) -> Fault | None:
        if self.times <= 0:
            return None
        self.times -= 1
        return self.fault


@dataclass(slots=True)
class _Random:
    match: str
    faults: Sequence[Fault]
    probability: float
    generator: random.Random

    def pick(self) -> Fault | None:
        if self.generator.random() >= self.probability:
            return None
        return self.generator.choice(self.faults)


class Faults:
    """The faults of one stand-in. `match` is `METHOD /path`, where `*` also matches `/`; the path
    does not include the service's `/api` or `/api/v3`. `fired` lists what was injected so far."""

    def __init__(self) -> None:
        self.fired: list[tuple[str, Fault]] = []
        self._rules: list[_Scripted | _Random] = []

    def add(self, match: str, fault: Fault, times: int = 1) -> None:
        """For the next `times` requests that match."""
        self._rules.append(_Scripted(match, fault, times))

    def add_random(
        self, match: str, faults: Sequence[Fault], probability: float, seed: int = 0
    ) -> None:
        """For any request that matches, with that probability; the same seed repeats a run."""
        self._rules.append(_Random(match, faults, probability, random.Random(seed)))

    def clear(self) -> None:
        self._rules.clear()

    def next(self, method: str, path: str) -> Fault | None:
        line = f"{method} {without_api_prefix(path)}"
        for rule in self._rules:
            if fnmatchcase(line, rule.match) and (fault := rule.pick()):
                self.fired.append((line, fault))
                return fault
        return None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = self.next(request.method, request.path)
        return await handler(request) if fault is None else await _inject(fault, request, handler)


async def _inject(fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    await request.read()  # or the client may still be sending when the connection closes
    await asyncio.sleep(fault.delay)
    done = await handler(request) if fault.acts else None
    await asyncio.sleep(fault.delay_after)
    if fault.drops and request.transport is not None:
        request.transport.close()
    if fault.status_code is not None:
        return web.json_response(fault.body, status=fault.status_code, headers=fault.headers)
    return done or web.Response()


def without_api_prefix(path: str) -> str:
    """`/api/v3/repos` and `/repos` are the same route."""
    for prefix in ("/api/v3", "/api"):
        if path.startswith(prefix + "/"):
            return path.removeprefix(prefix)
    return path

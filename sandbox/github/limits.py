"""GitHub's primary rate limit: so many requests an hour for each installation or person.

Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
The secondary limits are told as faults.
"""

import time
from collections import Counter

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.faults import short
from sandbox.github.auth import credential_of
from sandbox.github.model import World

WINDOWS = {"core": 3600, "search": 60}


class Limits:
    """The search has its own, smaller limit."""

    def __init__(self, world: World, an_hour: int = 5000, searches_a_minute: int = 30) -> None:
        self.an_hour = an_hour
        self.searches_a_minute = searches_a_minute
        self._world = world
        self._used: Counter[tuple[str, str]] = Counter()
        self._reset = dict.fromkeys(WINDOWS, 0)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = "search" if short(request.path).startswith("/search/") else "core"
        limit = self.searches_a_minute if resource == "search" else self.an_hour
        used = self._count(request, resource)
        if used > limit:
            document = {"message": "API rate limit exceeded.", "status": "403"}
            response: web.StreamResponse = web.json_response(document, status=403)
        else:
            response = await handler(request)
        told = {
            "x-ratelimit-limit": limit,
            "x-ratelimit-remaining": max(0, limit - used),
            "x-ratelimit-used": used,
            "x-ratelimit-reset": self._reset[resource],
            "x-ratelimit-resource": resource,
        }
        for name, value in told.items():
            response.headers.setdefault(name, str(value))
        return response

    def _count(self, request: web.Request, resource: str) -> int:
        if time.time() >= self._reset[resource]:
            for used in [used for used in self._used if used[0] == resource]:
                del self._used[used]
            self._reset[resource] = int(time.time()) + WINDOWS[resource]
        credential = credential_of(request)
        token = self._world.tokens.get(credential)
        # A JWT is new each time, the App behind them is one.
        app = "app" if credential.startswith("ey") else credential
        whose = f"installation {token.installation.id}" if token else app
        self._used[resource, whose] += 1
        return self._used[resource, whose]

"""GitHub's primary rate limit: requests an hour for each installation or user.

Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
Secondary limits are faults: `Fault.secondary_limit()`.
"""

import time
from collections import Counter

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.faults import without_api_prefix
from sandbox.github.auth import credential_of
from sandbox.github.model import World

WINDOWS = {"core": 3600, "search": 60}


class RateLimits:
    """Search has a limit of its own, counted by the minute."""

    def __init__(self, world: World, per_hour: int = 5000, searches_per_minute: int = 30) -> None:
        self.per_hour = per_hour
        self.searches_per_minute = searches_per_minute
        self._world = world
        self._used: Counter[tuple[str, str]] = Counter()
        self._reset = dict.fromkeys(WINDOWS, 0)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/rate_limit", self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        """Source: https://docs.github.com/rest/rate-limit/rate-limit. It is not counted."""
        owner = self._owner(request)
        limits = {"core": self.per_hour, "search": self.searches_per_minute}
        resources = {
            name: {
                "limit": limit,
                "used": self._used[name, owner],
                "remaining": max(0, limit - self._used[name, owner]),
                "reset": self._reset[name],
            }
            for name, limit in limits.items()
        }
        return web.json_response({"resources": resources, "rate": resources["core"]})

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if without_api_prefix(request.path) == "/rate_limit":
            return await handler(request)
        resource = "search" if without_api_prefix(request.path).startswith("/search/") else "core"
        limit = self.searches_per_minute if resource == "search" else self.per_hour
        used = self._count(request, resource)
        if used > limit:
            document = {"message": "API rate limit exceeded.", "status": "403"}
            response: web.StreamResponse = web.json_response(document, status=403)
        else:
            response = await handler(request)
        if response.status == 304:  # is not counted
            used -= 1
            self._used[resource, self._owner(request)] -= 1
        headers = {
            "x-ratelimit-limit": limit,
            "x-ratelimit-remaining": max(0, limit - used),
            "x-ratelimit-used": used,
            "x-ratelimit-reset": self._reset[resource],
            "x-ratelimit-resource": resource,
        }
        for name, value in headers.items():
            response.headers.setdefault(name, str(value))
        return response

    def _count(self, request: web.Request, resource: str) -> int:
        if time.time() >= self._reset[resource]:
            for used in [used for used in self._used if used[0] == resource]:
                del self._used[used]
            self._reset[resource] = int(time.time()) + WINDOWS[resource]
        owner = self._owner(request)
        self._used[resource, owner] += 1
        return self._used[resource, owner]

    def _owner(self, request: web.Request) -> str:
        credential = credential_of(request)
        token = self._world.tokens.get(credential)
        # Every JWT is different, but they all belong to the one App.
        app = "app" if credential.startswith("ey") else credential
        return f"installation {token.installation.id}" if token else app

"""GitHub's primary rate limit: so many requests an hour for each installation or person.

Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
The secondary limits are told as faults.
"""

import time
from collections import Counter

from aiohttp import web
from aiohttp.typedefs import Handler

from webhook.sandbox.github_auth import credential_of
from webhook.sandbox.github_model import World

HOUR = 3600


class Limits:
    def __init__(self, world: World, an_hour: int = 5000) -> None:
        self.an_hour = an_hour
        self._world = world
        self._used: Counter[str] = Counter()
        self._reset = 0

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        used = self._count(request)
        if used > self.an_hour:
            document = {"message": "API rate limit exceeded.", "status": "403"}
            response: web.StreamResponse = web.json_response(document, status=403)
        else:
            response = await handler(request)
        told = {
            "x-ratelimit-limit": self.an_hour,
            "x-ratelimit-remaining": max(0, self.an_hour - used),
            "x-ratelimit-used": used,
            "x-ratelimit-reset": self._reset,
            "x-ratelimit-resource": "core",
        }
        for name, value in told.items():
            response.headers.setdefault(name, str(value))
        return response

    def _count(self, request: web.Request) -> int:
        if time.time() >= self._reset:
            self._used.clear()
            self._reset = int(time.time()) + HOUR
        credential = credential_of(request)
        token = self._world.tokens.get(credential)
        # A JWT is new each time, the App behind them is one.
        app = "app" if credential.startswith("ey") else credential
        whose = f"installation {token.installation.id}" if token else app
        self._used[whose] += 1
        return self._used[whose]

"""The base of all stand-ins: an aiohttp server on 127.0.0.1 that records its calls."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sandbox.faults import Faults, without_api_prefix

HOST = "127.0.0.1"


@dataclass(slots=True)
class Call:
    """One request. `path` does not include `/api`; `status` is None until there is a response, and
    stays so if the connection closes before that."""

    method: str
    path: str
    time: float = field(default_factory=time.time)
    status: int | None = None
    query: str = ""


class Server:
    """Start it with `async with`, or with `start()` and `stop()`. `faults` is where tests inject
    faults; `calls` lists the requests, oldest first."""

    def __init__(self, *, port: int = 0) -> None:
        self.faults = Faults()
        self.calls: list[Call] = []
        self.url = ""
        self._port = port
        self._runner: web.AppRunner | None = None

    def routes(self) -> Sequence[web.RouteDef]:
        raise NotImplementedError

    def canonical(self, request: web.Request) -> web.Request:
        """The request as it is recorded, where one thing has several addresses."""
        return request

    def middlewares(self) -> Sequence[Middleware]:
        """Outermost first; the one that records calls comes before them."""
        return []

    async def start(self) -> None:
        app = web.Application(
            middlewares=[self._record, *self.middlewares()], client_max_size=30 * 2**20
        )
        app.add_routes(self.routes())
        # A hanging request must not delay the end of a test.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self._port).start()
        self._port = self._runner.addresses[0][1]  # a restart uses the same port
        self.url = f"http://{HOST}:{self._port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def called(self, method: str, suffix: str) -> list[Call]:
        """The calls of that method whose path has that suffix."""
        return [c for c in self.calls if c.method == method and c.path.endswith(suffix)]

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request = self.canonical(request)
        call = Call(request.method, without_api_prefix(request.path), query=request.query_string)
        self.calls.append(call)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            call.status = error.status
            raise
        if request.transport is not None and not request.transport.is_closing():
            call.status = response.status
        return response

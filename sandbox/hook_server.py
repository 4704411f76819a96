"""The stand-in for adnanh/webhook 2.8: it runs a script for each request that satisfies its rules.

It knows no `Idempotency-Key`. With `include-command-output-in-response` it responds once the script
has ended: with its output, or with 500 where it failed.

Source: https://github.com/adnanh/webhook/blob/2.8.0/webhook.go, `hookHandler`.
"""

from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.server import Server

FAILED = (
    "Error occurred while executing the hook's command. Please check your logs for more details."
)
UNSATISFIED = "Hook rules were not satisfied."


class HookServer(Server):
    """`output` of the script, or None where it fails; `satisfied`: whether the rules are.
    `executions`: the bodies of the requests for which the script was run. `headers` are added to
    each response."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.output: str | None = ""
        self.satisfied = True
        self.executions: list[bytes] = []
        self.headers: dict[str, str] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.route("*", "/hooks/{id:.*}", self._run)]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware]

    async def _run(self, request: web.Request) -> web.Response:
        if not self.satisfied:
            return web.Response(text=UNSATISFIED, headers=self.headers)
        self.executions.append(await request.read())
        if self.output is None:
            return web.Response(status=500, text=FAILED, headers=self.headers)
        return web.Response(text=self.output, headers=self.headers)

"""The relay's App on the sandbox's GitHub, for tests of one call at a time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from sandbox.faults import Fault
from sandbox.github.model import Installation, Repository
from sandbox.github.server import GitHub as StandIn
from webhook.github.client import GitHub
from webhook.github.tokens import Scope
from webhook.settings import Settings

REPO = "acme/site"
# Responses that leave it open whether anything was done.
OPEN = {
    "500": Fault.status(500),
    "acts, then 502": Fault.status(502, acts=True),
    "drops": Fault.drop_before(),
    "acts, then drops": Fault.drop_after(),
    "acts, then hangs": Fault.hang_after(5),
    "not GitHub's": Fault(status_code=200, body="<html>a proxy's page</html>"),
    "nothing in it": Fault(status_code=200, body={}),
    "another shape": Fault(status_code=200, body=[1, None]),
}


@dataclass(frozen=True)
class OnGitHub:
    """`asked`: the URLs that were called, with their queries; `impatient`: for calls that hang."""

    there: StandIn
    github: GitHub
    impatient: GitHub
    installation: Installation
    requested: list[URL]

    @property
    def site(self) -> Repository:
        return self.there.repository(REPO)

    @property
    def scope(self) -> Scope:
        return Scope(self.installation.id, REPO, self.site.id)

    def client(self, fault: Fault) -> GitHub:
        """Which meets this one without much waiting."""
        return self.impatient if fault.delay or fault.delay_after else self.github

    def granted(self) -> list[dict[str, str]]:
        """The permissions of each token that was fetched."""
        return [token.permissions for token in self.there.world.tokens.values()]


@asynccontextmanager
async def on_github() -> AsyncIterator[OnGitHub]:
    async with StandIn() as there:
        there.strict = True
        installation = there.add_installation("acme", [REPO])
        environ = {
            "GITPLOY_SERVER_HOST": "relay.example.com",
            "GITPLOY_WEBHOOK_SECRET": there.webhook_secret,
            "GITPLOY_GITHUB_BASE_URL": there.api_url,
            "GITPLOY_GITHUB_CLIENT_ID": there.app.client_id,
            "GITPLOY_GITHUB_PRIVATE_KEY": there.private_key_pem,
        }
        requested: list[URL] = []
        traces = [_trace(requested)]
        quickly = aiohttp.ClientTimeout(total=1)
        settings = Settings.from_environ(environ)
        async with (
            aiohttp.ClientSession(trace_configs=traces) as session,
            aiohttp.ClientSession(timeout=quickly, trace_configs=traces) as impatient,
        ):
            github, hurried = GitHub(settings, session), GitHub(settings, impatient)
            yield OnGitHub(there, github, hurried, installation, requested)


def _trace(requested: list[URL]) -> aiohttp.TraceConfig:
    async def record(
        _session: object, _context: object, begun: aiohttp.TraceRequestStartParams
    ) -> None:
        requested.append(begun.url)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(record)
    return trace

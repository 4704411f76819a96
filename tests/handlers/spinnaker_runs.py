"""A Spinnaker to deploy with, for the tests of its handler."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from handlers.contract import Deployment, Run
from handlers.http import Http
from handlers.spinnaker import Spinnaker as Handler
from handlers.spinnaker.options import SpinnakerOptions
from sandbox.spinnaker.model import Execution
from sandbox.spinnaker.server import Spinnaker
from tests.handlers.runs import a_context, a_deployment

SOURCE = "github-deployment"
CONSTRAINTS = {
    "deployment.environment": "^production$",
    "repository.full_name": "^acme/shop$",
}


def a_pipeline(name: str = "Deploy", **config: Any) -> dict[str, Any]:
    """Triggered by deployments of acme/shop to production."""
    trigger = {"type": "webhook", "enabled": True, "source": SOURCE}
    return {
        "application": "shop",
        "name": name,
        "triggers": [trigger | {"payloadConstraints": CONSTRAINTS}],
        "stages": [{"type": "deployManifest", "name": "Roll out"}],
    } | config


@dataclass
class World:
    """Spinnaker, and what the relay lends to its handlers."""

    spinnaker: Spinnaker
    http: Http

    def handler(self, **options: Any) -> Handler:
        """A new one each time, as in another process; by webhook, if not by pipeline."""
        way = {} if "pipeline" in options or "source" in options else {"source": SOURCE}
        given = {"url": self.spinnaker.url} | way | options
        return Handler(
            SpinnakerOptions.model_validate(given), a_context(Path("/nowhere"), http=self.http)
        )

    async def follow(self, handler: Handler, run: Run, deployment: Deployment | None = None) -> Run:
        """To the end."""
        deployment = deployment or a_deployment()
        deadline = monotonic() + 10
        while not run.state.final:
            assert monotonic() < deadline, f"it did not end: {run}"
            await asyncio.sleep(0.01)
            run = await handler.check(deployment, run)
        return run

    async def deploy(self, deployment: Deployment | None = None, **options: Any) -> Run:
        """Start and follow to the end."""
        deployment = deployment or a_deployment()
        handler = self.handler(**options)
        return await self.follow(handler, await handler.start(deployment), deployment)

    async def started(
        self, handler: Handler, deployment: Deployment | None = None, count: int = 1
    ) -> tuple[Run, list[Execution]]:
        """As soon as so many pipelines run for it, and no earlier one counts."""
        before = len(self.spinnaker.executions)
        run = await handler.start(deployment or a_deployment())
        await self.until(lambda: len(self.spinnaker.executions) >= before + count)
        new = self.spinnaker.executions[before:]
        await self.until(lambda: all(e.status != "NOT_STARTED" for e in new))
        return run, new

    async def until(self, condition: Any) -> None:
        deadline = monotonic() + 10
        while not condition():
            assert monotonic() < deadline, "it did not come about"
            await asyncio.sleep(0.005)

    def posts(self) -> int:
        """Calls to Spinnaker that start something."""
        return len([call for call in self.spinnaker.calls if call.method == "POST"])


@asynccontextmanager
async def a_world(*, timeout: float = 10, **facts: Any) -> AsyncIterator[World]:
    async with Spinnaker(**facts) as server, aiohttp.ClientSession() as session:
        yield World(server, Http(session, timeout=timeout))


def numbered(deployment: Deployment, number: int) -> Deployment:
    """Another deployment of the same repository."""
    url = deployment.report.url.replace(str(deployment.id), str(number))
    return replace(deployment, id=number, report=replace(deployment.report, url=url))


def an_hour_later(run: Run) -> Run:
    """As if its event had been sent an hour ago."""
    rest, _, sent_at = run.id.rpartition("=")
    return replace(run, id=f"{rest}={int(sent_at) - 3600}")

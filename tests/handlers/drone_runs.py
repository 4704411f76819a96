"""A Drone to deploy with, for the tests of its handler."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest

from handlers.contract import Deployment, Run
from handlers.drone import Drone as Handler
from handlers.drone.options import DroneOptions
from handlers.errors import NotReady
from handlers.http import Http
from sandbox.drone import Build, Drone, Repo
from tests.handlers.runs import a_context, a_deployment

SLUG = "acme/shop"
SHA = a_deployment().sha
SHORT = SHA[:7]
OTHER_SHA = "0" * 40


@dataclass
class World:
    """Drone with one repository, and what the relay lends to its handlers."""

    drone: Drone
    repo: Repo
    http: Http

    def handler(self, **options: Any) -> Handler:
        """A new one each time, as in another process."""
        given = {"url": self.drone.url, "token": self.drone.token} | options
        context = a_context(Path("/nowhere"), http=self.http)
        return Handler(DroneOptions.model_validate(given), context)

    def built(self, status: str = "success", sha: str = SHA, **facts: Any) -> Build:
        return self.drone.add_build(SLUG, sha, status=status, **facts)

    def promotions(self) -> list[Build]:
        return self.drone.builds(SLUG, "promote")

    def posts(self) -> list[str]:
        """Calls to Drone that change something."""
        return [call.path for call in self.drone.calls if call.method != "GET"]

    def page(self, build: Build) -> str:
        return f"{self.drone.url}/{SLUG}/{build.number}"


@asynccontextmanager
async def a_world(*, takes: float | None = 0.05, timeout: float = 10) -> AsyncIterator[World]:
    async with Drone(takes=takes) as server, aiohttp.ClientSession() as session:
        yield World(server, server.add_repo(SLUG), Http(session, timeout=timeout))


async def ended(handler: Handler, deployment: Deployment, run: Run) -> list[Run]:
    """All that is seen of a run from here to its end."""
    found = [run]
    deadline = monotonic() + 10
    while not found[-1].state.final:
        assert monotonic() < deadline, "the run did not end"
        await asyncio.sleep(0.005)
        found.append(await handler.check(deployment, found[-1]))
    return found


async def waits(handler: Handler, deployment: Deployment) -> str:
    """The message of a start that is too early."""
    with pytest.raises(NotReady) as caught:
        await handler.start(deployment)
    return str(caught.value)


def started_ago(**ago: float) -> Deployment:
    """A deployment that was started so long ago."""
    then = datetime.now(UTC) - timedelta(**ago)
    return a_deployment(
        created_at=then, deadline=then + timedelta(hours=1), timeout=timedelta(hours=1)
    )

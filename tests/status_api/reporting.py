"""What the tests of the status endpoint share: a relay for a whole module, and a tool whose run is
under way, with the address and the token that the relay gives it."""

import itertools
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import psycopg
import pytest

from handlers.contract import ReportCredentials
from sandbox.github.model import Deployment
from tests.conftest import in_database
from tests.world import DEPLOY_YML, World, live, until
from webhook.security.signing import ReportTokens

_numbers = itertools.count()
CLIENTS = Path(__file__).parent.parent / "clients"
# What npm writes when it has installed everything.
_INSTALLED = CLIENTS / "node_modules" / ".package-lock.json"
# A secret that the relay knows from the name of its variable.
OTHER_KEY = "the-key-of-another-service"
# A command that knows no more than its variables.
BY_ITSELF = """
import json, os, urllib.request
for state in ("in_progress", "success"):
    body = {"state": state, "description": f"{state}, it says", "environment_url": "https://it"}
    headers = {"Authorization": "Bearer " + os.environ["DEPLOYMENT_REPORT_TOKEN"]}
    request = urllib.request.Request(os.environ["DEPLOYMENT_REPORT_URL"], headers=headers)
    print(urllib.request.urlopen(request, json.dumps(body).encode()).status)
print("my token is", os.environ["DEPLOYMENT_REPORT_TOKEN"])
"""


def needed(what: str) -> NoReturn:
    """Something is not installed that not everybody has; a skip is a failure in CI."""
    pytest.skip(what)


def octokit() -> str:
    """The program that runs JavaScript in CLIENTS, where octokit is installed."""
    node = shutil.which("node")
    if node and _INSTALLED.exists():
        return node
    needed("install Node.js 20 or newer, then: npm ci --prefix tests/clients")


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    document: Any


@dataclass
class Tool:
    """A tool at work; its run ends when there is a file at `gate`."""

    world: World
    deployment: Deployment
    report: ReportCredentials
    gate: Path

    @property
    def id(self) -> int:
        return self.deployment.id

    @property
    def path(self) -> str:
        """Of its deployment, below the base URL."""
        return f"/repos/acme/site/deployments/{self.id}"

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        base: str | None = None,
        **headers: str,
    ) -> Response:
        """`body`: bytes as they are, anything else as JSON. `_` stands for `-` in headers."""
        url = (self.report.api if base is None else base) + path
        own = {"Authorization": f"token {token or self.report.token}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**own, **named}.items() if value}
        raw = isinstance(body, bytes | AsyncIterator)
        content = {"data": body} if raw else {"json": body}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method, url, headers=sent, **(content if body is not None else {})
            ) as response,
        ):
            is_json = response.content_type == "application/json"
            document = await response.json() if is_json else await response.text()
            return Response(response.status, dict(response.headers), document)

    async def report_state(self, state: str, **fields: Any) -> Response:
        return await self.call("POST", f"{self.path}/statuses", {"state": state, **fields})

    async def until_newest(self, state: str, newest: str) -> list[tuple[str, str]]:
        """The statuses on GitHub, (state, description) each, once this is the newest."""

        def read() -> list[tuple[str, str]] | None:
            written = [(s.state, s.description) for s in self.world.github.statuses(self.id)]
            return written if written[-1] == (state, newest) else None

        written: list[tuple[str, str]] = await until(read)
        return written

    def kept(self) -> list[dict[str, Any]]:
        """The tool's own entries."""
        query = "select * from timeline where deployment_id = %s and actor = 'command' order by id"
        return self.world.rows(query, self.id)

    async def execute(self, query: str, *values: Any) -> None:
        """In the store; not in the way of the jobs, which run in the same event loop."""
        async with await self.connect() as connection:
            await connection.execute(query, values)

    async def connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(self.world.store_url)


@asynccontextmanager
async def shared_world(postgres: str, folder: Path) -> AsyncIterator[World]:
    """A relay with a store of its own, for many tests."""
    script = folder / "by_itself.py"
    script.write_text(BY_ITSELF)
    by_itself = f"\n  - name: by-itself\n    handler: command\n    with: {{run: [{sys.executable}, "
    name = f"reporting_{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} template template")
        async with live(
            in_database(postgres, name),
            folder,
            f"{DEPLOY_YML}{by_itself}{script}]}}\n",
            environ={"ANY_API_KEY": OTHER_KEY},
        ) as world:
            yield world
        connection.execute(f"drop database {name} with (force)")


@asynccontextmanager
async def at_work(world: World, gate: Path, **fields: Any) -> AsyncIterator[Tool]:
    """A tool that the relay has just started, and that ends with the block."""
    deployment = await world.deploy("slow", payload={"gate": str(gate)}, **fields)
    row = await world.phase(deployment.id, "in_progress")
    tokens = ReportTokens(world.setup.settings.server_url, world.setup.secret_keys)
    report = tokens.credentials(row["repo"], row["id"], row["environment"], row["deadline"])
    try:
        yield Tool(world, deployment, report, gate)
    finally:
        gate.touch()

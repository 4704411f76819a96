"""A relay of its own for a test: real HTTP, real PostgreSQL, the sandbox's GitHub and Slack.

Web and worker run in this process (the tests of the whole program start real processes).
"""

import asyncio
import contextlib
import io
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from werkzeug.serving import BaseWSGIServer, make_server

from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.slack.model import Message
from tests.pace import in_a_hurry
from webhook import logs, startup
from webhook.app import create_app
from webhook.engine.services import open_services
from webhook.slack.socket_listener import listening
from webhook.startup import Setup
from webhook.worker import work

DEPLOY_YML = """
slack: {channel: "#deploys"}
envs:
  - name: production
    handler: command
    with: {run: ["sh", "-c", "echo deploying $DEPLOYMENT_REF"]}
    slack: {channel: "#deploys", failures: "#oncall"}
  - name: broken
    handler: command
    with: {run: ["sh", "-c", "echo the disk is full; exit 3"]}
    slack: {channel: "#deploys", failures: "#oncall"}
  - name: "slow*"
    handler: command
    with: {run: ["sh", "-c", "while ! test -e {payload.gate}; do sleep 0.05; done"]}
"""


@dataclass
class World:
    sandbox: Sandbox
    setup: Setup
    store_url: str
    url: str
    slack_pace: timedelta = timedelta(milliseconds=10)
    workers: list[tuple["asyncio.Task[None]", asyncio.Event]] = field(default_factory=list)
    _asking: threading.Lock = field(default_factory=threading.Lock)
    _store: psycopg.Connection[dict[str, Any]] | None = None

    @property
    def github(self) -> Any:
        return self.sandbox.github

    @property
    def slack(self) -> Any:
        return self.sandbox.slack

    def secrets(self) -> set[str]:
        """All that this relay was given, or was lent by GitHub, or signed."""
        keys = {line.partition("key=")[2] for line in self._page_urls()}
        return {
            *self.setup.secrets,
            *self.github.world.tokens,
            *self.github.world.users,
            *(key.partition("#")[0] for key in keys),
        }

    def _page_urls(self) -> list[str]:
        every = self.github.deployments
        return [s.log_url for id_ in every for s in self.github.statuses(id_) if s.by_app]

    async def deploy(self, environment: str = "production", **fields: Any) -> Deployment:
        deployment: Deployment = await self.github.create_deployment(
            REPOSITORY, environment=environment, required_contexts=[], **fields
        )
        return deployment

    async def deployed(self, environment: str = "production", **fields: Any) -> Deployment:
        """A deployment that has ended and that everybody has heard of."""
        deployment = await self.deploy(environment, **fields)
        await self.github.wait_for(deployment.id, "success", "failure", "error", within=20)
        await self.idle()
        return deployment

    def told(self, channel: str = "#deploys") -> list[Message]:
        """The messages there, without what is in their threads."""
        return [m for m in self.slack.messages(channel) if not m.is_reply]

    def replies(self, channel: str = "#deploys") -> list[Message]:
        return [m for m in self.slack.messages(channel) if m.is_reply]

    def notes(self) -> dict[str, list[str]]:
        """Outcome -> the notes of the deliveries that ended so."""
        found: dict[str, list[str]] = {}
        for row in self.rows("select outcome, note from deliveries order by id"):
            found.setdefault(row["outcome"], []).append(row["note"])
        return found

    async def begin_slow(self, gate: Path) -> Deployment:
        """A deployment whose command runs until there is a file at `gate`."""
        deployment = await self.deploy("slow", payload={"gate": str(gate)})
        await self.phase(deployment.id, "in_progress")
        return deployment

    def start_worker(self) -> None:
        async def run(stop: asyncio.Event) -> None:
            async with (
                open_services(self.setup, self.store_url, self.slack_pace) as services,
                listening(self.setup, self.store_url),
            ):
                await work(services, stop)

        stop = asyncio.Event()
        self.workers.append((asyncio.create_task(run(stop)), stop))

    async def stop_workers(self) -> None:
        for _, stop in self.workers:
            stop.set()
        await asyncio.gather(*(task for task, _ in self.workers))
        self.workers.clear()

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """What the store holds; for what no user can see."""
        with self._asking:
            try:
                return self._connected().execute(query, values).fetchall()
            except psycopg.OperationalError:  # a test has just ended all connections
                self.disconnect()
                return self._connected().execute(query, values).fetchall()

    def _connected(self) -> psycopg.Connection[dict[str, Any]]:
        """Kept open: who waits for something asks often."""
        if self._store is None:
            self._store = psycopg.connect(self.store_url, autocommit=True, row_factory=dict_row)
        return self._store

    def disconnect(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    async def phase(self, deployment_id: int, *phases: str, within: float = 15) -> dict[str, Any]:
        """The row of a deployment as soon as it is in one of these phases."""

        def look() -> dict[str, Any] | None:
            rows = self.rows("select * from deployments where id = %s", deployment_id)
            return rows[0] if rows and rows[0]["phase"] in phases else None

        row: dict[str, Any] = await until(look, within)
        return row

    async def idle(self, within: float = 40) -> None:
        """No job is left to do soon."""
        jobs = (
            "select 1 from procrastinate_jobs where status = 'doing' or (status = 'todo'"
            " and (scheduled_at is null or scheduled_at < now() + interval '45 seconds'))"
        )
        await self.github.settled()
        await until(lambda: not self.rows(jobs) or None, within)


def no_secret_in(log: str, secrets: Iterable[str]) -> None:
    lines = [line for secret in secrets if len(secret) >= 8 for line in _lines(log, secret)]
    assert not lines, f"secrets in the log: {lines[:3]}"


def _lines(log: str, secret: str) -> list[str]:
    return [line for line in log.splitlines() if secret in line]


async def until(look: Callable[[], Any], within: float = 10) -> Any:
    """What `look` returns as soon as it is not None."""
    async with asyncio.timeout(within):
        while (found := await asyncio.to_thread(look)) is None:
            await asyncio.sleep(0.02)
    return found


@contextlib.asynccontextmanager
async def live(
    store_url: str,
    data_dir: Path,
    deploy_yml: str = DEPLOY_YML,
    *,
    sandbox: Sandbox | None = None,
    environ: dict[str, str] | None = None,
    workers: int = 1,
) -> AsyncIterator[World]:
    """A relay that works, until the block ends."""
    config = data_dir / "deploy.yml"
    config.write_text(deploy_yml)
    with in_a_hurry():
        async with sandbox or Sandbox() as lived_in:
            server, setup = _web(lived_in, store_url, data_dir, config, environ or {})
            world = World(lived_in, setup, store_url, setup.settings.server_url)
            log = io.StringIO()
            logs.set_up(setup.secrets, log)
            for _ in range(workers):
                world.start_worker()
            try:
                yield world
            finally:
                await lived_in.github.settled()
                await world.stop_workers()
                await asyncio.to_thread(server.shutdown)
                server.server_close()
                world.disconnect()
                sys.stderr.write(log.getvalue())  # shown where a test fails
            no_secret_in(log.getvalue(), world.secrets())


def _web(
    sandbox: Sandbox, store_url: str, data_dir: Path, config: Path, environ: dict[str, str]
) -> tuple[BaseWSGIServer, Setup]:
    server = make_server("127.0.0.1", 0, _not_yet, threaded=True)
    variables = sandbox.environ(data_dir, config, server.port) | environ
    setup = startup.set_up({"PATH": os.environ["PATH"], **variables})
    server.app = create_app(setup, store_url)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server, setup


def _not_yet(*_: object) -> list[bytes]:
    raise AssertionError("asked before the app was there")

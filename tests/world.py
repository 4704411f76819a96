"""A relay of its own for a test: real HTTP, real PostgreSQL, the sandbox's GitHub and Slack.

Web and worker run in this process (the tests of the whole program start real processes).
"""

import asyncio
import contextlib
import io
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from psycopg.rows import dict_row
from werkzeug.routing import Rule

from handlers import HANDLERS
from handlers.contract import Handler
from sandbox.github.model import Deployment
from sandbox.github.model import World as GitHubWorld
from sandbox.sandbox import REPOSITORY, Sandbox, free_ports
from sandbox.slack.model import Message
from tests.web_server import serving
from webhook import logs, startup
from webhook.app import CLOSE, create_app
from webhook.gates import GATES
from webhook.gates.contract import Gates
from webhook.slack.actions import ACTIONS, Actions
from webhook.slack.socket_mode import listening
from webhook.startup import Setup
from webhook.timing import Timing, utc_now
from webhook.web.bodies import DEFAULT_BOUNDS, BodyBounds
from webhook.worker import open_services, work

DEPLOY_YML = """
slack: {channel: "#deploys"}
envs:
  - name: production
    handler: command
    serialization: false
    with: {run: ["sh", "-c", "echo deploying $DEPLOYMENT_REF"]}
    slack: {channel: "#deploys", failures: "#oncall"}
  - name: broken
    handler: command
    serialization: false
    with: {run: ["sh", "-c", "echo the disk is full; exit 3"]}
    slack: {channel: "#deploys", failures: "#oncall"}
  - name: "slow*"
    handler: command
    serialization: false
    with: {run: ["sh", "-c", 'while ! test -e "$1"; do sleep 0.05; done', sh, "{payload.gate}"]}
"""


# Each world has an app of its own. Compiling what builds the URLs of its routes would take most of
# the time that it takes to make one; but that depends on the rule alone, so it is done once.
_builders: dict[tuple[str, bool], Any] = {}
_compile_builder = Rule._compile_builder


def _compiled_once(rule: Rule, append_unknown: bool = True) -> Any:
    key = (rule.rule, append_unknown)
    if rule.defaults or key not in _builders:
        _builders[key] = _compile_builder(rule, append_unknown)
    return _builders[key]


Rule._compile_builder = _compiled_once  # type: ignore[assignment,method-assign]


# Shorter waits than the product's, whose own are those of the tests that start real processes. Not
# less: many deployments at once would keep the machine busy with checks.
_SOON = timedelta(seconds=0.3)
_PRODUCT = Timing()
QUICK = replace(
    _PRODUCT,
    job_poll_interval=timedelta(seconds=0.1),
    idle_poll_interval=timedelta(seconds=0.5),
    rescue_interval=timedelta(seconds=1),
    step_retry=_SOON,
    first_poll_at_most=timedelta(seconds=0.2),
    # Its calls would meet the faults that a test has prepared for others.
    deployments_listed_after_start=timedelta(hours=1),
    first_event_within=timedelta(0),
    recheck_at_least=_SOON,
    head_may_lag_for=_SOON,
    restarts_after=(_SOON, _SOON),
    status_lookup_after=_SOON,
    message_lookups_after=(_SOON, *_PRODUCT.message_lookups_after[1:]),
    deployment_lookups_after=(_SOON, *_PRODUCT.deployment_lookups_after[1:]),
    channel_interval=timedelta(milliseconds=10),
    replies_gathered_for=timedelta(milliseconds=50),
    rejection_retry_at_least=timedelta(seconds=0.1),
    rejection_counts_after=timedelta(seconds=0.5),
    # Not at all soon, or no relay would be idle where GitHub or Slack rejects something, and where
    # no delivery comes.
    installation_retry_at_least=_PRODUCT.installation_retry_at_most,
    deliveries_compared_after_doubt=_PRODUCT.deliveries_compared_every,
    rejected_retry_at_least=timedelta(minutes=1),
)


@dataclass
class MovableClock:
    """GitHub's clock is moved with the relay's, as time passes for both; a test may move GitHub's
    alone, too (`sandbox.github.world.ahead`)."""

    github: GitHubWorld | None = field(default=None, repr=False)
    _ahead: timedelta = timedelta(0)

    @property
    def ahead(self) -> timedelta:
        return self._ahead

    @ahead.setter
    def ahead(self, ahead: timedelta) -> None:
        self._ahead = ahead
        if self.github is not None:
            self.github.ahead = ahead

    def __call__(self) -> datetime:
        return utc_now() + self.ahead

    @contextlib.contextmanager
    def moved(self, ahead: timedelta) -> Iterator[None]:
        self.ahead = ahead
        try:
            yield
        finally:
            self.ahead = timedelta(0)


_WAITS_FOR_LOCK = (
    "select from pg_locks join pg_database on oid = database"
    " where not granted and locktype = 'advisory' and datname = current_database()"
)


@dataclass
class World:
    """`timing`, `handlers`, `actions`, `gates`: of the workers that are started from now on."""

    sandbox: Sandbox
    setup: Setup
    store_url: str
    url: str
    timing: Timing
    clock: MovableClock
    handlers: Mapping[str, type[Handler]]
    actions: Actions
    gates: Gates = field(default_factory=lambda: GATES)
    workers: list[tuple["asyncio.Task[None]", asyncio.Event]] = field(default_factory=list)
    _query_lock: threading.Lock = field(default_factory=threading.Lock)
    _store: psycopg.Connection[dict[str, Any]] | None = None

    @property
    def github(self) -> Any:
        return self.sandbox.github

    @property
    def slack(self) -> Any:
        return self.sandbox.slack

    def credentials(self) -> set[str]:
        """All that this relay was given, or was lent by GitHub."""
        github = self.github.world
        return {*self.setup.secrets, *github.tokens, *github.users, *github.user_tokens}

    def secrets(self) -> set[str]:
        """Also what it has signed."""
        keys = {line.partition("key=")[2] for line in self._page_urls()}
        return {*self.credentials(), *(key.partition("#")[0] for key in keys)}

    def published(self) -> str:
        """All that the relay has written in Slack, and in statuses on GitHub but for their links,
        a line each."""
        every = [status for id_ in self.github.deployments for status in self.github.statuses(id_)]
        statuses = [(one.description, one.environment_url) for one in every if one.by_app]
        channels = self.slack.channels.values()
        return "\n".join(map(repr, [*statuses, *channels]))

    def _page_urls(self) -> list[str]:
        every = self.github.deployments
        return [s.log_url for id_ in every for s in self.github.statuses(id_) if s.by_app]

    async def deploy(self, environment: str = "production", **fields: Any) -> Deployment:
        deployment: Deployment = await self.github.create_deployment(
            REPOSITORY, environment=environment, required_contexts=[], **fields
        )
        return deployment

    async def deployed(self, environment: str = "production", **fields: Any) -> Deployment:
        """A deployment that has ended, with GitHub and Slack up to date."""
        deployment = await self.deploy(environment, **fields)
        await self.github.wait_for(deployment.id, "success", "failure", "error", within=40)
        await self.idle()
        return deployment

    def messages(self, channel: str = "#deploys") -> list[Message]:
        """The messages there, without what is in their threads."""
        return [m for m in self.slack.messages(channel) if not m.is_reply]

    def replies(self, channel: str = "#deploys") -> list[Message]:
        return [m for m in self.slack.messages(channel) if m.is_reply]

    async def page(self, deployment_id: int) -> str:
        """The page of a deployment, to which its newest status on GitHub links."""
        url = self.github.statuses(deployment_id)[-1].log_url
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text()

    def delivery_outcomes(self) -> dict[str, list[str]]:
        """Outcome -> what is recorded of each delivery that ended so."""
        found: dict[str, list[str]] = {}
        for row in self.rows("select outcome, reason from deliveries order by id"):
            found.setdefault(row["outcome"], []).append(row["reason"])
        return found

    async def begin_slow(self, gate: Path) -> Deployment:
        """A deployment whose command runs until there is a file at `gate`."""
        deployment = await self.deploy("slow", payload={"gate": str(gate)})
        await self.phase(deployment.id, "in_progress")
        return deployment

    def start_worker(self) -> None:
        async def run(stop: asyncio.Event) -> None:
            async with (
                open_services(
                    self.setup,
                    self.store_url,
                    timing=self.timing,
                    clock=self.clock,
                    handlers=self.handlers,
                    actions=self.actions,
                    gates=self.gates,
                ) as services,
                listening(
                    self.setup.settings.slack,
                    self.setup.config,
                    self.store_url,
                    actions=self.actions,
                    timing=self.timing,
                    clock=self.clock,
                ),
            ):
                await work(services, self.store_url, stop)

        stop = asyncio.Event()
        self.workers.append((asyncio.create_task(run(stop)), stop))

    async def stop_workers(self) -> None:
        for _, stop in self.workers:
            stop.set()
        await asyncio.gather(*(task for task, _ in self.workers))
        self.workers.clear()

    @contextlib.asynccontextmanager
    async def timed(self, **changes: Any) -> AsyncIterator[None]:
        """With other durations of `Timing`, until the block ends."""
        before = self.timing
        await self._restart_workers(replace(before, **changes))
        try:
            yield
        finally:
            await self._restart_workers(before)

    async def _restart_workers(self, timing: Timing) -> None:
        count = len(self.workers)
        await self.stop_workers()
        self.timing = timing
        for _ in range(count):
            self.start_worker()

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """What the store holds; for what no user can see."""
        with self._query_lock:
            try:
                return self._connected().execute(query, values).fetchall()
            except psycopg.OperationalError:  # a test has just ended all connections
                self.disconnect()
                return self._connected().execute(query, values).fetchall()

    def execute(self, statement: str, *values: Any) -> None:
        """Change what the store holds, in a transaction of its own."""
        with psycopg.connect(self.store_url) as connection:
            connection.execute(statement, values)

    def bring_forward(self, where: str, *values: Any) -> None:
        """What waits of that is done now; what is under way, once more."""
        self.execute(
            "update schedule set wanted = wanted + 1,"
            " due_at = case when claimed_by is null then now() else due_at end where " + where,
            *values,
        )

    @contextlib.contextmanager
    def environment_locked(self, repo_id: int, environment: str) -> Iterator[Callable[[], bool]]:
        """Whoever starts something there waits meanwhile; is anybody?"""
        with psycopg.connect(self.store_url) as connection:
            key = f"{repo_id} {environment}"
            connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
            yield lambda: bool(self.rows(_WAITS_FOR_LOCK))

    def _connected(self) -> psycopg.Connection[dict[str, Any]]:
        """Kept open, since waiting tests query often."""
        if self._store is None:
            self._store = psycopg.connect(self.store_url, autocommit=True, row_factory=dict_row)
        return self._store

    def disconnect(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    async def phase(self, deployment_id: int, *phases: str, within: float = 30) -> dict[str, Any]:
        """The row of a deployment as soon as it is in one of these phases."""

        def row_in_phase() -> dict[str, Any] | None:
            rows = self.rows("select * from deployments where id = %s", deployment_id)
            return rows[0] if rows and rows[0]["phase"] in phases else None

        row: dict[str, Any] = await until(row_in_phase, within)
        return row

    async def idle(self, within: float = 40) -> None:
        """Nothing is left to do soon."""
        await self.github.settled()
        await until(lambda: not self.rows(SOON) or None, within)


# What is done again and again, as long as a relay runs.
RECURRING = "task in ('recover', 'list_deployments')"
SOON = (
    "select 1 from schedule where claimed_by is not null or due_at < now() + case"
    f" when {RECURRING} then interval '0' else interval '45 seconds' end"
)


def no_secret_in(log: str, secrets: Iterable[str]) -> None:
    lines = [line for secret in secrets if len(secret) >= 8 for line in _lines(log, secret)]
    assert not lines, f"secrets in the log: {lines[:3]}"


def _lines(log: str, secret: str) -> list[str]:
    return [line for line in log.splitlines() if secret in line]


async def until(condition: Callable[[], Any], within: float = 30) -> Any:
    """What `condition` returns as soon as it is not None."""
    async with asyncio.timeout(within):
        while (found := await asyncio.to_thread(condition)) is None:
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
    timing: Timing = QUICK,
    handlers: Mapping[str, type[Handler]] = HANDLERS,
    actions: Actions = ACTIONS,
    gates: Gates = GATES,
    bounds: BodyBounds = DEFAULT_BOUNDS,
) -> AsyncIterator[World]:
    """A relay that works, until the block ends."""
    config = data_dir / "deploy.yml"
    config.write_text(deploy_yml)
    async with sandbox or Sandbox() as started:
        [port] = free_ports(1)
        setup = _set_up(started, data_dir, config, environ or {}, port)
        url = setup.settings.server_url
        clock = MovableClock(started.github.world)
        world = World(started, setup, store_url, url, timing, clock, handlers, actions, gates)
        log = io.StringIO()
        logs.set_up(setup.secrets, log)
        app = create_app(setup, store_url, timing, world.clock, actions)
        with serving(app, port, bounds):
            for _ in range(workers):
                world.start_worker()
            try:
                yield world
            finally:
                await started.github.settled()
                await world.stop_workers()
                app.extensions[CLOSE]()
                world.disconnect()
                sys.stderr.write(log.getvalue())  # shown where a test fails
        no_secret_in(log.getvalue(), world.secrets())
        no_secret_in(world.published(), world.credentials())


def _set_up(
    sandbox: Sandbox, data_dir: Path, config: Path, environ: dict[str, str], port: int
) -> Setup:
    variables = sandbox.environ(data_dir, config, port) | environ
    return startup.set_up({"PATH": os.environ["PATH"], **variables})

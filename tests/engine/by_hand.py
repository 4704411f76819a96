"""The engine without a worker process: a test says what is done next, and what time it is.

PostgreSQL, the store, the engine and the sandbox's GitHub are real. The tool is the test's own.
"""

import asyncio
import contextlib
import io
import random
import sys
import types
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from handlers.contract import Deployment, Handler, HandlerContext, Options, Pace, Run, State
from handlers.errors import Rejected
from sandbox.github.model import Deployment as OnGitHub
from sandbox.github.webhooks import HOOK_ID, encoded
from sandbox.sandbox import REPOSITORY, Sandbox
from webhook import logs, startup
from webhook.config import load
from webhook.config.environments import Config
from webhook.engine.receive import receive
from webhook.engine.services import Services
from webhook.errors import Conflict, RetryAt
from webhook.gates import GATES
from webhook.gates.contract import Gates
from webhook.store import deliveries, schedule
from webhook.store.deliveries import Received
from webhook.store.schedule import Due, Finished, Key, Kind
from webhook.worker import follow, open_services

T = TypeVar("T")

START = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
# Anything else that is requested stays in the schedule.
_WORKED: Mapping[Kind, int] = {
    ("receive", True): 100,
    ("advance", True): 100,
    ("advance", False): 100,
}
_NOTHING: Mapping[Kind, int] = {}


@dataclass
class StandingClock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Tool:
    """Runs that end when the test says so. `on_start`: before a run is started. `appears_within`:
    as its handler has it. `kills`: the worker that calls it, once, and when. `lost`: runs that it
    does not know any more."""

    appears_within: timedelta = timedelta(0)
    kills: str = ""
    lost: set[int] = field(default_factory=set)
    runs: dict[int, Run] = field(default_factory=dict)
    started: list[int] = field(default_factory=list)
    of: dict[int, Deployment] = field(default_factory=dict)
    on_start: Callable[[Deployment], None] = lambda _: None

    def clear(self) -> None:
        for one in (self.runs, self.started, self.of, self.lost):
            one.clear()

    def maybe_kill(self, when: str) -> None:
        if self.kills == when:
            self.kills = ""
            raise Killed

    def running(self) -> list[Deployment]:
        return [self.of[id_] for id_, run in self.runs.items() if not run.state.final]

    def end(self, deployment_id: int, state: State) -> None:
        self.runs[deployment_id] = replace(self.runs[deployment_id], state=state)


class ByHandOptions(Options):
    native: bool = False

    @property
    def starts_by_itself(self) -> bool:
        return self.native


def handler_of(tool: Tool) -> type[Handler]:
    class ByHand:
        Options: ClassVar[type[Options]] = ByHandOptions
        local: ClassVar[bool] = False
        # Of its end the relay hears at once, so that nothing depends on polling.
        pace: ClassVar[Pace] = Pace(least=600, most=600)
        appears_within: ClassVar[timedelta] = tool.appears_within

        def __init__(self, options: Any, context: HandlerContext) -> None:
            pass

        async def find(self, deployment: Deployment) -> Run | None:
            await asyncio.sleep(0)
            return tool.runs.get(deployment.id)

        async def start(self, deployment: Deployment) -> Run:
            tool.maybe_kill("before a start")
            tool.on_start(deployment)
            tool.started.append(deployment.id)
            tool.of[deployment.id] = deployment
            run = tool.runs[deployment.id] = Run(str(deployment.id), State.IN_PROGRESS)
            tool.maybe_kill("after a start")
            await asyncio.sleep(0)
            return run

        async def check(self, deployment: Deployment, run: Run) -> Run:
            await asyncio.sleep(0)
            if deployment.id in tool.lost:
                raise Rejected("The tool does not know this run")
            return tool.runs[deployment.id]

        async def cancel(self, deployment: Deployment, run: Run) -> None:
            await asyncio.sleep(0)
            if not tool.runs[deployment.id].state.final:
                tool.end(deployment.id, State.ERROR)

    return ByHand


@dataclass
class Engine:
    """`config` is what its workers have read."""

    services: Services
    sandbox: Sandbox
    tool: Tool
    clock: StandingClock
    load: Callable[[str], Config]

    async def ask(self, repo: str, environment: str, ref: str = "main", **fields: Any) -> OnGitHub:
        """Somebody creates a deployment on GitHub, and its event is stored."""
        github = self.sandbox.github
        created = await github.create_deployment(
            repo, ref, environment=environment, required_contexts=[], auto_merge=False, **fields
        )
        await self.deliver("deployment", github.events.deployment(created))
        return created

    async def report(self, deployment_id: int, state: str) -> None:
        """Somebody who may push says on GitHub how it is."""
        github = self.sandbox.github
        status = await github.create_status(deployment_id, state)
        document = github.events.deployment_status(github.deployments[deployment_id], status)
        await self.deliver("deployment_status", document)

    async def deliver(self, event: str, document: Mapping[str, object]) -> None:
        body = deliveries.compressed(encoded(document))
        async with self.services.pool.connection() as connection:
            received = Received(HOOK_ID, str(uuid.uuid4()), event, body)
            await deliveries.insert(connection, [received])

    async def end(self, deployment_id: int, state: State = State.SUCCESS) -> None:
        """Its run ends, and says so."""
        self.tool.end(deployment_id, state)
        await self.request(deployment_id)

    async def request(self, *deployment_ids: int) -> None:
        async with self.services.pool.connection() as connection:
            await schedule.request(connection, [Key("advance", one) for one in deployment_ids])

    async def execute(self, statement: str, *values: Any) -> None:
        async with self.services.pool.connection() as connection:
            await connection.execute(statement, values)

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        async with self.services.pool.connection() as connection:
            return await (await connection.execute(query, values)).fetchall()

    async def is_blocked(self) -> bool:
        """Somebody waits for a lock in PostgreSQL."""
        return bool(await self.rows("select from pg_locks where not granted"))

    async def phase(self, deployment_id: int) -> str:
        [row] = await self.rows("select phase from deployments where id = %s", deployment_id)
        return str(row["phase"])

    async def pass_time(self, span: timedelta) -> None:
        """For the relay and for PostgreSQL."""
        self.clock.now += span
        await self.execute("update schedule set due_at = due_at - %s", span)

    async def settle(self, worker: "ByHandWorker | None" = None) -> None:
        """A worker does what is due, until nothing is."""
        worker = worker or ByHandWorker(self)
        while await worker.work():
            pass


@dataclass
class ByHandWorker:
    """`order`: in which it does what it claims; None: all at once. `killed_after`: so many times
    that it waits for something, in what it does first. `rest`: there, too."""

    engine: Engine
    order: random.Random | None = None
    killed_after: int | None = None
    rest: "Rest | None" = None
    name: str = "worker"

    async def work(self) -> bool:
        """What it claims at once; False: nothing was due. Raises `Killed`."""
        finished: list[Finished] = []
        claimed = await self._exchange(finished)
        if self.order is None:
            finished = await _together([self._do(due) for due in claimed])
        else:
            self.order.shuffle(claimed)
            finished = [await self._do(due) for due in claimed]
        if finished:
            await self._exchange(finished, claims=False)
        return bool(finished)

    async def advance(self, *deployment_ids: int) -> None:
        """At once, whoever else is at them."""
        await asyncio.gather(*(self._do(_advance(one)) for one in deployment_ids))

    async def _exchange(self, finished: Sequence[Finished], *, claims: bool = True) -> list[Due]:
        async with self.engine.services.pool.connection() as connection:
            done = await schedule.exchange(
                connection,
                finished,
                _WORKED if claims else _NOTHING,
                worker=self.name,
                machine_id="",
                lasts=timedelta(hours=1),
                now=self.engine.clock(),
            )
        if unrecorded := [one for one in finished if one.due.key in done.unrecorded]:
            await asyncio.sleep(0.002)  # somebody has these locked
            await self._exchange(unrecorded, claims=False)
        return sorted(done.claimed, key=lambda due: (due.task, due.subject))

    async def _do(self, due: Due) -> Finished:
        """As the dispatcher does it."""
        job = receive if due.task == "receive" else follow
        work: Coroutine[Any, Any, None] = job(self.engine.services, due.subject)
        if self.killed_after is not None:
            work, self.killed_after = killed(work, self.killed_after), None
        elif self.rest is not None:
            work, self.rest = self.rest.taken(work), None
        try:
            await work
        except RetryAt as wait:
            return Finished(due=due, again=wait.at, urgent=wait.urgent)
        except Conflict:
            return Finished(due=due, again=self.engine.clock(), urgent=due.urgent)
        return Finished(due=due)

    async def gone(self) -> None:
        """Its claims end, after it was killed."""
        await self.engine.execute(
            "update schedule set due_at = now() where claimed_by = %s", self.name
        )


async def _together(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """A process that is killed has none that goes on."""
    tasks = [asyncio.ensure_future(one) for one in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _advance(deployment_id: int) -> Due:
    return Due(task="advance", subject=deployment_id, detail="", wanted=1, urgent=True, attempts=0)


class Killed(asyncio.CancelledError):
    """psycopg gives a connection up then, as PostgreSQL does when a process dies."""


@types.coroutine
def killed(work: Coroutine[Any, Any, None], after: int) -> Generator[Any, Any, None]:
    """Ends it where it waits for the store, GitHub or the tool for the n-th time, unless it has
    ended before: a connection that is given back at that moment does not pass the end on."""
    try:
        for _ in range(after):
            yield work.send(None)
        awaited = work.throw(Killed())
        while True:
            yield awaited
            awaited = work.send(None)
    except StopIteration:
        return


@dataclass
class Rest:
    """Of a worker, once it has waited `after` times for the store, GitHub or the tool; until it
    is to `go_on`. `begun`: it rests, or has ended before."""

    after: int
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    @types.coroutine
    def taken(self, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        try:
            for _ in range(self.after):
                yield work.send(None)
            self.begun.set()
            yield from self.go_on.wait().__await__()
            while True:
                yield work.send(None)
        except StopIteration:
            pass
        finally:
            self.ended = True
            self.begun.set()


@contextlib.asynccontextmanager
async def engine_by_hand(
    store_url: str,
    folder: Path,
    deploy_yml: str,
    *,
    gates: Gates = GATES,
    repos: Sequence[str] = (REPOSITORY,),
    tool: Tool | None = None,
) -> AsyncIterator[Engine]:
    """`deploy_yml`: with the handler `by-hand`. `repos`: those where the App is installed."""
    tool, clock = tool or Tool(), StandingClock()

    def load_config(text: str) -> Config:
        return load.load(
            text,
            source="deploy.yml",
            environ={},
            handler_options={"by-hand": ByHandOptions},
            gates=tuple(gates.values()),
        )

    sandbox = Sandbox()
    sandbox.github.rate_limits.per_hour = 10**9
    sandbox.github.add_installation("acme", repos)
    file = folder / "deploy.yml"
    file.write_text("envs: [{name: x, handler: command, with: {run: ['true']}}]")
    async with sandbox:
        environ = sandbox.environ(folder, file, port=1)
        sandbox.github.webhook_url = ""
        setup = replace(startup.set_up(environ), config=load_config(deploy_yml))
        handlers: Mapping[str, type[Handler]] = {"by-hand": handler_of(tool)}
        async with open_services(
            setup, store_url, actions={}, handlers=handlers, gates=gates
        ) as services:
            logs.set_up(setup.secrets, log := io.StringIO())
            # GitHub's clock is right, whatever time it is for the relay.
            by_hand = replace(services, clock=clock)
            yield Engine(by_hand, sandbox, tool, clock, load_config)
            sys.stderr.write(log.getvalue()[-20_000:])

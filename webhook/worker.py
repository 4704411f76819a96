"""The worker process: what it works with, and which job does what."""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

import aiohttp
import psycopg
import structlog

from handlers import HANDLERS
from handlers.contract import Handler, HandlerContext
from handlers.http import Http
from webhook import __version__, logs, memory
from webhook.config.environments import Config
from webhook.deployments.actions import OfferedAction
from webhook.engine import automatic
from webhook.engine.advance import advance
from webhook.engine.announcements import announce
from webhook.engine.configs import Configs, Hiding
from webhook.engine.delivery_requests import redeliver_requested, replay
from webhook.engine.doubts import Doubts
from webhook.engine.ends import check_ended
from webhook.engine.file_checks import check_file
from webhook.engine.freezes import FreezeAnnouncements
from webhook.engine.gates import ask_all
from webhook.engine.installations import resume_installation
from webhook.engine.locks import remind_of_lock
from webhook.engine.notify import notify
from webhook.engine.outages import Outages
from webhook.engine.protection_rules import reject_rule
from webhook.engine.receive import receive
from webhook.engine.recovery import recover
from webhook.engine.retention import Retention
from webhook.engine.services import Comparisons, Services
from webhook.engine.statuses import send_statuses
from webhook.engine.unreceived import list_deployments
from webhook.errors import RetryAt
from webhook.gates import GATES
from webhook.gates.contract import Gates
from webhook.github.client import GitHub, ToolsGitHub
from webhook.jobs import lease
from webhook.jobs.dispatcher import Dispatcher, Job
from webhook.jobs.pacing import Pacing
from webhook.jobs.rescue import Rescue
from webhook.logs import Redactor
from webhook.notifiers import NOTIFIERS
from webhook.notifiers.contract import NotifierContext
from webhook.notifiers.slack import SlackRoom
from webhook.security.cipher import Cipher
from webhook.security.signing import Links, ReportTokens
from webhook.sessions import closed_session, open_session
from webhook.slack.actions.run import run_action
from webhook.slack.actions.services import ActionServices
from webhook.slack.identity import Caches, People
from webhook.slack.rate_limit import RateLimit
from webhook.slack.response_url import Replies
from webhook.slack.workspaces import Workspaces
from webhook.startup import Setup, parse_config
from webhook.store import database, deployments, recovery, restores
from webhook.store.database import AsyncPool
from webhook.store.recovery import RECOVER
from webhook.store.restores import Restore
from webhook.store.schedule import Task
from webhook.store.unreceived import LIST_DEPLOYMENTS
from webhook.store.workers import WorkerProcess
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now

log = structlog.get_logger()

CONNECTIONS = 6
# Seconds in which a worker without memory may come to its end by itself.
LEFT_WITHOUT_MEMORY = 15


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is open as long as the worker runs."""

    setup: Setup
    pool: AsyncPool
    http: aiohttp.ClientSession
    timing: Timing
    clock: Clock
    restored: Restore | None = None

    def services(
        self,
        handlers: Mapping[str, type[Handler]],
        gates: Gates,
        actions: Mapping[str, OfferedAction],
    ) -> ActionServices:
        setup, timing, clock = self.setup, self.timing, self.clock
        settings, keys = setup.settings, setup.secret_keys
        doubts = Doubts(self.pool, timing)
        on_unreachable = partial(doubts.add, "GitHub could not be reached")
        github = GitHub(settings, self.http, clock, self._set_installation, on_unreachable)
        people = self._people(github)
        redactor, tools = Redactor(setup.secrets), Http(self.http, secrets=setup.secrets)
        hiding = (redactor.hide, logs.redactor.hide, tools.hide)
        return ActionServices(
            config=setup.config,
            configs=self._configs(handlers, gates, hiding),
            keep=settings.keep,
            pool=self.pool,
            github=github,
            slack=people.slack,
            people=people,
            notifiers={
                name: notifier
                for name, notifier in NOTIFIERS.items()
                if name != "slack" or people.slack is not None
            },
            notifier_context=self._notifier_context(people),
            replies=Replies(settings.slack.base_url, self.http, clock),
            admins=settings.admins,
            actions_enabled=settings.slack.actions_enabled,
            actions=actions,
            links=Links(settings.server_url, keys, clock),
            report_tokens=ReportTokens(settings.server_url, keys, clock),
            handler_context=self._handler_context(github, tools),
            redactor=redactor,
            machine_id=setup.machine_id,
            timing=timing,
            clock=clock,
            opened_at=clock(),
            handlers=handlers,
            gates=gates,
            comparisons=Comparisons.none_failed(timing, clock),
            pacing=Pacing(timing),
            outages=Outages.none(self.pool, timing, clock),
            restored=self.restored,
            pulls=settings.deliveries == "pull",
            doubts=doubts,
        )

    def _configs(
        self, handlers: Mapping[str, type[Handler]], gates: Gates, hiding: Hiding
    ) -> Configs:
        source, environ = self.setup.config.source, self.setup.environ

        def parse(text: str) -> Config:
            return parse_config(text, source, environ, handlers=handlers, gates=gates)

        return Configs(self.pool, Cipher(self.setup.secret_keys), parse, hiding)

    async def _set_installation(self, repo_id: int, installation_id: int) -> None:
        async with self.pool.connection() as connection:
            await deployments.set_installation(connection, [repo_id], installation_id)

    def _people(self, github: GitHub) -> People:
        timing, clock, settings = self.timing, self.clock, self.setup.settings.slack
        slack = None
        if settings.used:
            cipher = Cipher(self.setup.secret_keys)
            slack = Workspaces(settings, self.http, self.pool, cipher, timing=timing, clock=clock)
        return People(
            config=self.setup.config,
            slack=slack,
            github=github,
            caches=Caches.empty(timing, clock),
            timing=timing,
        )

    def _notifier_context(self, people: People) -> NotifierContext:
        rooms: dict[str, Any] = {}
        if people.slack is not None:
            rooms["slack"] = SlackRoom(
                workspaces=people.slack,
                people=people,
                pool=self.pool,
                rate_limit=RateLimit(self.pool, self.timing, self.clock),
            )
        server_url = self.setup.settings.server_url
        return NotifierContext(http=self.http, server_url=server_url, clock=self.clock, rooms=rooms)

    def _handler_context(self, github: GitHub, http: Http) -> HandlerContext:
        setup = self.setup
        return HandlerContext(
            data_dir=setup.settings.data_dir,
            environ=setup.environ,
            secrets=setup.secrets,
            http=http,
            github=ToolsGitHub(github),
            clock=self.clock,
            require_claim=lease.require,
        )


@asynccontextmanager
async def open_services(
    setup: Setup,
    url: str,
    *,
    actions: Mapping[str, OfferedAction],
    timing: Timing = DEFAULT_TIMING,
    clock: Clock = utc_now,
    handlers: Mapping[str, type[Handler]] = HANDLERS,
    gates: Gates = GATES,
) -> AsyncIterator[ActionServices]:
    """What the jobs work with, for as long as the block lasts."""
    async with (
        database.async_pool(url, CONNECTIONS, timing) as pool,
        open_session(lease.require) as http,
    ):
        async with pool.connection() as connection:
            restored = await restores.newest(connection)
        parts = _Parts(setup, pool, http, timing, clock, restored)
        yield parts.services(handlers, gates, actions)


@asynccontextmanager
async def open_simulation(
    setup: Setup,
    url: str,
    *,
    actions: Mapping[str, OfferedAction],
    clock: Clock = utc_now,
    gates: Gates = GATES,
) -> AsyncIterator[Services]:
    """The same for what must have no effect: PostgreSQL refuses to write anything, nobody is
    called, and it is the same moment all the while. Secrets are hidden in other spellings, too."""
    now = clock()
    spellings = {form for secret in setup.secrets for form in _spellings(secret)}
    async with (
        database.async_pool(url, CONNECTIONS, read_only=True) as pool,
        closed_session() as http,
    ):
        parts = _Parts(setup, pool, http, DEFAULT_TIMING, lambda: now)
        services = parts.services(HANDLERS, gates, actions)
        yield replace(services, redactor=Redactor(spellings))


def _spellings(secret: str) -> tuple[str, ...]:
    """In an address, and in JSON."""
    return secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]


async def follow(services: Services, deployment_id: int) -> None:
    """Check it, and again later until it is over."""
    again = await advance(services, deployment_id)
    if again is not None:
        raise RetryAt("checked again later", again.at, urgent=again.is_deadline)


def _jobs(services: ActionServices) -> Mapping[Task, Job]:
    return {
        "receive": lambda due: receive(services, due.subject),
        "advance": lambda due: follow(services, due.subject),
        "send_statuses": lambda due: send_statuses(services, due.subject),
        "notify": lambda due: notify(services, due.subject, due.detail),
        "run_action": lambda due: run_action(services, due.subject),
        "reject_rule": lambda due: reject_rule(services, due.subject),
        "announce": lambda due: announce(services, due.subject, due.detail),
        "deploy_automatically": lambda due: automatic.deploy_automatically(services, due.subject),
        "resume_installation": lambda due: resume_installation(services, due.subject, due.detail),
        "remind_of_lock": lambda due: remind_of_lock(services, due.subject),
        "check_file": lambda due: check_file(services, due.subject),
        "recover": lambda _: recover(services),
        "list_deployments": lambda _: list_deployments(services),
        "replay": lambda due: replay(services, due.subject),
        "redeliver": lambda due: redeliver_requested(services, due.subject),
    }


async def _ask_all(services: Services) -> None:
    """deploy.yml may say something else now. Who is not asked at once is asked a minute later; its
    text, which what begins from now on keeps, is kept again by `Retention`."""
    try:
        await services.configs.keep(services.config)
        await ask_all(services)
        await automatic.ask_all(services)
    except (psycopg.Error, OSError) as error:
        log.warning("what waits was not asked at once", error=str(error))


async def _recover(services: Services, dispatcher: Dispatcher) -> None:
    """Whatever was sent while no worker ran; and once more a little later, as web processes that
    start with it may take deliveries after it has asked only."""
    try:
        await dispatcher.request([RECOVER, LIST_DEPLOYMENTS])
        async with services.pool.connection() as connection:
            after = services.timing.deliveries_compared_after_doubt
            await recovery.doubt(connection, "a worker has just started", after)
    except (psycopg.Error, OSError):
        services.doubts.add("a worker could not reach the store")


async def work(services: ActionServices, url: str, stop: asyncio.Event) -> None:
    """Work until `stop` is set. What is under way is finished then; runs of tools continue. `url`:
    of the store."""
    process = WorkerProcess(
        id=secrets.token_hex(8),
        machine_id=services.machine_id,
        config_digest=services.config.digest,
        version=__version__,
    )
    rescue = Rescue(services.pool, process, services.timing, services.pacing)
    dispatcher = Dispatcher(
        url=url,
        worker=process,
        jobs=_jobs(services),
        pool=services.pool,
        timing=services.timing,
        clock=services.clock,
        on_store_away=partial(services.doubts.add, "a worker could not reach the store"),
    )
    dispatching = asyncio.create_task(dispatcher.run())
    beside = [
        asyncio.create_task(rescue.run_forever()),
        asyncio.create_task(Retention(services).run_forever()),
        asyncio.create_task(FreezeAnnouncements(services).run_forever()),
        asyncio.create_task(check_ended(services, dispatcher.request)),
        asyncio.create_task(services.doubts.run_forever()),
    ]
    await _ask_all(services)
    await _recover(services, dispatcher)
    stopped = asyncio.create_task(stop.wait())
    exhausted = asyncio.create_task(memory.exhausted())
    try:
        await asyncio.wait([stopped, dispatching, exhausted], return_when=asyncio.FIRST_COMPLETED)
        if exhausted.done():
            signal.alarm(LEFT_WITHOUT_MEMORY)  # which ends it, whatever else fails
        dispatcher.stop()
        await dispatching
    finally:
        for task in (stopped, dispatching, *beside):
            task.cancel()
        await rescue.end()
        if exhausted.done():
            log.error("out of memory, this worker ends", error=memory.MESSAGE)
            os._exit(1)  # all else that ends a process needs some
        exhausted.cancel()

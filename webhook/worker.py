"""The worker process: Procrastinate's worker with the relay's tasks.

A worker that dies leaves its jobs as `doing`; another one, or the same one after a restart, retries
them (webhook.jobs.rescue) when its heartbeat is older than `Timing.worker_stalled_after`.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.worker import Worker

from handlers import HANDLERS
from handlers.contract import Handler, HandlerContext
from handlers.http import Http
from webhook import __version__
from webhook.deployments.actions import OfferedAction
from webhook.engine.advance import advance
from webhook.engine.installations import resume_installation
from webhook.engine.notify import notify
from webhook.engine.receive import receive
from webhook.engine.retention import Retention
from webhook.engine.services import Comparisons, Services
from webhook.engine.statuses import send_statuses
from webhook.engine.transitions import take_reports
from webhook.errors import Conflict, RetryAt
from webhook.github.client import GitHub, ToolsGitHub
from webhook.jobs.queue import Queue, RetryPolicy
from webhook.jobs.rescue import Rescue
from webhook.logs import Redactor
from webhook.notifiers import NOTIFIERS
from webhook.notifiers.contract import NotifierContext
from webhook.notifiers.slack import SlackRoom
from webhook.security.cipher import Cipher
from webhook.security.signing import Links, ReportTokens
from webhook.sessions import open_session
from webhook.slack.actions.run import run_action
from webhook.slack.actions.services import ActionServices
from webhook.slack.identity import Caches, People
from webhook.slack.rate_limit import RateLimit
from webhook.slack.response_url import Replies
from webhook.slack.workspaces import Workspaces
from webhook.startup import Setup
from webhook.store import database, deployments
from webhook.store.database import AsyncPool
from webhook.store.machines import DEFAULT_QUEUE, machine_queue
from webhook.store.workers import WorkerProcess
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now

log = structlog.get_logger()

# Jobs that one worker does at a time; each holds a connection only now and then.
CONCURRENCY = 20
CONNECTIONS = 6
QUEUE_CONNECTIONS = 3


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is open as long as the worker runs."""

    setup: Setup
    pool: AsyncPool
    queue: Queue
    http: aiohttp.ClientSession
    timing: Timing
    clock: Clock

    def services(
        self, handlers: Mapping[str, type[Handler]], actions: Mapping[str, OfferedAction]
    ) -> ActionServices:
        setup, timing, clock = self.setup, self.timing, self.clock
        settings, keys = setup.settings, setup.secret_keys
        github = GitHub(settings, self.http, clock, self._set_installation)
        people = self._people(github)
        return ActionServices(
            config=setup.config,
            keep=settings.keep,
            pool=self.pool,
            queue=self.queue,
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
            actions_enabled=settings.slack.actions_enabled,
            actions=actions,
            links=Links(settings.server_url, keys, clock),
            report_tokens=ReportTokens(settings.server_url, keys, clock),
            handler_context=self._handler_context(github),
            redactor=Redactor(setup.secrets),
            machine_id=setup.machine_id,
            timing=timing,
            clock=clock,
            opened_at=clock(),
            handlers=handlers,
            comparisons=Comparisons.none_failed(timing, clock),
        )

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

    def _handler_context(self, github: GitHub) -> HandlerContext:
        setup = self.setup
        return HandlerContext(
            data_dir=setup.settings.data_dir,
            environ=setup.environ,
            secrets=setup.secrets,
            http=Http(self.http, secrets=setup.secrets),
            github=ToolsGitHub(github),
            clock=self.clock,
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
) -> AsyncIterator[ActionServices]:
    """What the jobs work with, for as long as the block lasts."""
    connector = PsycopgConnector(
        conninfo=url, min_size=1, max_size=QUEUE_CONNECTIONS, **database.queue_pool(timing)
    )
    queue = Queue(connector)
    async with (
        database.async_pool(url, CONNECTIONS, timing) as pool,
        queue.app.open_async(),
        open_session() as http,
    ):
        yield _Parts(setup, pool, queue, http, timing, clock).services(handlers, actions)


async def follow(services: Services, deployment_id: int) -> None:
    at = await advance(services, deployment_id)
    if at is not None:
        raise RetryAt("checked again later", at)


async def check_once(services: Services, deployment_id: int) -> None:
    await advance(services, deployment_id)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "receive": receive,
    "advance": follow,
    "nudge": check_once,
    "take_reports": take_reports,
    "send_statuses": send_statuses,
    "resume_installation": resume_installation,
    "notify": notify,
    "run_action": run_action,
}


def register_tasks(app: App, timing: Timing, clock: Clock) -> None:
    policy = RetryPolicy(timing, clock)
    for name, job in TASKS.items():
        app.task(name=name, retry=policy, pass_context=True)(_with_services(job))


def _with_services(job: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run(context: JobContext, **arguments: Any) -> None:
        await job(context.additional_context["services"], **arguments)

    return run


async def work(services: ActionServices, stop: asyncio.Event) -> None:
    """Work until `stop` is set. Jobs under way are finished then; runs of tools continue.

    If the store goes away, Procrastinate's worker ends; it is started again until it is back.
    """
    register_tasks(services.queue.app, services.timing, services.clock)
    process = WorkerProcess(
        id=secrets.token_hex(8),
        machine_id=services.machine_id,
        config_digest=services.config.digest,
        version=__version__,
    )
    rescue = Rescue(services.pool, services.queue, process, services.timing, services.clock)
    rescuing = asyncio.create_task(rescue.run_forever())
    deleting = asyncio.create_task(Retention(services).run_forever())
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            working = asyncio.create_task(_work(services, rescue))
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                working.cancel()  # which lets it finish what is under way
            [ended] = await asyncio.gather(working, return_exceptions=True)
            if not stop.is_set():
                log.warning("worker interrupted, restarting it in a second", error=str(ended or ""))
                await asyncio.sleep(services.timing.worker_restart_pause.total_seconds())
    finally:
        rescuing.cancel()
        deleting.cancel()
        stopping.cancel()
        await rescue.end()


async def _work(services: ActionServices, rescue: Rescue) -> None:
    timing = services.timing
    await services.queue.app.run_worker_async(
        queues=[DEFAULT_QUEUE, machine_queue(services.machine_id)],
        concurrency=CONCURRENCY,
        fetch_job_polling_interval=timing.job_poll_interval.total_seconds(),
        update_heartbeat_interval=timing.worker_heartbeat.total_seconds(),
        stalled_worker_timeout=timing.worker_stalled_after.total_seconds(),
        shutdown_graceful_timeout=timing.shutdown_within.total_seconds(),
        delete_jobs="successful",
        additional_context={"services": services},
        install_signal_handlers=False,
        task_middleware=[rescue.track, _logged],
    )


async def _logged(call: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker) -> Any:
    """Each log line of a job names the job and its deployment; unexpected errors have a trace."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        job=context.job.task_name, deployment=context.job.task_kwargs.get("deployment_id")
    )
    try:
        return await call()
    except (RetryAt, Conflict, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("job failed, will be retried", attempts=context.job.attempts)
        raise

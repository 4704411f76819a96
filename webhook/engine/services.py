"""What every job needs, opened once a worker."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog
from procrastinate import PsycopgConnector

from handlers import HANDLERS
from handlers.contract import Deployment, Handler, HandlerContext
from handlers.http import Http
from webhook.config.destinations import Target, targets_of
from webhook.config.environments import Config, Environment
from webhook.config.routing import route
from webhook.deployments.actions import OfferedAction
from webhook.engine.cache import Caches
from webhook.github.client import TIMEOUT, GitHub, ToolsGitHub
from webhook.github.tokens import Scope
from webhook.jobs.queue import Queue
from webhook.logs import Redactor
from webhook.notifiers import NOTIFIERS
from webhook.notifiers.contract import Notifier, NotifierContext
from webhook.notifiers.slack import SlackRoom
from webhook.security.cipher import Cipher
from webhook.security.links import Links
from webhook.security.report_tokens import ReportTokens
from webhook.slack.identity import IdentityCache, People
from webhook.slack.rate_limit import RateLimit
from webhook.slack.response_url import Replies
from webhook.slack.workspaces import Workspaces
from webhook.startup import Setup
from webhook.store import database, deployments, outbox
from webhook.store.database import Async, AsyncPool
from webhook.store.deployments import DeploymentRow
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now

# Jobs that one worker does at a time; each holds a connection only now and then.
CONCURRENCY = 20
CONNECTIONS = 6
QUEUE_CONNECTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """`machine_id` names this machine's data directory, on which commands run. `actions_enabled`:
    people can request `actions` in Slack. `notifiers`: those that the settings let work."""

    config: Config
    pool: AsyncPool
    queue: Queue
    github: GitHub
    slack: Workspaces | None
    people: People
    notifiers: Mapping[str, type[Notifier]]
    notifier_context: NotifierContext
    replies: Replies
    actions_enabled: bool
    actions: Mapping[str, OfferedAction]
    links: Links
    report_tokens: ReportTokens
    handler_context: HandlerContext
    redactor: Redactor
    machine_id: str
    timing: Timing
    clock: Clock
    handlers: Mapping[str, type[Handler]]
    caches: Caches

    def handler(self, environment: Environment) -> Handler:
        return self.handlers[environment.handler](environment.options, self.handler_context)

    def as_contract(self, row: DeploymentRow, environment: Environment) -> Deployment:
        """The deployment as its handler sees it."""
        deadline = row.deadline or self.clock() + environment.timeout
        return Deployment(
            id=row.id,
            repo=row.repo,
            repo_id=row.repo_id,
            installation_id=row.installation_id,
            environment=row.environment,
            ref=row.ref,
            sha=row.sha,
            task=row.task,
            creator=row.creator,
            payload=row.payload,
            created_at=row.created_at,
            timeout=environment.timeout,
            deadline=deadline,
            report=self.report_tokens.credentials(row.repo, row.id, row.environment, deadline),
        )

    def notifier(self, target: Target) -> Notifier:
        return self.notifiers[target.notifier](target.destination, self.notifier_context)

    def targets(self, row: DeploymentRow) -> list[Target]:
        """Where deploy.yml wants it to be heard of."""
        environment = route(self.config, row.repo, row.environment)
        if environment is None:
            return []
        found = targets_of(environment.destinations(), row.repo)
        return [target for target in found if target.notifier in self.notifiers]

    async def notify(self, connection: Async, row: DeploymentRow) -> None:
        """Have people hear of it, wherever it is to be heard; in the caller's transaction."""
        named = {target.name for target in self.targets(row)}
        for destination in sorted(named | await outbox.destinations_of(connection, row.id)):
            await self.queue.notify(connection, row.id, destination)

    async def notify_again(self, connection: Async, row: DeploymentRow) -> None:
        """Where it was heard of before; of what is over nobody else needs to hear."""
        for destination in sorted(await outbox.destinations_of(connection, row.id)):
            await self.queue.notify(connection, row.id, destination)

    async def read(self, deployment_id: int) -> DeploymentRow | None:
        async with self.pool.connection() as connection:
            return await deployments.read(connection, deployment_id)


def log_about(row: DeploymentRow) -> None:
    """What every log line of a job on this deployment carries."""
    structlog.contextvars.bind_contextvars(
        deployment=row.id, environment=row.environment, delivery=row.delivery
    )


def scope(row: DeploymentRow) -> Scope:
    """What the relay itself may do for a deployment: write its statuses."""
    return Scope(row.installation_id, row.repo, row.repo_id)


@asynccontextmanager
async def open_services(
    setup: Setup,
    url: str,
    *,
    actions: Mapping[str, OfferedAction],
    timing: Timing = DEFAULT_TIMING,
    clock: Clock = utc_now,
    handlers: Mapping[str, type[Handler]] = HANDLERS,
) -> AsyncIterator[Services]:
    settings = setup.settings
    connector = PsycopgConnector(
        conninfo=url, kwargs=database.LIVENESS, min_size=1, max_size=QUEUE_CONNECTIONS
    )
    queue = Queue(connector)
    async with (
        database.async_pool(url, CONNECTIONS, timing) as pool,
        queue.app.open_async(),
        aiohttp.ClientSession(
            timeout=TIMEOUT, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
        ) as session,
    ):
        github = GitHub(settings, session, clock)
        caches = Caches.empty(timing, clock)
        slack = None
        if settings.slack.used:
            cipher = Cipher(setup.secret_keys)
            slack = Workspaces(settings.slack, session, pool, cipher, timing=timing, clock=clock)
        people = People(
            config=setup.config,
            slack=slack,
            github=github,
            cache=IdentityCache.empty(timing, clock),
            timing=timing,
        )
        rooms: dict[str, Any] = {}
        if slack is not None:
            rooms["slack"] = SlackRoom(
                workspaces=slack,
                people=people,
                pool=pool,
                rate_limit=RateLimit(pool, timing, clock),
            )
        yield Services(
            config=setup.config,
            pool=pool,
            queue=queue,
            github=github,
            slack=slack,
            people=people,
            notifiers={
                name: notifier
                for name, notifier in NOTIFIERS.items()
                if name != "slack" or slack is not None
            },
            notifier_context=NotifierContext(
                http=session, server_url=settings.server_url, clock=clock, rooms=rooms
            ),
            replies=Replies(settings.slack.base_url, session, clock),
            actions_enabled=settings.slack.actions_enabled,
            actions=actions,
            links=Links(settings.server_url, setup.secret_keys, clock),
            report_tokens=ReportTokens(settings.server_url, setup.secret_keys, clock),
            handler_context=HandlerContext(
                data_dir=settings.data_dir,
                environ=setup.environ,
                secrets=setup.secrets,
                http=Http(session, secrets=setup.secrets),
                github=ToolsGitHub(github),
            ),
            redactor=Redactor(setup.secrets),
            machine_id=setup.machine_id,
            timing=timing,
            clock=clock,
            handlers=handlers,
            caches=caches,
        )

"""What every job needs; `webhook.worker` opens it once a process."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, Self

import structlog
from cachetools import LRUCache, TTLCache

from handlers.contract import Deployment, Handler, HandlerContext
from webhook.config.destinations import Target, targets_of
from webhook.config.environments import Config, Environment
from webhook.config.routing import route
from webhook.deployments.actions import OfferedAction
from webhook.deployments.changelog import Changelog
from webhook.deployments.phases import FAILED
from webhook.engine.configs import Configs
from webhook.engine.doubts import Doubts
from webhook.engine.outages import Outages
from webhook.gates.contract import Gates
from webhook.github.client import GitHub
from webhook.github.tokens import Scope
from webhook.jobs.pacing import Pacing
from webhook.logs import Redactor
from webhook.notifiers.contract import Notifier, NotifierContext
from webhook.security.signing import Links, ReportTokens
from webhook.settings import Retention
from webhook.store import deployments, schedule
from webhook.store.database import Async, AsyncPool
from webhook.store.deployments import DeploymentRow
from webhook.store.environments import EnvironmentKey
from webhook.store.repository_files import RepositoryFile
from webhook.store.restores import Restore
from webhook.store.schedule import Key
from webhook.timing import Clock, Timing

# What could not be compared lately, and comparisons at once, of one process.
MOST_CACHED = 10_000
MOST_COMPARISONS = 3
# Changelogs that no deployment keeps.
_MOST_KNOWN = 1000
# A repository's own deploy.yml at commits that are not deployed yet, of 64 KB at most each.
_MOST_FILES = 200


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Of two commits of a repository on GitHub. `failed` and `unknown` are not compared again for
    now: all of a repository, as GitHub is away; those of which GitHub does not know a commit.
    `known`: of those that no deployment keeps."""

    failed: TTLCache[int, bool, datetime]
    unknown: TTLCache[tuple[int, str, str], bool, datetime]
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_COMPARISONS))
    running: dict[tuple[int, str, str], "asyncio.Task[Changelog | None]"] = field(
        default_factory=dict
    )
    known: LRUCache[tuple[int, str, str], Changelog] = field(
        default_factory=lambda: LRUCache(_MOST_KNOWN)
    )

    @classmethod
    def none_failed(cls, timing: Timing, clock: Clock) -> Self:
        cached = timing.changelog_error_cached
        return cls(TTLCache(MOST_CACHED, cached, clock), TTLCache(MOST_CACHED, cached, clock))


class PolicyServices(Protocol):
    """What it takes to say what holds for an environment, and what a deployment would meet there.
    `Services` has it, and who only asks for that needs no more."""

    @property
    def config(self) -> Config: ...

    @property
    def pool(self) -> AsyncPool: ...

    @property
    def github(self) -> GitHub: ...

    @property
    def gates(self) -> Gates: ...

    @property
    def redactor(self) -> Redactor: ...

    @property
    def timing(self) -> Timing: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def commit_files(self) -> "LRUCache[tuple[int, str], RepositoryFile]": ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """`config`: deploy.yml as this process has read it; `configs`: those with which deployments
    began. `machine_id` names this machine's data directory, on which commands run.
    `actions_enabled`: people can request `actions`. `notifiers`: those that the settings
    let work. `pulls`: deliveries are fetched, as GitHub cannot reach the relay. `restored`: the
    newest restore of the store from a backup."""

    config: Config
    configs: Configs
    keep: Retention
    pool: AsyncPool
    github: GitHub
    notifiers: Mapping[str, type[Notifier]]
    notifier_context: NotifierContext
    actions_enabled: bool
    actions: Mapping[str, OfferedAction]
    links: Links
    report_tokens: ReportTokens
    handler_context: HandlerContext
    redactor: Redactor
    machine_id: str
    timing: Timing
    clock: Clock
    opened_at: datetime
    handlers: Mapping[str, type[Handler]]
    gates: Gates
    comparisons: Comparisons
    pacing: Pacing
    outages: Outages
    pulls: bool
    doubts: Doubts
    restored: Restore | None = None
    commit_files: LRUCache[tuple[int, str], RepositoryFile] = field(
        default_factory=lambda: LRUCache(_MOST_FILES)
    )

    async def begun_in(
        self, row: DeploymentRow, connection: Async | None = None
    ) -> Environment | None:
        """The environment with which it began; None: it has not, or that is not known any more, and
        it follows the present deploy.yml. `connection`: as for `Configs.load`."""
        digest = row.config_digest
        if row.started_at is None or not digest:
            return None
        own = digest == self.config.digest
        config = self.config if own else await self.configs.load(digest, connection)
        found = route(config, row.repo, row.environment) if config else None
        return found if found and row.handler in ("", found.handler) else None

    async def environment_of(self, connection: Async, row: DeploymentRow) -> Environment | None:
        """That with which it began, else that of the present deploy.yml."""
        begun = await self.begun_in(row, connection)
        return begun or route(self.config, row.repo, row.environment)

    def handler(self, environment: Environment) -> Handler:
        context, more = self.handler_context, self.configs.secrets
        if more:
            context = replace(context, secrets=context.secrets | more)
        return self.handlers[environment.handler](environment.options, context)

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
            ref_name=row.ref_name,
        )

    def precedes_restore(self, asked_at: datetime) -> bool:
        """Whether what was asked for then may have gone further than a restored store knows."""
        return self.restored is not None and not self.restored.precedes(asked_at)

    def notifier(self, target: Target) -> Notifier:
        return self.notifiers[target.notifier](target.destination, self.notifier_context)

    async def targets(self, connection: Async, row: DeploymentRow) -> list[Target]:
        """The destinations of its messages."""
        return self._targets(await self.environment_of(connection, row), row.repo)

    def _targets(self, environment: Environment | None, repo: str) -> list[Target]:
        targets = targets_of(environment.destinations(), repo) if environment else []
        return [target for target in targets if target.notifier in self.notifiers]

    def main_destinations(self, environments: Iterable[tuple[str, str]]) -> list[str]:
        """Names of those of main messages, of these environments: (repository, environment)."""
        every = (
            one
            for repo, name in environments
            for one in self._targets(route(self.config, repo, name), repo)
        )
        return list(dict.fromkeys(one.name for one in every if one.main))

    async def notify(
        self,
        connection: Async,
        row: DeploymentRow,
        *,
        also: Collection[Key] = (),
        ended_in: EnvironmentKey | None = None,
        chained_in: int = 0,
    ) -> None:
        """Each destination, once the caller's transaction has ended. `also`, `ended_in` and
        `chained_in`: what else to do, as for `schedule.request`."""
        targets = [
            one for one in await self.targets(connection, row) if one.main or row.phase in FAILED
        ]
        keys = [Key("notify", row.id, target.name) for target in targets]
        await schedule.request(
            connection,
            [*keys, *also],
            notified=[row.id],
            ended_in=ended_in,
            chained_in=chained_in,
        )

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

"""All that the page of an environment shows, as the store and deploy.yml have it at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from webhook.config.environments import Config, Environment
from webhook.config.locks import lock_error
from webhook.config.routing import route
from webhook.deployments.queue import Queued
from webhook.engine.policy import FilePolicy, policy_from
from webhook.gates.chains import promoted_to
from webhook.gates.chains import promotion_of as promotion_keys
from webhook.gates.contract import Upstream, keys_of
from webhook.gates.freeze import FreezeKeys, FrozenWindow
from webhook.gates.repository_file import tightens
from webhook.store import (
    deployment_order,
    environment_history,
    lineage,
    locks,
    promotions,
    queue,
    repository_files,
)
from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow, read_where_sync
from webhook.store.environment_history import History, HistoryFilter
from webhook.store.lineage import Lineage
from webhook.store.locks import LockRow
from webhook.store.promotions import Next
from webhook.store.repositories import KnownRepository
from webhook.store.repository_files import HEAD
from webhook.timing import DEFAULT_TIMING


@dataclass(frozen=True, slots=True)
class Where:
    """`name`: as deploy.yml spells the environment, else as its newest deployment does. `names`:
    all that the repository has had. `listed`: the environment of deploy.yml; None: there is none
    any more."""

    repository: KnownRepository
    name: str
    names: tuple[str, ...]
    listed: Environment | None

    @property
    def repo(self) -> str:
        return self.repository.name

    @property
    def repo_id(self) -> int:
        return self.repository.repo_id


@dataclass(frozen=True, slots=True)
class Chain:
    """`before`: of the environments that come first, what they have; `here`: of this one, None
    where it is in no chain; `after`: of those that come next."""

    before: tuple[Upstream, ...] = ()
    here: Next | None = None
    after: tuple[Next, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentData:
    """`live`: what is there; `newest`: what was begun last, whatever became of it. `back`: to what
    a rollback of that returns. `waiting`: rows of the queue. `policy`: None where deploy.yml has
    none; `file_read`: when the repository's own file was read."""

    where: Where
    live: DeploymentRow | None
    live_lineage: Lineage
    newest: DeploymentRow | None
    back: DeploymentRow | None
    history: History
    queue: tuple[Queued, ...]
    waiting: tuple[DeploymentRow, ...]
    locks: tuple[LockRow, ...]
    chain: Chain
    policy: FilePolicy | None
    file_read: datetime | None
    lock_error: str

    @property
    def can_roll_back(self) -> bool:
        """What was begun last has ended, and the relay can start what was there before."""
        return self.newest is not None and self.newest.phase.final and not self.newest.watched

    @property
    def frozen_windows(self) -> tuple[FrozenWindow, ...]:
        """Those that hold here."""
        if self.policy is None:
            return ()
        windows = keys_of(self.policy.environment, FreezeKeys).frozen_windows
        return tuple(one for one in windows if one.covers(self.where.names, self.where.name))


def find_where(
    connection: Sync, config: Config, repository: KnownRepository, environment: str
) -> Where | None:
    """None: neither deploy.yml nor the store knows such an environment."""
    listed = route(config, repository.name, environment)
    named = listed is not None and listed.name.lower() == environment.lower()
    if listed is not None and named:
        name = listed.name
    else:
        name = environment_history.spelling(connection, repository.repo_id, environment)
        if not name and listed is None:
            return None
    names = tuple(environment_history.names_of(connection, repository.repo_id))
    return Where(repository, name or environment, names or (repository.name,), listed)


def read_environment(
    connection: Sync,
    config: Config,
    where: Where,
    now: datetime,
    *,
    wanted: HistoryFilter,
    before: int = 0,
) -> EnvironmentData:
    """`wanted` and `before`: of the history."""
    repo_id, name = where.repo_id, where.name
    live = environment_history.newest_success(connection, repo_id, name)
    newest = environment_history.newest_begun(connection, repo_id, name)
    back = deployment_order.success_of_another_commit_sync(connection, newest) if newest else None
    queued = queue.of_environment(connection, repo_id, name)
    policy, file_read = read_policy(connection, where, now)
    return EnvironmentData(
        where=where,
        live=live,
        live_lineage=lineage.lineage_of(connection, live.id) if live else Lineage(),
        newest=newest,
        back=back,
        history=environment_history.history(connection, repo_id, name, wanted, before),
        queue=queued,
        waiting=tuple(_rows(connection, [one.deployment_id for one in queued])),
        locks=tuple(locks.active_in_sync(connection, repo_id, name, now)),
        policy=policy,
        file_read=file_read,
        lock_error=lock_error(config, where.repo, name) if where.listed else "",
        chain=_chain(connection, config, where, live),
    )


def read_policy(
    connection: Sync, where: Where, now: datetime
) -> tuple[FilePolicy | None, datetime | None]:
    """By the repository's own file as it was read last, and when that was."""
    if where.listed is None:
        return None, None
    kept = {}
    if tightens(where.listed):
        kept = dict(repository_files.read_sync(connection, where.repo_id))
    policy = policy_from(DEFAULT_TIMING, now, where.listed, where.name, kept)
    return policy, kept[HEAD].read_at if HEAD in kept else None


def _rows(connection: Sync, deployment_ids: Sequence[int]) -> list[DeploymentRow]:
    if not deployment_ids:
        return []
    return read_where_sync(connection, "id = any(%(ids)s)", {"ids": list(deployment_ids)})


def _chain(connection: Sync, config: Config, where: Where, live: DeploymentRow | None) -> Chain:
    names = promotion_keys(where.listed).after if where.listed else ()
    behind = [one.name for one in promoted_to(config, where.repo, where.name)]
    if not names and not behind:
        return Chain()
    before = promotions.newest_in_sync(connection, where.repo_id, names) if names else ()
    sha = live.sha if live else ""
    asked = [where.name, *behind]
    here, *after = promotions.next_in_sync(connection, where.repo_id, asked, sha)
    return Chain(before, here, tuple(after))

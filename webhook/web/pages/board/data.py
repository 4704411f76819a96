"""What the board reads: a few statements, however many repositories it shows."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from webhook.config.environments import Config, CurrentConfig, Environment
from webhook.config.routing import matches_any, route
from webhook.deployments.drift import Drift, Success, drift
from webhook.deployments.locks import Lock, covers
from webhook.deployments.models import is_production
from webhook.gates.contract import keys_of
from webhook.gates.freeze import FreezeKeys, FrozenWindow
from webhook.gates.stages import Stage, in_order, is_literal
from webhook.store import board
from webhook.store.board import BoardDeployment, InFlight
from webhook.store.database import Sync
from webhook.store.environments import EnvironmentKey
from webhook.store.repositories import KnownRepository

_MOST_ROUTES = 20_000


class Routes:
    """As `webhook.config.routing.route`, of the deploy.yml that is in use; kept, as a board asks it
    for all that it shows."""

    def __init__(self, current: CurrentConfig) -> None:
        self._current = current
        self._known: dict[tuple[str, str], Environment | None] = {}
        self._windows: dict[tuple[str, str], Sequence[FrozenWindow]] = {}
        self._config = current.config

    @property
    def config(self) -> Config:
        return self._config

    def renew(self) -> None:
        """deploy.yml may have been read again, and names come and go."""
        if self._config is not self._current.config or len(self._known) > _MOST_ROUTES:
            self._config, self._known, self._windows = self._current.config, {}, {}

    def __call__(self, repo: str, environment: str) -> Environment | None:
        key = repo, environment
        if key not in self._known:
            self._known[key] = route(self._config, repo, environment)
        return self._known[key]

    def windows(self, repo: str, environment: str) -> Sequence[FrozenWindow]:
        """Of deploy.yml, that cover it."""
        key, entry = (repo, environment), self(repo, environment)
        if key not in self._windows:
            given = keys_of(entry, FreezeKeys).frozen_windows if entry else ()
            self._windows[key] = [one for one in given if one.covers((repo,), environment)]
        return self._windows[key]

    def literal(self, repo: str) -> list[Environment]:
        """Those of deploy.yml that the repository has by their names."""
        return [
            one
            for one in self._config.envs
            if is_literal(one) and matches_any(one.repos, repo) and self(repo, one.name) is one
        ]


@dataclass(frozen=True, slots=True)
class Around:
    """What concerns all repositories that one may see: locks, and what waits or runs, the newest
    first."""

    locks: Sequence[Lock]
    every: Sequence[InFlight]
    in_flight: Mapping[EnvironmentKey, Sequence[InFlight]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentData:
    """`newest` and `live`: None where there is none. `drifts`: from those before it that have
    another commit; `same_as`: those that have the same."""

    stage: Stage
    newest: BoardDeployment | None
    live: BoardDeployment | None
    drifts: tuple[tuple[Drift, str], ...] = ()
    same_as: tuple[str, ...] = ()
    in_flight: tuple[InFlight, ...] = ()
    locks: tuple[Lock, ...] = ()


@dataclass(frozen=True, slots=True)
class RepositoryData:
    repo_id: int
    repo: str
    environments: Sequence[EnvironmentData]


@dataclass(slots=True)
class _Current:
    """What is known of one environment."""

    newest: BoardDeployment | None = None
    live: BoardDeployment | None = None


@dataclass(slots=True)
class _Repository:
    repo_id: int
    repo: str
    current: dict[str, _Current] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Pair:
    """What is live in an environment, and in one before it."""

    stage: Stage
    before: str
    here: BoardDeployment
    there: BoardDeployment

    @property
    def same(self) -> bool:
        return self.here.sha == self.there.sha


def around(connection: Sync, repo_ids: Collection[int], now: datetime) -> Around:
    every = board.in_flight(connection, repo_ids)
    in_flight: dict[EnvironmentKey, list[InFlight]] = {}
    for one in every:
        in_flight.setdefault(one.key, []).append(one)
    return Around(board.locks(connection, repo_ids, now), every, in_flight)


def read(
    connection: Sync,
    repositories: Sequence[KnownRepository],
    names: Collection[str],
    beside: Around,
    routes: Routes,
) -> list[RepositoryData]:
    """In that order. `names`: of environments that are looked for, besides those of deploy.yml."""
    literal = {one.name.lower() for one in routes.config.envs if is_literal(one)}
    ids = [one.repo_id for one in repositories]
    found = {one.repo_id: _Repository(one.repo_id, one.name) for one in repositories}
    for one in board.environments(connection, ids, {*literal, *names}):
        there = found[one.repo_id].current.setdefault(one.environment.lower(), _Current())
        there.newest = one if one.newest else there.newest
        there.live = one if one.live else there.live
    for repository in found.values():
        repository.stages = _stages(repository, routes)
    successes = board.successes(connection, [*_compared(found.values())])
    return [_data(one, successes, beside) for one in found.values()]


def _stages(repository: _Repository, routes: Routes) -> list[Stage]:
    deployed = [
        Stage(name=one.environment, production=one.production, transient=one.transient)
        for current in repository.current.values()
        if (one := current.newest or current.live)
    ]
    never = [
        Stage(name=one.name, production=is_production(one.name, one.production_environment))
        for one in routes.literal(repository.repo)
        if one.name.lower() not in repository.current
    ]
    return in_order(routes.config, repository.repo, [*deployed, *never], routes)


def _pairs(repository: _Repository) -> Iterator[_Pair]:
    for stage in repository.stages:
        here = repository.current.get(stage.name.lower(), _Current()).live
        for before in stage.before:
            there = repository.current.get(before.lower(), _Current()).live
            if here and there:
                yield _Pair(stage, before, here, there)


def _compared(repositories: Iterable[_Repository]) -> set[EnvironmentKey]:
    """Environments whose last successes may say how much those after them lack."""
    return {
        pair.there.key
        for repository in repositories
        for pair in _pairs(repository)
        if not pair.same and pair.there.compared_with != pair.here.sha
    }


def _data(
    repository: _Repository,
    successes: Mapping[EnvironmentKey, list[Success]],
    beside: Around,
) -> RepositoryData:
    pairs: dict[str, list[_Pair]] = {}
    for pair in _pairs(repository):
        pairs.setdefault(pair.stage.name, []).append(pair)
    locks = [one for one in beside.locks if one.repo_id in (0, repository.repo_id)]
    environments = []
    for stage in repository.stages:
        current = repository.current.get(stage.name.lower(), _Current())
        key = EnvironmentKey(repository.repo_id, stage.name.lower())
        compared = pairs.get(stage.name, [])
        data = EnvironmentData(
            stage=stage,
            newest=current.newest,
            live=current.live,
            drifts=tuple(_drift(one, current, successes) for one in compared if not one.same),
            same_as=tuple(one.before for one in compared if one.same),
            in_flight=tuple(beside.in_flight.get(key, ())),
            locks=tuple(one for one in locks if covers(one, repository.repo_id, stage.name)),
        )
        environments.append(data)
    return RepositoryData(repository.repo_id, repository.repo, environments)


def _drift(
    pair: _Pair, current: _Current, successes: Mapping[EnvironmentKey, list[Success]]
) -> tuple[Drift, str]:
    found = drift(
        pair.before,
        here=[pair.here.success],
        there=successes.get(pair.there.key) or [pair.there.success],
        others=[current.newest.success] if current.newest else (),
    )
    return found, pair.there.sha

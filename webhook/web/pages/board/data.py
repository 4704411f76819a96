"""What the board reads: a few statements, however many repositories it shows."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

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


class Routed(NamedTuple):
    """`entry`: of deploy.yml, which names it where `named`. `windows`: of deploy.yml, that cover
    it."""

    entry: Environment | None
    named: bool
    windows: Sequence[FrozenWindow]


# The name of an environment, whether it is production, and whether it is transient.
_Deployed: TypeAlias = tuple[str, bool, bool]


class _Kept:
    """What follows from one deploy.yml."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.routed: dict[tuple[str, str], Routed] = {}
        self.stages: dict[tuple[str, tuple[_Deployed, ...]], Sequence[Stage]] = {}


class Routes:
    """As `webhook.config.routing.route`, of the deploy.yml that is in use; kept, as a board asks it
    for all that it shows."""

    def __init__(self, current: CurrentConfig) -> None:
        self._current = current
        self._kept = _Kept(current.config)

    @property
    def config(self) -> Config:
        return self._kept.config

    def renew(self) -> None:
        """deploy.yml may have been read again, and names come and go."""
        kept = self._kept
        many = max(len(kept.routed), len(kept.stages)) > _MOST_ROUTES
        if many or kept.config is not self._current.config:
            self._kept = _Kept(self._current.config)

    def __call__(self, repo: str, environment: str) -> Environment | None:
        return self.routed(repo, environment).entry

    def routed(self, repo: str, environment: str) -> Routed:
        kept, key = self._kept, (repo, environment)
        if (known := kept.routed.get(key)) is None:
            known = kept.routed[key] = _routed(kept.config, repo, environment)
        return known

    def stages(self, repo: str, deployed: tuple[_Deployed, ...]) -> Sequence[Stage]:
        """In order: what was deployed to, and what deploy.yml gives the repository by its name."""
        kept, key = self._kept, (repo, deployed)
        if (known := kept.stages.get(key)) is None:
            known = kept.stages[key] = self._stages(kept.config, repo, deployed)
        return known

    def _stages(self, config: Config, repo: str, deployed: Sequence[_Deployed]) -> Sequence[Stage]:
        there = [
            Stage(name=name, production=production, transient=transient)
            for name, production, transient in deployed
        ]
        names = {one.name.lower() for one in there}
        never = [
            Stage(name=one.name, production=is_production(one.name, one.production_environment))
            for one in config.envs
            if is_literal(one)
            and one.name.lower() not in names
            and matches_any(one.repos, repo)
            and self(repo, one.name) is one
        ]
        return in_order(config, repo, [*there, *never], self)


def _routed(config: Config, repo: str, environment: str) -> Routed:
    entry = route(config, repo, environment)
    given = keys_of(entry, FreezeKeys).frozen_windows if entry else ()
    windows = [one for one in given if one.covers((repo,), environment)]
    return Routed(entry, entry is not None and is_literal(entry), windows)


@dataclass(frozen=True, slots=True)
class Activity:
    """What concerns all repositories that one may see: locks, and what waits or runs, the newest
    first."""

    locks: Sequence[Lock]
    every: Sequence[InFlight]
    in_flight: Mapping[EnvironmentKey, Sequence[InFlight]]


# A tuple, as a board compares each with what it was before.
class EnvironmentData(NamedTuple):
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
    stages: Sequence[Stage] = ()
    pairs: Sequence["_Pair"] = ()


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


def read_activity(connection: Sync, repo_ids: Collection[int], now: datetime) -> Activity:
    every = board.in_flight(connection, repo_ids)
    in_flight: dict[EnvironmentKey, list[InFlight]] = {}
    for one in every:
        in_flight.setdefault(one.key, []).append(one)
    return Activity(board.locks(connection, repo_ids, now), every, in_flight)


def read(
    connection: Sync,
    repositories: Sequence[KnownRepository],
    names: Collection[str],
    activity: Activity,
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
        repository.stages = routes.stages(repository.repo, _deployed(repository))
        for stage in repository.stages:
            repository.current.setdefault(stage.name.lower(), _Current())
        repository.pairs = list(_pairs(repository))
    successes = board.successes(connection, [*_compared(found.values())])
    return [_data(one, successes, activity) for one in found.values()]


def _deployed(repository: _Repository) -> tuple[_Deployed, ...]:
    return tuple(
        (one.environment, one.production, one.transient)
        for current in repository.current.values()
        if (one := current.newest or current.live)
    )


def _pairs(repository: _Repository) -> Iterator[_Pair]:
    for stage in repository.stages:
        here = repository.current[stage.name.lower()].live
        for before in stage.before:
            there = repository.current[before.lower()].live
            if here and there:
                yield _Pair(stage, before, here, there)


def _compared(repositories: Iterable[_Repository]) -> set[EnvironmentKey]:
    """Environments whose last successes may say how much those after them lack."""
    return {
        pair.there.key
        for repository in repositories
        for pair in repository.pairs
        if not pair.same and pair.there.compared_with != pair.here.sha
    }


def _data(
    repository: _Repository,
    successes: Mapping[EnvironmentKey, list[Success]],
    activity: Activity,
) -> RepositoryData:
    pairs: dict[str, list[_Pair]] = {}
    for pair in repository.pairs:
        pairs.setdefault(pair.stage.name, []).append(pair)
    locks = [one for one in activity.locks if one.repo_id in (0, repository.repo_id)]
    environments = []
    for stage in repository.stages:
        name = stage.name.lower()
        current, key = repository.current[name], EnvironmentKey(repository.repo_id, name)
        compared = pairs.get(stage.name, [])
        data = EnvironmentData(
            stage=stage,
            newest=current.newest,
            live=current.live,
            drifts=tuple(_drift(one, current, successes) for one in compared if not one.same),
            same_as=tuple(one.before for one in compared if one.same),
            in_flight=tuple(activity.in_flight.get(key, ())),
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

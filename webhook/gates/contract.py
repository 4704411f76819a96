"""The contract of gates: may this deployment start now?

A gate is a pure function of a `Snapshot`: no clock, no store, no network. It says `Allow`, `Wait`
or `Deny`, and what it does not know it answers with `Wait`. All gates are evaluated, again before
each start, under a lock that no other start in the environment can have. A gate may have keys of
its own in deploy.yml: a model whose fields become keys of each environment.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, TypeVar

from webhook.config.destinations import Strict
from webhook.config.environments import Environment
from webhook.config.gates import NoKeys, no_errors
from webhook.config.source import ConfigError, Source
from webhook.deployments.approvals import Approval
from webhook.deployments.locks import Lock
from webhook.deployments.phases import Phase

K = TypeVar("K", bound=Strict)


@dataclass(frozen=True, slots=True)
class Allow:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """`reason`: what it waits for, a short sentence without a full stop. `until`: when that ends by
    itself, the same moment whenever it is asked, as another one is announced; None where no end is
    known. `way_out`: who can end it before, and how. `for_person`:
    somebody is asked for an answer; `asks`: who, logins and organization/team."""

    reason: str
    until: datetime | None = None
    way_out: str = ""
    for_person: bool = False
    asks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """It ends with this `reason`. `way_out`: what to do instead."""

    reason: str
    way_out: str = ""


Verdict: TypeAlias = Allow | Wait | Deny
ALLOW = Allow()


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one deployment. `environment`: that of deploy.yml, tightened by the
    repository's own file. `file`: Deny or Wait where that file is wrong, or cannot be read."""

    environment: Environment
    file: Verdict = ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The deployment that is to start. `asker`: the GitHub login of the person who asked for it, ""
    where that is not known (a bot created it). `asker_id`: that account's number, 0 if unknown.
    `ref`: as they named it: the branch or tag, even where its commit was pinned.
    `rolls_back`: the relay has run this very commit in this environment before, with success.
    `former_names`: those that the repository has had."""

    id: int
    repo: str
    repo_id: int
    environment: str
    ref: str
    sha: str
    requested_at: datetime
    asker: str
    asker_id: int
    rolls_back: bool
    former_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another deployment to the same environment. It is `running`; or it waits for its start, and
    is `ready` where nothing but its turn was missing when it was asked last."""

    id: int
    ref: str
    running: bool
    ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The newest deployment that has run in another environment of the repository."""

    environment: str
    id: int
    sha: str
    phase: Phase
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that gates may know, at one moment. `locks`: those that cover the environment and had not
    expired. `approvals`: all answers about the candidate, the oldest first. `neighbours`: the
    newest first. `upstreams`: of the environments of `after` those in which anything has run.
    `environment` and `file`: as in `Policy`. `restored_from`: of when the backup was from which the
    store was restored since the candidate was asked for, unless somebody has released it."""

    candidate: Candidate
    environment: Strict
    now: datetime
    file: Verdict = ALLOW
    locks: tuple[Lock, ...] = ()
    approvals: tuple[Approval, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    restored_from: datetime | None = None

    def keys(self, model: type[K]) -> K:
        """The environment's keys in deploy.yml, as the gate's own model."""
        return keys_of(self.environment, model)


def keys_of(environment: Strict, model: type[K]) -> K:
    """The defaults, where deploy.yml was read without that gate."""
    return environment if isinstance(environment, model) else model()


def no_key(environment: Strict) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """`name`: in messages and in the store. `overridable`: somebody who may break the glass can
    skip it. The rest is `webhook.config.gates.GateKeys`."""

    name: str
    decide: Callable[[Snapshot], Verdict]
    Keys: type[Strict] = NoKeys
    FileKeys: type[Strict] = NoKeys
    key_in_use: Callable[[Strict], str] = no_key
    errors: Callable[[Sequence[Environment], Source], Iterable[ConfigError]] = no_errors
    overridable: bool = True


Gates: TypeAlias = Mapping[str, Gate]

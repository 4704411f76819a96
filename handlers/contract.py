"""The contract between the relay and a tool's handler.

A handler starts one tool (a command, Drone CI, ...) and checks its run. It holds no state of its
own: the relay keeps the `Run` and hands it back, possibly in another process. A handler does not
sleep, poll in a loop, write statuses, talk to Slack or touch the store.

Errors: those of errors.py. Messages are shown to people: no secrets.
"""

import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from handlers.http import Http
from handlers.preview import Preview


class State(StrEnum):
    """The state of a run. `failure`: it ran and failed; `error`: it could not run."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"

    @property
    def final(self) -> bool:
        return self in (State.SUCCESS, State.FAILURE, State.ERROR)


@dataclass(frozen=True, slots=True)
class ReportCredentials:
    """With which a tool may report the state of its run.

    `url` takes POSTs like GitHub's "Create a deployment status"; `api` is the base URL for clients
    of GitHub's API that need one. `token` is valid for this deployment only, until its end.
    """

    url: str
    api: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Deployment:
    """One GitHub deployment, as handlers receive it.

    `id` is GitHub's, unique on its server; `repo` is `owner/name`; `payload` is GitHub's, parsed:
    null, a string or an object. `created_at` is GitHub's. The run must have ended by `deadline`
    (timezone-aware), which is `timeout` after it was first started. `ref_name` is the branch or tag
    that people named, where `ref` is a commit; empty if nobody named one.
    """

    id: int
    repo: str
    repo_id: int
    installation_id: int
    environment: str
    ref: str
    sha: str
    task: str
    creator: str
    payload: Any
    created_at: datetime
    timeout: timedelta
    deadline: datetime
    report: ReportCredentials
    ref_name: str = ""

    @property
    def started_at(self) -> datetime:
        return self.deadline - self.timeout


@dataclass(frozen=True, slots=True)
class Run:
    """The tool's execution of one deployment. `id` is the handler's key to it; `held`: it waits for
    a person, an approval for example."""

    id: str
    state: State
    url: str = ""
    description: str = ""
    environment_url: str = ""
    held: bool = False


class Options(BaseModel):
    """Base of a handler's options under `with:` in deploy.yml: strict, without unknown keys.

    Validators find the relay's process environment as `info.context["environ"]`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )

    def permissions(self) -> Mapping[str, str]:
        """Permissions that the GitHub App needs for it, besides `deployments: write`."""
        return {}

    def events(self) -> Sequence[str]:
        """Events that the GitHub App should subscribe to for it, besides deployments."""
        return ()

    @property
    def starts_by_itself(self) -> bool:
        """Whether the tool starts with GitHub's event, so that the relay cannot hold it back."""
        return False

    @property
    def held_by_protection_rule(self) -> bool:
        """Whether it runs in jobs of GitHub Actions, which a protection rule of their environment
        holds back."""
        return False


class GitHubApi(Protocol):
    """GitHub's REST API as the App, in the deployment's repository only.

    `path` begins with `/repos/`. Errors: `Unavailable`, `UnknownOutcome`, and `Rejected` with
    GitHub's `status` (404, 409, 422, ...) and `reason`, the message of its response.
    """

    async def get(self, deployment: Deployment, permissions: Mapping[str, str], path: str) -> Any:
        """The JSON of the response."""
        ...

    async def post(
        self, deployment: Deployment, permissions: Mapping[str, str], path: str, body: Any
    ) -> Any:
        """The JSON of the response; None if there is none (202 and 204)."""
        ...


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def for_ever() -> float:
    return math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerContext:
    """What the relay gives to its handlers.

    `data_dir` lasts across restarts on this machine. `secrets` are values that must never be
    shown or stored. `environ` is the relay's own process environment. `clock` says what time it is.
    `require_claim` raises where this worker may not act for the deployment any more, and otherwise
    says until when it may, by `handlers.uptime`: it is called right before each act that is not a
    call by `http` or `github`, which do so themselves. What it raises is passed on.
    """

    data_dir: Path
    environ: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    http: Http
    github: GitHubApi
    clock: Clock = utc_now
    require_claim: Callable[[], float] = for_ever


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two checks of a run: few at first, then more and more."""

    least: float
    most: float


class Handler(Protocol):
    """One tool. `find`, `start` and `check` are never called at once for the same deployment."""

    Options: ClassVar[type[Options]]
    # Whether its runs are on the machine, and the disk, of the worker that started them.
    local: ClassVar[bool]
    pace: ClassVar[Pace]
    # How long a run that the tool has accepted may stay hidden from `find`.
    appears_within: ClassVar[timedelta]

    def __init__(self, options: Any, context: HandlerContext) -> None: ...

    async def find(self, deployment: Deployment) -> Run | None:
        """The run of an earlier start that succeeded, even if nobody recorded it.

        None if there is none, and for a tool that cannot be searched (`StartsBlindly`).
        """
        ...

    async def start(self, deployment: Deployment) -> Run:
        """Start the tool; called only after `find` returned None."""
        ...

    async def check(self, deployment: Deployment, run: Run) -> Run:
        """The run now; `run` is what `start`, `find` or the last `check` returned.

        `Rejected` with the tool's status where it does not know the run any more.
        """
        ...

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        """Ask the tool to stop the run; harmless if it has ended."""
        ...


@runtime_checkable
class KeepsOutput(Protocol):
    """A handler whose runs keep output that people may read."""

    async def read_output(self, deployment: Deployment, offset: int) -> bytes:
        """The bytes from `offset` on, at most 256 KiB; empty if there are no more yet."""
        ...


@runtime_checkable
class LeavesFiles(Protocol):
    """A handler whose runs leave files on the machine; what it keeps there is the class's."""

    @classmethod
    def ended_runs(cls, data_dir: Path, before: datetime) -> Iterable[tuple[int, datetime]]:
        """Deployments with files of which nothing has run or changed since, and their last change;
        the relay decides which are over."""
        ...

    @classmethod
    def remove_run(cls, data_dir: Path, deployment_id: int) -> None: ...


@runtime_checkable
class Announces(Protocol):
    """A handler whose runs announce by themselves that they have ended."""

    @classmethod
    def ends(cls, context: HandlerContext) -> AsyncGenerator[int]:
        """IDs of the deployments whose runs have just ended, for as long as somebody iterates.

        A run may end before `start` has returned. Some ends may be missing, so that runs are
        polled at their `pace`, too; and an ID may be unknown or come twice.
        """
        ...


@runtime_checkable
class VerifiesAccess(Protocol):
    """A handler that can check, without a deployment, whether the tool lets the relay in."""

    async def verify_access(self) -> str:
        """Check address and credentials; changes nothing. Returns a finding for the operator.

        Errors: `Unavailable` and `Rejected`, as elsewhere.
        """
        ...


@dataclass(frozen=True, slots=True)
class ToolEvent:
    """What the tool itself sent to the relay: the event's name, and the document that it is
    about."""

    name: str
    document: Any


@runtime_checkable
class StartsBlindly(Protocol):
    """A handler whose tool cannot be searched, so that nobody knows whether a start got through
    whose outcome is unknown."""

    # Whether a second `start` does nothing then. Otherwise it is repeated only a few times, and
    # then waits for a person.
    restart_is_safe: bool


@runtime_checkable
class Observes(Protocol):
    """A handler whose tool sends events to the relay, so that it need not be polled often."""

    # Whether the tool starts by itself, so that there is no earlier start to find.
    starts_nothing: bool

    async def observe(self, deployment: Deployment, run: Run, events: Sequence[ToolEvent]) -> Run:
        """As `check`, from the newest event about each of the tool's documents. Events may be late
        or missing, and some may belong to other deployments."""
        ...


@runtime_checkable
class Previews(Protocol):
    """A handler that can say what `start` would send, without calling anybody."""

    def preview(self, deployment: Deployment) -> Preview:
        """Made by the functions with which `start` makes it.

        Errors: `Rejected`, as `start`, for values that do not fit.
        """
        ...

"""What the relay asks of a tool, and what a tool answers.

A handler starts one tool (a command, Drone CI, ...) and looks how it goes. It holds no state of
its own: the relay keeps the `Run` and hands it back, possibly in another process. A handler does
not sleep, poll in a loop, write statuses, talk to Slack or touch the store.

Errors: `ToolUnavailable` is tried again until the deployment's deadline; `ToolRejected` ends the
deployment as `error` with its words. Both carry words that are shown to people: no secrets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict


class State(StrEnum):
    """How a run stands. `failure`: it ran and failed; `error`: it could not run."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"

    @property
    def final(self) -> bool:
        return self in (State.SUCCESS, State.FAILURE, State.ERROR)


@dataclass(frozen=True, slots=True)
class Deployment:
    """One GitHub deployment, as a handler sees it.

    `id` is GitHub's, unique on its server; `repo` is `owner/name`; `payload` is GitHub's, parsed:
    null, a string or an object. The run must have ended by `deadline` (timezone-aware), which is
    `timeout` after it was first started.
    """

    id: int
    repo: str
    environment: str
    ref: str
    sha: str
    task: str
    creator: str
    payload: Any
    timeout: timedelta
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """The tool's execution of one deployment. `id` is the tool's own name for it."""

    id: str
    state: State
    url: str = ""
    description: str = ""
    environment_url: str = ""


class ToolUnavailable(Exception):
    """The tool did not answer, or asked to be left alone for a while; worth another try."""

    def __init__(self, words: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(words)
        self.retry_at = retry_at


class ToolRejected(Exception):
    """The tool refuses this deployment; trying again would not help."""


class Options(BaseModel):
    """Base of what a handler takes under `with:` in deploy.yml: strict, unknown keys refused.

    Validators find the relay's process environment as `info.context["environ"]`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True, slots=True)
class Workplace:
    """What the relay lends to its handlers.

    `data_dir` lasts across restarts on this machine. `secrets` are values that must never be
    shown or stored. `environ` is the relay's own process environment.
    """

    data_dir: Path
    environ: Mapping[str, str] = field(repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


class Handler(Protocol):
    """One tool. `find` and `start` are never called at once for the same deployment."""

    Options: ClassVar[type[Options]]
    # Whether its runs live on the machine, and the disk, of the worker that started them.
    local: ClassVar[bool]

    def __init__(self, options: Any, workplace: Workplace) -> None: ...

    async def find(self, deployment: Deployment) -> Run | None:
        """The run of an earlier start that got through, even if nobody recorded it."""
        ...

    async def start(self, deployment: Deployment) -> Run:
        """Start the tool; called only after `find` said None."""
        ...

    async def check(self, deployment: Deployment, run: Run) -> Run: ...

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        """Ask the tool to end the run soon; harmless if it has ended."""
        ...


@runtime_checkable
class KeepsOutput(Protocol):
    """A handler whose runs leave output that people may read."""

    async def read_output(self, deployment: Deployment, offset: int) -> bytes:
        """The bytes from `offset` on, at most 256 KiB; empty where there are no more yet."""
        ...

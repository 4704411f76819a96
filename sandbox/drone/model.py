"""What the stand-in for Drone knows: repositories, their pipelines and builds, and documents.

Source: https://github.com/harness/drone/tree/drone/core
Units: seconds; in documents Unix seconds.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

Json = dict[str, Any]
Access = Literal["none", "read", "write"]

OPEN = ("waiting_on_dependencies", "pending", "running", "blocked")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A document of .drone.yml with its trigger; empty means any, as in Drone."""

    name: str
    events: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def is_triggered(self, event: str, target: str) -> bool:
        return _matches(self.events, event) and _matches(self.targets, target)


def _matches(globs: Iterable[str], value: str) -> bool:
    known = tuple(globs)
    return not known or any(fnmatchcase(value, glob) for glob in known)


@dataclass(slots=True)
class Build:
    """Moves on by itself along `plan`: (when, status). An empty plan holds it as it is.

    `ignored`: a step that fails, and may.
    """

    number: int
    event: str
    after: str
    status: str = "pending"
    params: dict[str, str] = field(default_factory=dict)
    deploy_to: str = ""
    deploy_id: int = 0
    parent: int = 0
    ref: str = "refs/heads/main"
    trigger: str = "@hook"
    error: str = ""
    pipelines: tuple[str, ...] = ("default",)
    blocked: bool = False
    ignored: str = ""
    created: float = field(default_factory=time.time)
    started: float = 0
    finished: float = 0
    plan: list[tuple[float, str]] = field(default_factory=list)

    def goes_on(self, takes: float, ends: str) -> None:
        """From now on: it waits for a quarter of the time, runs, and ends so."""
        now = time.time()
        self.plan = [(now + takes / 4, "running"), (now + takes, ends)]

    def advance(self, now: float) -> None:
        while self.plan and self.plan[0][0] <= now:
            self.become(self.plan.pop(0)[1])

    def become(self, status: str, error: str = "") -> None:
        self.status, self.error = status, error
        if status not in ("pending", "blocked", "waiting_on_dependencies"):
            self.started = self.started or time.time()
        self.finished = 0 if status in OPEN else time.time()

    def document(self, *, stages: bool = False) -> Json:
        document = {
            "id": 1000 + self.number,
            "trigger": self.trigger,
            "number": self.number,
            "parent": self.parent,
            "status": self.status,
            "error": self.error,
            "event": self.event,
            "message": "",
            "before": "",
            "after": self.after,
            "ref": self.ref,
            "params": self.params,
            "deploy_to": self.deploy_to,
            "deploy_id": self.deploy_id,
            "started": int(self.started),
            "finished": int(self.finished),
            "created": int(self.created),
            "updated": int(time.time()),
            "version": 1,
            "stages": self._stages() if stages else [],
        }
        left_out = ("parent", "error", "params", "deploy_to", "deploy_id", "stages")
        return {k: v for k, v in document.items() if v or k not in left_out}

    def _stages(self) -> list[Json]:
        """Drone holds the pipelines of a build back, and calls the build itself pending."""
        status = "blocked" if self.blocked and self.status == "pending" else self.status
        code = 1 if status == "failure" else 130 if status == "killed" else 0
        steps: list[Json] = [{"name": "deploy", "status": status, "exit_code": code}]
        if self.ignored:
            ignored = {"status": "failure", "exit_code": 2, "errignore": True}
            steps.insert(0, {"name": self.ignored} | ignored)
        begun = status not in (*OPEN, "declined", "error") or status == "running"
        return [
            {"number": i, "name": name, "status": status, "errignore": False, "exit_code": code}
            | ({"steps": steps} if begun else {})
            for i, name in enumerate(self.pipelines, 1)
        ]


@dataclass(slots=True)
class Repo:
    """`approval`: what its builds wait for; `bad_yaml`: what Drone says of its .drone.yml.

    `ends`: how builds for a target (or of an event) end, `success` where it is not said.
    """

    slug: str
    pipelines: list[Pipeline]
    access: Access = "write"
    public: bool = False
    approval: bool = False
    bad_yaml: str = ""
    ends: dict[str, str] = field(default_factory=dict)
    builds: list[Build] = field(default_factory=list)
    counter: int = 0

    def next_number(self) -> int:
        self.counter += 1
        return self.counter

    def triggered(self, event: str, target: str) -> tuple[str, ...]:
        return tuple(p.name for p in self.pipelines if p.is_triggered(event, target))

    def build(self, number: int) -> Build | None:
        return next((build for build in self.builds if build.number == number), None)


def as_parameters(payload: Any) -> dict[str, str]:
    """As Drone's webhook reads GitHub's payload: of objects only, in Go's words."""
    given = payload if isinstance(payload, dict) else {}
    return {name: _in_go(value) for name, value in given.items()}


def _in_go(value: Any) -> str:
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Drone's builds: which of them concern a deployment, and what their status means for it.

Drone cannot filter by commit or parameter, so its list is read, newest first.

Source: https://github.com/harness/drone/tree/drone, core/status.go and
handler/api/repos/builds/list.go
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from handlers.contract import Deployment, Run, State
from handlers.drone.api import PAGE, Build, Builds
from handlers.drone.options import BUILT_FOR, MARK

STATES = {
    "blocked": (State.QUEUED, "is waiting for approval in Drone"),
    "waiting_on_dependencies": (State.QUEUED, "is waiting for another pipeline in Drone"),
    "pending": (State.QUEUED, "is waiting for a runner of Drone"),
    "running": (State.IN_PROGRESS, ""),
    "success": (State.SUCCESS, ""),
    "failure": (State.FAILURE, "failed in Drone"),
    "error": (State.ERROR, "could not be run by Drone"),
    "killed": (State.ERROR, "was killed in Drone"),
    "declined": (State.ERROR, "was declined in Drone"),
    "skipped": (State.ERROR, "was skipped by Drone"),
}
MOST_WORDS = 80


def run_of(build: Build, url: str, before: State = State.QUEUED) -> Run:
    """`before`: how it stood when it was looked at last."""
    number, status = str(build.number), _status(build)
    if status not in STATES:
        words = f"Drone says '{_short(status)}', which the relay does not know"
        return Run(number, before, url, words)
    state, words = STATES[status]
    if state is State.QUEUED and before is State.IN_PROGRESS:
        state = before  # it waits once more, which only the words can tell
    words += _cause(build)
    reason = f"Build #{number} {words}" if words else ""
    return Run(number, state, url, reason, held=status == "blocked")


def is_open(build: Build) -> bool:
    """Not ended yet, as far as we know."""
    state, _ = STATES.get(build.status, (State.QUEUED, ""))
    return not state.final


def is_blocked(build: Build) -> bool:
    return _status(build) == "blocked"


def how_it_ended(build: Build) -> str:
    return STATES[build.status][1]


def _status(build: Build) -> str:
    """Drone calls a build pending, or running, while a pipeline of it waits for approval."""
    waits = any(stage.status == "blocked" for stage in build.stages or ())
    return "blocked" if waits and is_open(build) else build.status


def _cause(build: Build) -> str:
    stages = build.stages or []
    steps = [step for stage in stages for step in stage.steps or () if not step.errignore]
    for step in steps:
        if step.status == build.status == "failure":
            return f": step '{_short(step.name)}', exit code {step.exit_code}"
    errors = [build.error, *(stage.error for stage in stages), *(step.error for step in steps)]
    error = next(filter(None, errors), "")
    return f": {_short(error)}" if error and build.status in ("error", "failure") else ""


def _short(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:MOST_WORDS]


MOST_PAGES = 10
# Drone's clock may be behind GitHub's.
MARGIN = timedelta(minutes=10)

Fits = Callable[[Build, Deployment], bool]


@dataclass(slots=True)
class Seen:
    """`run`: what deploys. `green`, `open`, `red`: the newest builds of the commit so far."""

    run: Build | None = None
    green: Build | None = None
    open: Build | None = None
    red: Build | None = None

    def note(self, build: Build) -> None:
        if build.status == "success":
            self.green = self.green or build
        elif is_open(build):
            self.open = self.open or build
        else:
            self.red = self.red or build


def deploys(build: Build, deployment: Deployment) -> bool:
    """Promoted by us, or by Drone's own webhook, whatever `mode` says: one of them is enough."""
    marked = (build.params or {}).get(MARK) == str(deployment.id)
    ours = marked and build.event in ("promote", "rollback") and build.after == deployment.sha
    return ours or build.deploy_id == deployment.id


def is_source(build: Build, deployment: Deployment) -> bool:
    return build.after == deployment.sha and build.event in ("push", "tag")


def is_source_or_made(build: Build, deployment: Deployment) -> bool:
    """With `build: create`: one that was made for another deployment will do as well."""
    made = build.event == "custom" and BUILT_FOR in (build.params or {})
    return is_source(build, deployment) or (made and build.after == deployment.sha)


async def look(builds: Builds, deployment: Deployment, source: Fits | None = None) -> Seen:
    """With `source` it reads on beyond the deployment's creation while none is there or to come."""
    seen = Seen()
    since = (deployment.created_at - MARGIN).timestamp()
    for page in range(1, MOST_PAGES + 1):
        found = await builds.newest(page)
        for build in found:
            if deploys(build, deployment):
                seen.run = build  # the oldest: whoever restarts or promotes it copies the mark
            elif source and source(build, deployment):
                seen.note(build)
        enough = not source or seen.run or seen.green or seen.open
        if len(found) < PAGE or (found[-1].created < since and enough):
            break
    return seen

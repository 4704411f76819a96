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
from handlers.text import one_line

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
MAX_TEXT = 80
MAX_PAGES = 10
# Drone's clock may be behind GitHub's.
MARGIN = timedelta(minutes=10)
Matches = Callable[[Build, Deployment], bool]


def run_of(build: Build, url: str, previous: State = State.QUEUED) -> Run:
    """`previous` is the state at the last check."""
    number, status = str(build.number), _status(build)
    if status not in STATES:
        description = f"Drone says '{one_line(status, MAX_TEXT)}', which the relay does not know"
        return Run(number, previous, url, description)
    state, predicate = STATES[status]
    if state is State.QUEUED and previous is State.IN_PROGRESS:
        state = previous  # it waits once more, which only the description can say
    predicate += _cause(build)
    description = f"Build #{number} {predicate}" if predicate else ""
    return Run(number, state, url, description, held=status == "blocked")


def is_open(build: Build) -> bool:
    """Not ended yet, as far as its status is known."""
    state, _ = STATES.get(build.status, (State.QUEUED, ""))
    return not state.final


def is_blocked(build: Build) -> bool:
    return _status(build) == "blocked"


def outcome(build: Build) -> str:
    return STATES[build.status][1]


def _status(build: Build) -> str:
    """Drone calls a build pending or running while one of its pipelines waits for approval."""
    waits = any(stage.status == "blocked" for stage in build.stages or ())
    return "blocked" if waits and is_open(build) else build.status


def _cause(build: Build) -> str:
    stages = build.stages or []
    steps = [step for stage in stages for step in stage.steps or () if not step.errignore]
    for step in steps:
        if step.status == build.status == "failure":
            return f": step '{one_line(step.name, MAX_TEXT)}', exit code {step.exit_code}"
    errors = [build.error, *(stage.error for stage in stages), *(step.error for step in steps)]
    error = next(filter(None, errors), "")
    return (
        f": {one_line(error, MAX_TEXT)}" if error and build.status in ("error", "failure") else ""
    )


@dataclass(slots=True)
class FoundBuilds:
    """`run` deploys. `green`, `open` and `red` are the newest builds of the commit so far."""

    run: Build | None = None
    green: Build | None = None
    open: Build | None = None
    red: Build | None = None

    def add(self, build: Build) -> None:
        if build.status == "success":
            self.green = self.green or build
        elif is_open(build):
            self.open = self.open or build
        else:
            self.red = self.red or build


def is_deployment_of(build: Build, deployment: Deployment) -> bool:
    """Promoted by the relay or by Drone's own webhook, whatever `mode` is: one is enough."""
    marked = (build.params or {}).get(MARK) == str(deployment.id)
    ours = marked and build.event in ("promote", "rollback") and build.after == deployment.sha
    return ours or build.deploy_id == deployment.id


def is_source(build: Build, deployment: Deployment) -> bool:
    return build.after == deployment.sha and build.event in ("push", "tag")


def is_source_or_created(build: Build, deployment: Deployment) -> bool:
    """With `build: create`: one that was created for another deployment is fine, too."""
    by_relay = build.event == "custom" and BUILT_FOR in (build.params or {})
    return is_source(build, deployment) or (by_relay and build.after == deployment.sha)


async def find_builds(
    builds: Builds, deployment: Deployment, is_candidate: Matches | None = None
) -> FoundBuilds:
    """With `is_candidate` it reads on beyond the deployment's creation, to a green or open one."""
    found = FoundBuilds()
    since = (deployment.created_at - MARGIN).timestamp()
    for page in range(1, MAX_PAGES + 1):
        listed = await builds.newest(page)
        for build in listed:
            if is_deployment_of(build, deployment):
                found.run = build  # the oldest: whoever restarts or promotes it copies the mark
            elif is_candidate and is_candidate(build, deployment):
                found.add(build)
        enough = not is_candidate or found.run or found.green or found.open
        if len(listed) < PAGE or (listed[-1].created < since and enough):
            break
    return found

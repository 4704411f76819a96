"""What a build of Drone means for a deployment, and how that is said.

Source: https://github.com/harness/drone/blob/drone/core/status.go
"""

from handlers.contract import Run, State
from handlers.drone.api import Build

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
    said = f"Build #{number} {words}" if words else ""
    return Run(number, state, url, said, held=status == "blocked")


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

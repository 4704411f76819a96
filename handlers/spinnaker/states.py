"""The states of Spinnaker's executions as GitHub's, with descriptions for people.

Source: https://github.com/spinnaker/orca, ExecutionStatus.java and CompleteExecutionHandler.kt
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from handlers.contract import Run, State
from handlers.spinnaker.gate import Execution, Stage
from handlers.text import one_line, redacted

MAX_NAME, MAX_MESSAGE = 40, 100

STATUSES = {
    "NOT_STARTED": (State.QUEUED, "not started yet in Spinnaker"),
    "BUFFERED": (State.QUEUED, "held back in Spinnaker"),
    "RUNNING": (State.IN_PROGRESS, ""),
    "PAUSED": (State.IN_PROGRESS, "paused in Spinnaker"),
    "SUSPENDED": (State.IN_PROGRESS, "suspended in Spinnaker until something triggers it"),
    "REDIRECT": (State.IN_PROGRESS, "redirected to another path in Spinnaker"),
    "SUCCEEDED": (State.SUCCESS, ""),
    "FAILED_CONTINUE": (State.FAILURE, "a stage failed, and the pipeline went on"),
    "TERMINAL": (State.FAILURE, "failed in Spinnaker"),
    "STOPPED": (State.FAILURE, "stopped in Spinnaker before its end"),
    "CANCELED": (State.ERROR, "canceled in Spinnaker"),
    "SKIPPED": (State.ERROR, "skipped in Spinnaker: nothing was run"),
}
# Which of several pipelines of one deployment is described.
_PRECEDENCE = (State.IN_PROGRESS, State.QUEUED, State.FAILURE, State.ERROR, State.SUCCESS)


@dataclass(frozen=True, slots=True)
class ExecutionState:
    """One execution, as people should see it. `gone`: Spinnaker does not know it now."""

    state: State
    description: str = ""
    name: str = ""
    url: str = ""
    held: bool = False
    gone: bool = False


def execution_state(execution: Execution, previous: State, url: str, secret: str) -> ExecutionState:
    """`previous` is the state so far; `secret` is hidden in the description."""
    unknown = f"Spinnaker says '{execution.status}', which the relay does not know"
    state, description = STATUSES.get(execution.status, (_open(previous), unknown))
    description = redacted(_detail(execution), [secret]) or description
    held = execution.status == "RUNNING" and _is_held(execution)
    return ExecutionState(state, description, _short(execution.name), url, held)


def vanished(id_: str) -> ExecutionState:
    message = f"vanished: Spinnaker has no execution {id_} any more"
    return ExecutionState(State.ERROR, message, gone=True)


def decisive(states: Sequence[ExecutionState]) -> ExecutionState | None:
    """The execution that is gone, if the state of the deployment depends on how it ended."""
    known = all(one.state is State.SUCCESS for one in states if not one.gone)
    return next((one for one in states if one.gone and known), None)


def combined(states: Sequence[ExecutionState], previous: Run, id_: str) -> Run:
    """Of all pipelines of one deployment: open as long as one of them is, else the worst."""
    shown = min(states, key=lambda s: (_PRECEDENCE.index(s.state), not s.description))
    still_open = [s for s in states if not s.state.final]
    state = shown.state
    if still_open and len(still_open) < len(states):
        state = State.IN_PROGRESS
    if state is State.QUEUED and previous.state is State.IN_PROGRESS:
        state = previous.state
    description = shown.description
    if len(states) > 1:
        count = f"{len(states)} pipelines matched"
        count += f", {len(still_open)} not ended" if still_open else ""
        description = f"{count}; '{shown.name}': {description}" if description else count
    held = any(one.held for one in still_open)
    return Run(id_, state, shown.url or previous.url, description, held=held)


def page(deck: str | None, application: str | None, id_: str = "") -> str:
    """Where people see an execution, or all of an application."""
    if not deck or not application:
        return ""
    executions = f"{deck}/#/applications/{quote(application, safe='')}/executions"
    return f"{executions}/details/{id_}" if id_ else executions


def _open(previous: State) -> State:
    return State.IN_PROGRESS if previous.final else previous


def _detail(execution: Execution) -> str:
    """What is known beyond the status."""
    stages = execution.stages or []
    match execution.status:
        case "RUNNING" if _is_held(execution):
            return "waiting for a judgment in Spinnaker"
        case "SUCCEEDED":
            ignored = _name_of(stages, "FAILED_CONTINUE", "STOPPED")
            return f"succeeded, although stage '{ignored}' failed" if ignored else ""
        case "TERMINAL":
            return _failure(execution, stages)
        case "CANCELED":
            by = f" by {_short(execution.canceled_by)}" if execution.canceled_by else ""
            return f"canceled in Spinnaker{by}{_suffix(execution.reason)}"
    return ""


def _is_held(execution: Execution) -> bool:
    return any(_waits_for_judgment(stage) for stage in execution.stages or ())


def _waits_for_judgment(stage: Stage) -> bool:
    return stage.type == "manualJudgment" and stage.status == "RUNNING"


def _failure(execution: Execution, stages: Sequence[Stage]) -> str:
    name = _name_of(stages, "TERMINAL")
    messages = [_message(stage) for stage in stages if stage.status == "TERMINAL"]
    reason = next(filter(None, map(_suffix, messages)), "") or _suffix(execution.reason)
    return f"stage '{name}' failed{reason}" if name else f"failed in Spinnaker{reason}"


def _name_of(stages: Sequence[Stage], *statuses: str) -> str:
    """Of the first stage with such a status; stages added by people come before their parts."""
    found = sorted((s for s in stages if s.status in statuses), key=lambda s: s.parent is not None)
    return _short(found[0].name or found[0].type) if found else ""


def _message(stage: Stage) -> str | None:
    """Source: https://github.com/spinnaker/orca, ExceptionHandler.java"""
    exception = (stage.context or {}).get("exception")
    details = exception.get("details") if isinstance(exception, dict) else None
    if not isinstance(details, dict):
        return None
    errors = details.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else details.get("error")
    return first if isinstance(first, str) else None


def _suffix(text: str | None) -> str:
    """Left out if it is too long to be shown whole."""
    line = one_line(text or "")
    return f": {line}" if 0 < len(line) <= MAX_MESSAGE else ""


def _short(text: str | None) -> str:
    return one_line(text or "", MAX_NAME)

"""How Spinnaker's executions stand, in GitHub's states and in words for people.

Source: https://github.com/spinnaker/orca, ExecutionStatus.java and CompleteExecutionHandler.kt
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from handlers.contract import Run, State
from handlers.spinnaker.gate import Execution, Stage

LONGEST_NAME, LONGEST_MESSAGE = 40, 100

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
# The one that is spoken of, where several pipelines run for one deployment.
_FOREMOST = (State.IN_PROGRESS, State.QUEUED, State.FAILURE, State.ERROR, State.SUCCESS)


@dataclass(frozen=True, slots=True)
class Standing:
    """One execution, as people should see it."""

    state: State
    words: str = ""
    name: str = ""
    url: str = ""
    held: bool = False


def standing(execution: Execution, before: State, url: str, secret: str) -> Standing:
    """`before` is the state so far; `secret` must not show in the words."""
    unknown = f"Spinnaker says '{execution.status}', which the relay does not know"
    state, words = STATUSES.get(execution.status, (_open(before), unknown))
    words = _detail(execution).replace(secret, "***") or words
    held = execution.status == "RUNNING" and _is_held(execution)
    return Standing(state, words, _short(execution.name), url, held)


def gone(id_: str) -> Standing:
    return Standing(State.ERROR, f"vanished: Spinnaker has no execution {id_} any more")


def combined(standings: Sequence[Standing], before: Run, id_: str) -> Run:
    """Of all pipelines of one deployment: open as long as one of them is, else the worst."""
    foremost = min(standings, key=lambda s: (_FOREMOST.index(s.state), not s.words))
    still_open = [s for s in standings if not s.state.final]
    state = foremost.state
    if still_open and len(still_open) < len(standings):
        state = State.IN_PROGRESS
    if state is State.QUEUED and before.state is State.IN_PROGRESS:
        state = before.state
    words = foremost.words
    if len(standings) > 1:
        count = f"{len(standings)} pipelines matched"
        count += f", {len(still_open)} not ended" if still_open else ""
        words = f"{count}; '{foremost.name}': {words}" if words else count
    held = any(one.held for one in still_open)
    return Run(id_, state, foremost.url or before.url, words, held=held)


def page(deck: str | None, application: str | None, id_: str = "") -> str:
    """Where people see an execution, or all of an application."""
    if not deck or not application:
        return ""
    executions = f"{deck}/#/applications/{quote(application, safe='')}/executions"
    return f"{executions}/details/{id_}" if id_ else executions


def _open(before: State) -> State:
    return State.IN_PROGRESS if before.final else before


def _detail(execution: Execution) -> str:
    """More than the status says."""
    stages = execution.stages or []
    match execution.status:
        case "RUNNING" if _is_held(execution):
            return "waiting for a judgment in Spinnaker"
        case "SUCCEEDED":
            ignored = _name_of(stages, "FAILED_CONTINUE", "STOPPED")
            return f"succeeded, although stage '{ignored}' failed" if ignored else ""
        case "TERMINAL":
            return _why_failed(execution, stages)
        case "CANCELED":
            by = f" by {_short(execution.canceled_by)}" if execution.canceled_by else ""
            return f"canceled in Spinnaker{by}{_if_short(execution.reason)}"
    return ""


def _is_held(execution: Execution) -> bool:
    return any(_asks(stage) for stage in execution.stages or ())


def _asks(stage: Stage) -> bool:
    return stage.type == "manualJudgment" and stage.status == "RUNNING"


def _why_failed(execution: Execution, stages: Sequence[Stage]) -> str:
    name = _name_of(stages, "TERMINAL")
    messages = [_message(stage) for stage in stages if stage.status == "TERMINAL"]
    why = next(filter(None, map(_if_short, messages)), "") or _if_short(execution.reason)
    return f"stage '{name}' failed{why}" if name else f"failed in Spinnaker{why}"


def _name_of(stages: Sequence[Stage], *statuses: str) -> str:
    """Of the first with such a status; one that people have made rather than a part of it."""
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


def _if_short(text: str | None) -> str:
    plain = _plain(text)
    return f": {plain}" if 0 < len(plain) <= LONGEST_MESSAGE else ""


def _short(text: str | None) -> str:
    plain = _plain(text)
    return plain if len(plain) <= LONGEST_NAME else f"{plain[: LONGEST_NAME - 1]}…"


def _plain(text: str | None) -> str:
    return "".join(c for c in " ".join((text or "").split()) if c.isprintable())

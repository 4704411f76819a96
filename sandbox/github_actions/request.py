"""What a request to GitHub Actions may carry: the inputs of a dispatch, the filters of a list.

Source: https://docs.github.com/rest/actions/workflows#create-a-workflow-dispatch-event and
https://docs.github.com/rest/actions/workflow-runs#list-workflow-runs-for-a-repository
"""

import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sandbox.github.model import ErrorResponse, Json, now
from sandbox.github.request import field, required
from sandbox.github_actions.model import Workflow, WorkflowRun

MAX_INPUTS = 25


@dataclass(frozen=True, slots=True)
class Dispatch:
    ref: str
    inputs: dict[str, str]
    run_details: bool


def dispatch_of(body: Json, *, rejects_run_details: bool, max_inputs: int = MAX_INPUTS) -> Dispatch:
    """`rejects_run_details`: a server that does not know `return_run_details` yet."""
    known = {"ref", "inputs"} if rejects_run_details else {"ref", "inputs", "return_run_details"}
    for name in body:
        if name not in known:
            raise ErrorResponse(422, f'Invalid request.\n\n"{name}" is not a permitted key.')
    ref, inputs = required(body, "ref"), field(body, "inputs", {}, dict)
    if len(inputs) > max_inputs:
        supplied = f"No more than {max_inputs} properties are allowed; {len(inputs)} were supplied."
        raise ErrorResponse(422, f"Invalid request.\n\n{supplied}")
    for name in inputs:
        field(inputs, name, "", str)
    return Dispatch(ref, inputs, field(body, "return_run_details", False, bool))


def check_dispatch(dispatch: Dispatch, workflow: Workflow, deleted_refs: Set[str]) -> None:
    """A commit is not accepted as a ref here."""
    if workflow.state != "active":
        raise ErrorResponse(422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
    if (
        not dispatch.ref
        or dispatch.ref in deleted_refs
        or re.fullmatch("[0-9a-f]{40}", dispatch.ref)
    ):
        raise ErrorResponse(422, f"No ref found for: {dispatch.ref}")
    if workflow.fault:
        fault = f"Invalid Argument - failed to parse workflow: {workflow.fault}"
        raise ErrorResponse(422, fault)
    if "workflow_dispatch" not in workflow.on or dispatch.ref in workflow.missing_at:
        raise ErrorResponse(422, "Workflow does not have 'workflow_dispatch' trigger")
    unexpected = [name for name in dispatch.inputs if name not in workflow.inputs]
    if unexpected:
        raise ErrorResponse(422, f"Unexpected inputs provided: {json.dumps(unexpected)}")
    for name, is_required in workflow.inputs.items():
        if is_required and not dispatch.inputs.get(name):
            raise ErrorResponse(422, f"Required input '{name}' not provided")


FILTERS = ("actor", "branch", "check_suite_id", "created", "event", "head_sha", "status")
MAX_RESULTS = 1000
Query = Mapping[str, str]


def filtered(runs: list[WorkflowRun], query: Query, lag: timedelta) -> list[WorkflowRun]:
    """Only with a filter the list lags behind and is limited, as the search index is."""
    if not any(name in query for name in FILTERS):
        return runs
    indexed = now() - lag
    return [run for run in runs if run.created_at <= indexed and _matches(run, query)][
        -MAX_RESULTS:
    ]


def _matches(run: WorkflowRun, query: Query) -> bool:
    values = {
        "actor": run.actor.login,
        "branch": run.head_branch,
        "check_suite_id": str(run.id),
        "event": run.event,
        "head_sha": run.head_sha,
    }
    if any(name in query and query[name] != value for name, value in values.items()):
        return False
    if "status" in query and query["status"] not in (run.status, run.conclusion):
        return False
    return "created" not in query or _created(run, query["created"])


def _created(run: WorkflowRun, expression: str) -> bool:
    """`>=2026-11-22T10:00:00Z`, `2026-11-01..2026-11-30` and the like.

    Source: https://docs.github.com/search-github/getting-started-with-searching-on-github
    """
    at = run.created_at.replace(microsecond=0)
    first, range_, last = expression.partition("..")
    if range_:
        return _time(first) <= at <= _time(last)
    for sign in (">=", "<=", ">", "<"):
        if expression.startswith(sign):
            time = _time(expression.removeprefix(sign))
            return {">=": at >= time, "<=": at <= time, ">": at > time, "<": at < time}[sign]
    return at == _time(expression)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ErrorResponse(422, "Validation Failed") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)

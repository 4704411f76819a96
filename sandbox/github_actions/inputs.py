"""What a workflow_dispatch may carry, and GitHub's words for what it may not.

Source: https://docs.github.com/rest/actions/workflows#create-a-workflow-dispatch-event
"""

import json
import re
from dataclasses import dataclass

from sandbox.github.fields import field, required
from sandbox.github.model import Json, RefusedError
from sandbox.github_actions.model import Workflow

MOST = 25


@dataclass(frozen=True, slots=True)
class Dispatch:
    ref: str
    inputs: dict[str, str]
    run_details: bool


def dispatch_of(body: Json, *, refuses: bool) -> Dispatch:
    """`refuses`: a server that does not know `return_run_details` yet."""
    known = {"ref", "inputs"} if refuses else {"ref", "inputs", "return_run_details"}
    for name in body:
        if name not in known:
            raise RefusedError(422, f'Invalid request.\n\n"{name}" is not a permitted key.')
    ref, inputs = required(body, "ref"), field(body, "inputs", {}, dict)
    if len(inputs) > MOST:
        supplied = f"No more than {MOST} properties are allowed; {len(inputs)} were supplied."
        raise RefusedError(422, f"Invalid request.\n\n{supplied}")
    for name in inputs:
        field(inputs, name, "", str)
    return Dispatch(ref, inputs, field(body, "return_run_details", False, bool))


def check_dispatch(dispatch: Dispatch, workflow: Workflow) -> None:
    """Commits are no refs here."""
    if not dispatch.ref or re.fullmatch("[0-9a-f]{40}", dispatch.ref):
        raise RefusedError(422, f"No ref found for: {dispatch.ref}")
    if "workflow_dispatch" not in workflow.on or dispatch.ref in workflow.missing_at:
        raise RefusedError(422, "Workflow does not have 'workflow_dispatch' trigger")
    unexpected = [name for name in dispatch.inputs if name not in workflow.inputs]
    if unexpected:
        raise RefusedError(422, f"Unexpected inputs provided: {json.dumps(unexpected)}")
    for name, needed in workflow.inputs.items():
        if needed and not dispatch.inputs.get(name):
            raise RefusedError(422, f"Required input '{name}' not provided")

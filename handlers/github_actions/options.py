"""Options of `github-actions` under `with:` in deploy.yml."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from handlers import contract
from handlers.options import Duration, Template, placeholders

MAX_INPUTS = 25
_DISPATCH_OPTIONS = ("ref", "inputs", "correlation")


def _file(name: str) -> str:
    if not re.fullmatch(r"[\w.-]+\.ya?ml", name):
        raise ValueError(
            f"'{name}' is not the name of a workflow's file; write deploy.yml for"
            " .github/workflows/deploy.yml"
        )
    return name


def _input(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w-]*", name, re.ASCII):
        raise ValueError(f"'{name}' is not the name of an input; write it as the workflow does")
    return name


def _public(template: str) -> str:
    if "{report_token}" in template:
        raise ValueError(
            "inputs of workflows are not kept secret, so {report_token} may not be among them; the"
            " workflow's own GITHUB_TOKEN can write deployment statuses"
        )
    return template


_Public = Annotated[Template, AfterValidator(_public)]
_Input = Annotated[str, AfterValidator(_input)]


class GitHubActionsOptions(contract.Options):
    """How a repository's own workflows deploy it."""

    mode: Literal["watch", "dispatch"] = "watch"
    """Whether to follow workflows `on: deployment`, or to start one that has workflow_dispatch."""
    workflow: Annotated[str, AfterValidator(_file)] | None = None
    """The name of the workflow's file. With `watch`: all others are ignored."""
    ref: _Public = "{ref}"
    """With `dispatch`: the branch or tag whose workflow is run."""
    inputs: dict[_Input, _Public] = Field(default_factory=dict)
    """With `dispatch`: the inputs of the workflow."""
    correlation: _Input = "deployment_id"
    """With `dispatch`: the input that gets the deployment's ID."""
    start_within: Duration = timedelta(minutes=2)
    """How long after a deployment a workflow may begin."""
    status_within: Duration = timedelta(seconds=30)
    """With `watch`: how long after its end a workflow's own last status may take."""

    @model_validator(mode="after")
    def _fits(self) -> "GitHubActionsOptions":
        if self.mode == "watch":
            if given := [name for name in _DISPATCH_OPTIONS if name in self.model_fields_set]:
                raise ValueError(f"{', '.join(given)}: only with 'mode: dispatch'")
            return self
        if self.workflow is None:
            raise ValueError("'mode: dispatch' needs 'workflow', the name of the workflow's file")
        if "status_within" in self.model_fields_set:
            raise ValueError("status_within: only with 'mode: watch'")
        if self.correlation in self.inputs:
            raise ValueError(
                f"the input '{self.correlation}' is filled with the deployment's ID; leave it out"
                " of 'inputs', or name another in 'correlation'"
            )
        if len(self.inputs) >= MAX_INPUTS:
            raise ValueError(
                f"GitHub takes {MAX_INPUTS} inputs, of which '{self.correlation}' is one; here are"
                f" {len(self.inputs)} more"
            )
        return self

    @property
    def starts_by_itself(self) -> bool:
        return self.mode == "watch"

    @property
    def held_by_protection_rule(self) -> bool:
        return True

    @property
    def passes_sha(self) -> bool:
        """Whether the workflow gets the commit, which need not be its branch's newest."""
        return any("sha" in placeholders(text) for text in self.inputs.values())

    def permissions(self) -> Mapping[str, str]:
        return {"actions": "read" if self.mode == "watch" else "write"}

    def events(self) -> Sequence[str]:
        return ("workflow_run", "workflow_job")

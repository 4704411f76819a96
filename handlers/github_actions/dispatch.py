"""`mode: dispatch`: the handler starts a workflow with `on: workflow_dispatch` and follows it.

One input carries the deployment's id. A workflow that puts it into `run-name` is found again by its
title if GitHub does not say which run it started: on older servers, and after a crash.

Source: https://docs.github.com/rest/actions/workflows#create-a-workflow-dispatch-event
Errors: `Rejected` with a message for whoever wrote the workflow.
"""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from handlers.contract import Clock, Deployment, GitHubApi, Run, State, ToolEvent
from handlers.errors import Rejected, Unavailable
from handlers.github_actions.api import (
    Actions,
    WorkflowRun,
    dispatches,
    reaches_back,
    retry_rejections,
)
from handlers.github_actions.events import Seen
from handlers.github_actions.options import GitHubActionsOptions
from handlers.github_actions.status import (
    DELETED,
    RunWithJobs,
    deployment_run,
    quoted,
)
from handlers.options import fill
from handlers.preview import HttpPreview, Preview
from handlers.text import one_line, web_url

EVENT = "workflow_dispatch"
WRITE = {"actions": "write"}
MAX_FAULT = 80
WAITING = "Waiting for the workflow to start on GitHub"
_COMMIT = re.compile("[0-9a-f]{40}")
NO_SHA = (
    "GitHub runs workflows of branches and tags, not of a commit; give it the commit in deploy.yml:"
    ' inputs: {sha: "{sha}"}'
)
# A run's id is `dispatched_at=` and the time until GitHub has named the run.
_DISPATCHED_AT = "dispatched_at"
# What GitHub's text for a 422 means; the first one on GitHub Enterprise Server up to 3.19.
_REASONS = {
    "unknown_key": re.compile("return_run_details"),
    "too_many_inputs": re.compile(r"No more than (?P<most>\d+) properties are allowed"),
    "unexpected_inputs": re.compile(r"^Unexpected inputs"),
    "unknown_ref": re.compile(r"^No ref found"),
    "disabled_workflow": re.compile("on a disabled workflow"),
    "invalid_workflow": re.compile(r"failed to parse workflow:?\s*(?P<fault>.*)", re.DOTALL),
    "no_dispatch_trigger": re.compile(r"does not have '?workflow_dispatch"),
}
# GitHub has read the request and the workflow, and would say so again. Of a workflow that was just
# pushed it says at times that it has no trigger.
_CERTAIN = (
    "too_many_inputs",
    "unexpected_inputs",
    "unknown_ref",
    "disabled_workflow",
    "invalid_workflow",
)


class Dispatch:
    def __init__(self, options: GitHubActionsOptions, github: GitHubApi, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._github = github
        self._file = options.workflow or ""

    async def find(self, deployment: Deployment) -> Run | None:
        actions = self._actions(deployment)
        try:
            found = await self._find_by_title(actions, deployment)
        except Rejected as error:
            raise self._explained(error, deployment) from error
        if found is None:
            return None
        return await self._run_of(deployment, found, Run("", State.QUEUED), Seen())

    async def start(self, deployment: Deployment) -> Run:
        response = await self._dispatched(deployment)
        details = response if isinstance(response, dict) else {}
        run_id, url = details.get("workflow_run_id"), web_url(details.get("html_url"))
        if isinstance(run_id, int):
            return Run(str(run_id), State.QUEUED, url)
        run_key = f"{_DISPATCHED_AT}={self._clock().isoformat()}"
        return Run(run_key, State.QUEUED, url, WAITING)

    async def check(self, deployment: Deployment, run: Run) -> Run:
        with retry_rejections():
            actions = self._actions(deployment)
            found = await self._find_run(actions, deployment, run)
            if found is not None:
                return await self._run_of(deployment, found, run, Seen())
        if not run.id.isdecimal():
            return self._not_found(deployment, run)
        if run.state is State.QUEUED:
            raise Unavailable(f"GitHub does not know workflow run {run.id} yet")
        raise Rejected(DELETED, status=404)

    async def observe(self, deployment: Deployment, run: Run, events: Sequence[ToolEvent]) -> Run:
        seen = Seen.in_events(events)
        if run.id.isdecimal():
            found = seen.runs.get(int(run.id))
        else:
            found = self._first_with_title(seen.runs.values(), deployment)
        if found is None:
            return run
        with retry_rejections():
            return await self._run_of(deployment, found, run, seen)

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        actions = self._actions(deployment)
        found = await self._find_run(actions, deployment, run)
        if found is not None:
            await actions.cancel(found.id)

    def _actions(self, deployment: Deployment) -> Actions:
        return Actions(self._github, deployment, WRITE)

    def _inputs(self, deployment: Deployment) -> dict[str, str]:
        given = {name: fill(text, deployment) for name, text in self._options.inputs.items()}
        return {**given, self._options.correlation: str(deployment.id)}

    async def _dispatched(self, deployment: Deployment) -> Any:
        """GitHub's response. Of a commit, which has no workflow of its own, a branch's is run; it
        gets the commit as an input."""
        ref, or_default = self._ref(deployment)
        if ref:
            try:
                return await self._dispatched_at(deployment, ref)
            except Rejected as error:
                if error.code != "unknown_ref" or not or_default:
                    raise
        return await self._dispatched_at(
            deployment, await self._actions(deployment).default_branch()
        )

    def _ref(self, deployment: Deployment) -> tuple[str, bool]:
        """The branch or tag, and whether the default branch is run where that one is gone; "" is
        the default branch itself."""
        ref = fill(self._options.ref, deployment)
        if ref != deployment.sha:
            return ref, False
        if not self._options.passes_sha:
            raise Rejected(NO_SHA, code="no_sha_input", certain=True)
        return deployment.ref_name, True

    def preview(self, deployment: Deployment) -> Preview:
        ref, or_default = self._ref(deployment)
        body = self._with_details(self._body(deployment, ref or "DEFAULT_BRANCH"))
        call = HttpPreview(
            method="POST",
            url=f"/repos/{deployment.repo}{dispatches(self._file)}",
            hidden=("Authorization",),
            body=json.dumps(body).encode(),
        )
        default = "the repository's default branch, for which GitHub is asked"
        note = f"Where GitHub has no such ref any more, it is {default}"
        if not ref:
            note = f"DEFAULT_BRANCH is {default} first"
        return Preview(calls=(call,), notes=(note,) if or_default else ())

    def _body(self, deployment: Deployment, ref: str) -> dict[str, Any]:
        return {"ref": ref, "inputs": self._inputs(deployment)}

    @staticmethod
    def _with_details(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "return_run_details": True}

    async def _dispatched_at(self, deployment: Deployment, ref: str) -> Any:
        actions, body = self._actions(deployment), self._body(deployment, ref)
        try:
            try:
                return await actions.dispatch(self._file, self._with_details(body))
            except Rejected as error:
                if _rejection_code(error) != "unknown_key":
                    raise
            return await actions.dispatch(self._file, body)
        except Rejected as error:
            raise self._explained(error, deployment, ref) from error

    async def _find_run(
        self, actions: Actions, deployment: Deployment, run: Run
    ) -> WorkflowRun | None:
        if run.id.isdecimal():
            return await actions.run(int(run.id))
        return await self._find_by_title(actions, deployment)

    async def _find_by_title(self, actions: Actions, deployment: Deployment) -> WorkflowRun | None:
        """The run whose title names this deployment."""
        newest = await actions.newest_runs()
        found = self._first_with_title(newest, deployment)
        if found is not None or reaches_back(newest, deployment.created_at):
            return found
        since = deployment.created_at.astimezone(UTC).strftime(">=%Y-%m-%dT%H:%M:%SZ")
        indexed = await actions.runs_of_workflow(self._file, EVENT, since)
        return self._first_with_title(indexed, deployment)

    def _first_with_title(
        self, runs: Iterable[WorkflowRun], deployment: Deployment
    ) -> WorkflowRun | None:
        ours = [
            run
            for run in runs
            if run.event == EVENT
            and run.file == self._file
            and run.created_at >= deployment.created_at
            and run.mentions(deployment.id)
        ]
        return min(ours, key=lambda run: run.age, default=None)

    async def _run_of(
        self, deployment: Deployment, run: WorkflowRun, previous: Run, seen: Seen
    ) -> Run:
        jobs = await seen.jobs_of(self._actions(deployment), run)
        runs = [RunWithJobs(run, jobs)]
        return deployment_run(runs, previous, deployment.environment, now=self._clock())

    def _not_found(self, deployment: Deployment, run: Run) -> Run:
        if self._clock() <= _since(deployment, run) + self._options.start_within:
            return run
        expected = "${{ inputs." + self._options.correlation + " }}"
        file = quoted(self._file)
        description = f"No run of {file} names this deployment; put {expected} into its run-name"
        return Run("", State.ERROR, description=description)

    def _explained(self, error: Rejected, deployment: Deployment, ref: str = "") -> Rejected:
        """The same error with a message for whoever wrote the workflow."""
        file, at, code = quoted(self._file), quoted(ref), _rejection_code(error)
        match code:
            case "no_workflow":
                message = (
                    f"{deployment.repo} has no workflow {file} on its default branch that the App"
                    " can see; check `workflow` in deploy.yml"
                )
            case "too_many_inputs":
                # 10 on GitHub Enterprise Server 3.17 to 3.19.
                most = _found(code, error.reason, "most")
                given = len(self._options.inputs) + 1
                message = f"this GitHub takes {most} inputs, and deploy.yml gives {file} {given}"
            case "unexpected_inputs":
                names = _input_names(error.reason)
                message = f"{file} at {at} does not declare the input {names}; add it to its inputs"
            case "unknown_ref" if not _COMMIT.fullmatch(ref):
                message = (
                    f"GitHub has no branch or tag {at} (any more) to dispatch {file} on; deploy"
                    " another, or set `ref` in deploy.yml"
                )
            case "unknown_ref":
                message = (
                    f"GitHub dispatches workflows on branches and tags only, and {at} is none; set"
                    " `ref` in deploy.yml"
                )
            case "disabled_workflow":
                message = (
                    f"{file} is disabled in {deployment.repo}; enable it there: Actions, {file},"
                    ' "Enable workflow"'
                )
            case "invalid_workflow":
                fault = one_line(_found(code, error.reason, "fault"), MAX_FAULT)
                message = f"GitHub cannot read {file} at {at}; correct it: {fault}"
            case "no_dispatch_trigger":
                message = f"{file} at {at} has no `on: workflow_dispatch`; add it there"
            case "invalid_dispatch":
                message = f"GitHub refuses to start {file}: {error.reason or error}"
            case _:
                return error
        return Rejected(
            message,
            code=code,
            status=error.status,
            reason=error.reason,
            certain=code in _CERTAIN,
        )


def _rejection_code(error: Rejected) -> str:
    """GitHub's 422 has no code of its own, so its text is read; here only.

    Source: https://docs.github.com/rest/actions/workflows#create-a-workflow-dispatch-event
    """
    if error.status == 404:
        return "no_workflow"
    if error.status != 422:
        return error.code
    found = (code for code, pattern in _REASONS.items() if pattern.search(error.reason))
    return next(found, "invalid_dispatch")


def _found(code: str, reason: str, name: str) -> str:
    """What the pattern of `code` names in GitHub's text."""
    found = _REASONS[code].search(reason)
    return found[name] if found else ""


def _since(deployment: Deployment, run: Run) -> datetime:
    name, _, time = run.id.partition("=")
    # Any other id is from a time when the environment had another mode.
    return datetime.fromisoformat(time) if name == _DISPATCHED_AT else deployment.started_at


def _input_names(reason: str) -> str:
    """Of `Unexpected inputs provided: ["size", "deployment_id"]`."""
    try:
        names = json.loads(reason.partition(": ")[2])
    except ValueError:
        names = None
    if not isinstance(names, list):
        return reason
    return ", ".join(f"'{name}'" for name in names)

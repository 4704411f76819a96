"""`mode: dispatch`: a workflow with `on: workflow_dispatch` is started and followed.

One input carries the deployment's id. A workflow that puts it into `run-name` is found again by its
title where GitHub does not say which run it started: on older servers, and after a crash.

Source: https://docs.github.com/rest/actions/workflows#create-a-workflow-dispatch-event
Errors: `Rejected` in words for who wrote the workflow.
"""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from handlers.contract import Deployment, GitHubApi, Run, State
from handlers.errors import Rejected, Unavailable
from handlers.github_actions.api import Actions, WorkflowRun, mendable, web_url
from handlers.github_actions.options import GitHubActionsOptions
from handlers.github_actions.status import Seen, has_telling_jobs, quoted, standing
from handlers.options import fill

EVENT = "workflow_dispatch"
WRITE = {"actions": "write"}
WAITING = "Waiting for the workflow to start on GitHub"
DELETED = "The workflow run was deleted on GitHub before the relay saw how it ended"
# The id of a run that GitHub did not name, followed by when it was asked for.
_NAMELESS = "asked for at "


class Dispatch:
    def __init__(self, options: GitHubActionsOptions, github: GitHubApi) -> None:
        self._options = options
        self._github = github
        self._file = options.workflow or ""

    async def find(self, deployment: Deployment) -> Run | None:
        actions = self._actions(deployment)
        try:
            found = await self._titled(actions, deployment)
        except Rejected as error:
            raise self._in_words(error, deployment) from error
        before = Run("", State.QUEUED)
        return await self._followed(actions, deployment, found, before) if found else None

    async def start(self, deployment: Deployment) -> Run:
        ref, inputs = fill(self._options.ref, deployment), self._inputs(deployment)
        body: dict[str, Any] = {"ref": ref, "inputs": inputs}
        actions = self._actions(deployment)
        try:
            response = await self._dispatched(actions, body)
        except Rejected as error:
            raise self._in_words(error, deployment, ref) from error
        details = response if isinstance(response, dict) else {}
        run_id, url = details.get("workflow_run_id"), web_url(details.get("html_url"))
        if isinstance(run_id, int):
            return Run(str(run_id), State.QUEUED, url)
        nameless = f"{_NAMELESS}{datetime.now(UTC).isoformat()}"
        return Run(nameless, State.QUEUED, url, WAITING)

    async def check(self, deployment: Deployment, run: Run) -> Run:
        with mendable():
            actions = self._actions(deployment)
            found = await self._found(actions, deployment, run)
            if found is not None:
                return await self._followed(actions, deployment, found, run)
        if not run.id.isdecimal():
            return self._not_found(deployment, run)
        if run.state is State.QUEUED:
            raise Unavailable(f"GitHub does not know workflow run {run.id} yet")
        return Run(run.id, State.ERROR, run.url, DELETED)

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        actions = self._actions(deployment)
        found = await self._found(actions, deployment, run)
        if found is not None:
            await actions.cancel(found.id)

    def _actions(self, deployment: Deployment) -> Actions:
        return Actions(self._github, deployment, WRITE)

    def _inputs(self, deployment: Deployment) -> dict[str, str]:
        given = {name: fill(text, deployment) for name, text in self._options.inputs.items()}
        return {**given, self._options.correlation: str(deployment.id)}

    async def _dispatched(self, actions: Actions, body: dict[str, Any]) -> Any:
        try:
            return await actions.dispatch(self._file, {**body, "return_run_details": True})
        except Rejected as error:
            # GitHub Enterprise Server up to 3.19: "... is not a permitted key"; nothing was done.
            if "return_run_details" not in str(error):
                raise
        return await actions.dispatch(self._file, body)

    async def _found(
        self, actions: Actions, deployment: Deployment, run: Run
    ) -> WorkflowRun | None:
        if run.id.isdecimal():
            return await actions.run(int(run.id))
        return await self._titled(actions, deployment)

    async def _titled(self, actions: Actions, deployment: Deployment) -> WorkflowRun | None:
        """The run whose title names this deployment."""
        since = deployment.created_at.astimezone(UTC).strftime(">=%Y-%m-%dT%H:%M:%SZ")
        indexed = await actions.runs_of_workflow(self._file, EVENT, since)
        found = self._first_titled(indexed, deployment)
        return found or self._first_titled(await actions.newest_runs(), deployment)

    def _first_titled(
        self, runs: Iterable[WorkflowRun], deployment: Deployment
    ) -> WorkflowRun | None:
        ours = [
            run
            for run in runs
            if run.event == EVENT
            and run.file == self._file
            and run.created_at >= deployment.created_at
            and run.names(deployment.id)
        ]
        return min(ours, key=lambda run: run.age, default=None)

    async def _followed(
        self, actions: Actions, deployment: Deployment, run: WorkflowRun, before: Run
    ) -> Run:
        jobs = await actions.jobs(run.id) if has_telling_jobs(run) else None
        seen = [Seen(run, jobs)]
        return standing(seen, before, deployment.environment, now=datetime.now(UTC))

    def _not_found(self, deployment: Deployment, run: Run) -> Run:
        if datetime.now(UTC) <= _asked_at(deployment, run) + self._options.start_within:
            return run
        wanted = "${{ inputs." + self._options.correlation + " }}"
        file = quoted(self._file)
        words = f"No run of {file} names this deployment; put {wanted} into its run-name"
        return Run("", State.ERROR, description=words)

    def _in_words(self, error: Rejected, deployment: Deployment, ref: str = "") -> Rejected:
        reason = re.sub(r"^GitHub answered \d+: ", "", str(error))
        file, at = quoted(self._file), quoted(ref)
        if error.status == 404:
            words = (
                f"{deployment.repo} has no workflow {file} on its default branch that the App can"
                " see; check `workflow` in deploy.yml"
            )
        elif error.status != 422:
            return error
        elif reason.startswith("Unexpected inputs"):
            names = _names(reason)
            words = f"{file} at {at} does not declare the input {names}; add it to its inputs"
        elif reason.startswith("No ref found"):
            words = (
                f"GitHub dispatches workflows on branches and tags only, and {at} is none; set"
                " `ref` in deploy.yml"
            )
        elif "workflow_dispatch" in reason:
            words = f"{file} at {at} has no `on: workflow_dispatch`; add it there"
        else:
            words = f"GitHub refuses to start {file}: {reason}"
        return Rejected(words, status=error.status)


def _asked_at(deployment: Deployment, run: Run) -> datetime:
    try:
        return datetime.fromisoformat(run.id.removeprefix(_NAMELESS))
    except ValueError:
        return deployment.started_at  # the mode was another one then


def _names(reason: str) -> str:
    """Of `Unexpected inputs provided: ["size", "deployment_id"]`."""
    try:
        names = json.loads(reason.partition(": ")[2])
    except ValueError:
        names = None
    if not isinstance(names, list):
        return reason
    return ", ".join(f"'{name}'" for name in names)

"""GitHub Actions: workflows, their runs, and their part of the API.

A deployment starts each workflow `on: deployment` of its repository, unless it was created with the
GITHUB_TOKEN of a workflow. `index_lag` is how many seconds a filtered list lags behind, since
GitHub takes it from a search index. `deleted_refs`: no workflow can be dispatched there.
`run_details` is how the server treats `return_run_details`, which GitHub Enterprise Server up to
3.19 rejects.

Source: https://docs.github.com/rest/actions
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from aiohttp import web

from sandbox.github.auth import Auth, Caller
from sandbox.github.deployments import Deployments
from sandbox.github.documents import Documents
from sandbox.github.events import Events
from sandbox.github.model import (
    Account,
    Deployment,
    ErrorResponse,
    Json,
    Repository,
    Status,
    World,
)
from sandbox.github.request import body_of, page
from sandbox.github.webhooks import Webhooks
from sandbox.github_actions.documents import ActionsDocuments
from sandbox.github_actions.environments import Environments
from sandbox.github_actions.model import BOT, Job, Workflow, WorkflowRun, evaluate
from sandbox.github_actions.request import MAX_INPUTS, check_dispatch, dispatch_of, filtered
from sandbox.github_actions.runs import Runs, is_by_actions

ACTIONS = "/repos/{owner}/{repo}/actions"


@dataclass(frozen=True, slots=True)
class WorkflowCaller(Caller):
    """A job of a workflow, with its GITHUB_TOKEN."""

    workflow: Json | None = None
    workflow_run: Json | None = None


class Actions:
    """`runs` starts and ends them; `Runs` has what a test can control."""

    def __init__(
        self, world: World, documents: Documents, events: Events, auth: Auth, hooks: Webhooks
    ) -> None:
        self.documents = ActionsDocuments(documents)
        self.runs = Runs(world, self.documents, events, hooks)
        self.environments = Environments(
            world, documents, self.documents, events, auth, hooks, self.runs
        )
        self.runs.environments = self.environments
        self.workflows: list[Workflow] = []
        self.deleted_refs: set[str] = set()
        self.max_inputs = MAX_INPUTS  # 10 on GitHub Enterprise Server 3.17 to 3.19
        self.index_lag = 0.0
        self.run_details: Literal["returned", "ignored", "rejected"] = "returned"
        self._world = world
        self._github_documents = documents
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        run, workflow = ACTIONS + "/runs/{id:\\d+}", ACTIONS + "/workflows/{workflow}"
        return [
            web.get(ACTIONS + "/runs", self._list),
            web.get(workflow + "/runs", self._list_runs_of_workflow),
            web.get(run, self._read),
            web.get(run + "/jobs", self._jobs),
            web.post(run + "/cancel", self._cancel),
            web.post(workflow + "/dispatches", self._dispatch),
            *self.environments.routes(),
        ]

    def add_workflow(
        self,
        repository: str,
        file: str = "deploy.yml",
        *,
        name: str = "Deploy",
        on: Sequence[str] = ("deployment",),
        inputs: Mapping[str, bool] | None = None,
        run_name: str = "",
        jobs: Sequence[Job] = (Job(),),
        state: str = "active",
        fault: str = "",
    ) -> Workflow:
        """`inputs` are those of workflow_dispatch: name -> whether it is required."""
        workflow = Workflow(
            id=self._world.id(),
            repository=self._world.repository(repository),
            file=file,
            name=name,
            on=frozenset(on),
            inputs=dict(inputs or {}),
            run_name=run_name,
            jobs=tuple(jobs),
            state=state,
            fault=fault,
        )
        self.workflows.append(workflow)
        return workflow

    def runs_of(self, deployment: Deployment) -> list[WorkflowRun]:
        """The runs that it started, or that were dispatched for it; oldest first."""
        return [run for run in self.runs.by_id.values() if run.deployment is deployment]

    def trigger(self, deployment: Deployment) -> None:
        if is_by_actions(deployment):
            return
        event = {"deployment": self._github_documents.deployment(deployment)}
        for workflow in self.workflows:
            if not _is_started_by(deployment, workflow):
                continue
            self.runs.start(
                workflow,
                "deployment",
                sha=deployment.sha,
                branch=deployment.ref if deployment.ref != deployment.sha else None,
                actor=deployment.creator,
                title=_title(workflow, {"github": {"event": event}}),
                deployment=deployment,
                environment=deployment.environment,
            )

    def start(
        self, workflow: Workflow, event: str = "push", *, ref: str = "main", by: Account
    ) -> WorkflowRun:
        """A run of the workflow, by what somebody did."""
        return self.runs.start(
            workflow,
            event,
            sha=workflow.repository.sha(ref),
            branch=ref,
            actor=by,
            title=_title(workflow, {}),
            deployment=None,
            environment="",
        )

    def write_statuses_to(self, deployments: Deployments) -> None:
        """Jobs create their deployments and statuses there."""
        self.environments.deployments = deployments

        def write(run: WorkflowRun, deployment: Deployment, body: Json) -> None:
            run_document = self.documents.run(run)
            workflow = self.documents.workflow(run.workflow)
            caller = WorkflowCaller(BOT, None, workflow, run_document)
            body = {"log_url": run_document["html_url"], **body}
            deployments.create_status(caller, deployment, body)

        self.runs.write_status = write

    async def _list(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "actions", "read")
        runs = [run for run in self.runs.by_id.values() if run.repository is repository]
        return self._page(request, runs)

    async def _list_runs_of_workflow(self, request: web.Request) -> web.Response:
        _, workflow = self._workflow(request, "read")
        runs = [run for run in self.runs.by_id.values() if run.workflow is workflow]
        return self._page(request, runs)

    def _page(self, request: web.Request, runs: list[WorkflowRun]) -> web.Response:
        """Newest first."""
        runs = filtered(runs, request.query, timedelta(seconds=self.index_lag))
        items, headers = page(request, runs[::-1], self._github_documents.api)
        found = [self.documents.run(run) for run in items]
        document = {"total_count": len(runs), "workflow_runs": found}
        return web.json_response(document, headers=headers)

    async def _read(self, request: web.Request) -> web.Response:
        return web.json_response(self.documents.run(self._run(request, "read")))

    async def _jobs(self, request: web.Request) -> web.Response:
        run = self._run(request, "read")
        items, headers = page(request, run.jobs, self._github_documents.api)
        found = [self.documents.job(run, job) for job in items]
        document = {"total_count": len(run.jobs), "jobs": found}
        return web.json_response(document, headers=headers)

    async def _cancel(self, request: web.Request) -> web.Response:
        self.runs.cancel(self._run(request, "write"))
        return web.json_response({}, status=202)

    async def _dispatch(self, request: web.Request) -> web.Response:
        caller, workflow = self._workflow(request, "write")
        dispatch = dispatch_of(
            await body_of(request),
            rejects_run_details=self.run_details == "rejected",
            max_inputs=self.max_inputs,
        )
        check_dispatch(dispatch, workflow, self.deleted_refs)
        inputs: Json = dispatch.inputs
        by_input = [self._world.deployments.get(int(v)) for v in inputs.values() if v.isdecimal()]
        run = self.runs.start(
            workflow,
            "workflow_dispatch",
            sha=workflow.repository.sha(dispatch.ref),
            branch=dispatch.ref,
            actor=caller.account,
            title=_title(workflow, {"inputs": inputs, "github": {"event": {"inputs": inputs}}}),
            deployment=next((deployment for deployment in by_input if deployment), None),
            environment=inputs.get("environment", ""),
            inputs=inputs,
        )
        if dispatch.run_details and self.run_details == "returned":
            return web.json_response(self.documents.details(run))
        return web.Response(status=204)

    def _run(self, request: web.Request, level: str) -> WorkflowRun:
        _, repository = self._auth.authorize(request, "actions", level)
        run = self.runs.by_id.get(int(request.match_info["id"]))
        if run is None or run.repository is not repository:
            raise ErrorResponse(404, "Not Found")
        return run

    def _workflow(self, request: web.Request, level: str) -> tuple[Caller, Workflow]:
        """By its id or by the name of its file."""
        caller, repository = self._auth.authorize(request, "actions", level)
        id_or_file = request.match_info["workflow"]
        for workflow in self.workflows:
            if workflow.repository is repository and id_or_file in (
                workflow.file,
                str(workflow.id),
            ):
                return caller, workflow
        raise ErrorResponse(404, "Not Found")


class ActionsDeployments(Deployments):
    """Deployments that start workflows, and whose statuses name the run that created them."""

    def __init__(
        self,
        world: World,
        documents: Documents,
        events: Events,
        auth: Auth,
        hooks: Webhooks,
        *,
        actions: Actions,
    ) -> None:
        super().__init__(world, documents, events, auth, hooks)
        self._actions = actions
        actions.write_statuses_to(self)

    def create(
        self,
        caller: Caller,
        repository: Repository,
        body: Json,
        workflow_run: Json | None = None,
        *,
        at: datetime | None = None,
        delivered: bool = True,
    ) -> Deployment:
        deployment = super().create(
            caller, repository, body, workflow_run, at=at, delivered=delivered
        )
        self._actions.trigger(deployment)
        return deployment

    def _new_status(self, caller: Caller, deployment: Deployment, body: Json) -> Status:
        status = super()._new_status(caller, deployment, body)
        if isinstance(caller, WorkflowCaller):
            status.workflow, status.workflow_run = caller.workflow, caller.workflow_run
        return status


def _title(workflow: Workflow, context: Json) -> str:
    return evaluate(workflow.run_name, context) or workflow.name


def _is_started_by(deployment: Deployment, workflow: Workflow) -> bool:
    missing = workflow.missing_at & {deployment.ref, deployment.sha}
    same_repository = workflow.repository is deployment.repository
    runs = workflow.state == "active" and "deployment" in workflow.on
    return same_repository and runs and not missing

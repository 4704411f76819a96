"""GitHub Actions: workflows, their runs, and what the API says of them.

A deployment starts each workflow `on: deployment` of its repository, unless the token of a workflow
made it. `index_lag` is by how many seconds lists with a filter are behind, which GitHub takes from
a search index. `run_details` is how the server takes `return_run_details`, which GitHub Enterprise
Server up to 3.19 refuses.

Source: https://docs.github.com/rest/actions
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from aiohttp import web

from sandbox.github.auth import Auth, Caller
from sandbox.github.deployments import Deployments
from sandbox.github.documents import Documents
from sandbox.github.events import Events
from sandbox.github.fields import body_of, page
from sandbox.github.hooks import Hooks
from sandbox.github.model import Deployment, Json, RefusedError, Repository, Status, World
from sandbox.github_actions.documents import ActionsDocuments
from sandbox.github_actions.filters import filtered
from sandbox.github_actions.inputs import check_dispatch, dispatch_of
from sandbox.github_actions.model import BOT, Job, Workflow, WorkflowRun, filled
from sandbox.github_actions.runs import Runs, is_by_actions

ACTIONS = "/repos/{owner}/{repo}/actions"


@dataclass(frozen=True, slots=True)
class WorkflowCaller(Caller):
    """A job of a workflow, with its GITHUB_TOKEN."""

    workflow: Json | None = None
    workflow_run: Json | None = None


class Actions:
    """`runs` begins and ends them; see there for `held`, `pace` and what a test may do."""

    def __init__(
        self, world: World, documents: Documents, events: Events, auth: Auth, hooks: Hooks
    ) -> None:
        self.documents = ActionsDocuments(documents)
        self.runs = Runs(world, self.documents, events, hooks)
        self.workflows: list[Workflow] = []
        self.index_lag = 0.0
        self.run_details: Literal["given", "ignored", "refused"] = "given"
        self._world = world
        self._plain = documents
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        run, workflow = ACTIONS + "/runs/{id:\\d+}", ACTIONS + "/workflows/{workflow}"
        return [
            web.get(ACTIONS + "/runs", self._list),
            web.get(workflow + "/runs", self._list_of_workflow),
            web.get(run, self._read),
            web.get(run + "/jobs", self._jobs),
            web.post(run + "/cancel", self._cancel),
            web.post(workflow + "/dispatches", self._dispatch),
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
    ) -> Workflow:
        """`inputs` are those of workflow_dispatch: their names, and whether they are required."""
        workflow = Workflow(
            id=self._world.id(),
            repository=self._world.repository(repository),
            file=file,
            name=name,
            on=frozenset(on),
            inputs=dict(inputs or {}),
            run_name=run_name,
            jobs=tuple(jobs),
        )
        self.workflows.append(workflow)
        return workflow

    def runs_of(self, deployment: Deployment) -> list[WorkflowRun]:
        """Those that it started, or that were dispatched for it; oldest first."""
        return [run for run in self.runs.every.values() if run.deployment is deployment]

    def triggered_by(self, deployment: Deployment) -> None:
        if is_by_actions(deployment):
            return
        event = {"deployment": self._plain.deployment(deployment)}
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

    def write_through(self, deployments: Deployments) -> None:
        """Let jobs write deployment statuses there."""

        def write(run: WorkflowRun, deployment: Deployment, body: Json) -> None:
            run_document = self.documents.run(run)
            workflow = self.documents.workflow(run.workflow)
            caller = WorkflowCaller(BOT, None, workflow, run_document)
            body = {"log_url": run_document["html_url"], **body}
            deployments.create_status(caller, deployment, body)

        self.runs.write_status = write

    async def _list(self, request: web.Request) -> web.Response:
        _, repository = self._auth.enter(request, "actions", "read")
        every = [run for run in self.runs.every.values() if run.repository is repository]
        return self._listed(request, every)

    async def _list_of_workflow(self, request: web.Request) -> web.Response:
        _, workflow = self._workflow(request, "read")
        every = [run for run in self.runs.every.values() if run.workflow is workflow]
        return self._listed(request, every)

    def _listed(self, request: web.Request, every: list[WorkflowRun]) -> web.Response:
        """Newest first."""
        every = filtered(every, request.query, timedelta(seconds=self.index_lag))
        items, headers = page(request, every[::-1], self._plain.api)
        found = [self.documents.run(run) for run in items]
        document = {"total_count": len(every), "workflow_runs": found}
        return web.json_response(document, headers=headers)

    async def _read(self, request: web.Request) -> web.Response:
        return web.json_response(self.documents.run(self._run(request, "read")))

    async def _jobs(self, request: web.Request) -> web.Response:
        run = self._run(request, "read")
        items, headers = page(request, run.jobs, self._plain.api)
        found = [self.documents.job(run, job) for job in items]
        document = {"total_count": len(run.jobs), "jobs": found}
        return web.json_response(document, headers=headers)

    async def _cancel(self, request: web.Request) -> web.Response:
        self.runs.cancel(self._run(request, "write"))
        return web.json_response({}, status=202)

    async def _dispatch(self, request: web.Request) -> web.Response:
        caller, workflow = self._workflow(request, "write")
        dispatch = dispatch_of(await body_of(request), refuses=self.run_details == "refused")
        check_dispatch(dispatch, workflow)
        inputs: Json = dispatch.inputs
        named = [self._world.deployments.get(int(v)) for v in inputs.values() if v.isdecimal()]
        run = self.runs.start(
            workflow,
            "workflow_dispatch",
            sha=workflow.repository.sha(dispatch.ref),
            branch=dispatch.ref,
            actor=caller.account,
            title=_title(workflow, {"inputs": inputs, "github": {"event": {"inputs": inputs}}}),
            deployment=next((deployment for deployment in named if deployment), None),
            environment=inputs.get("environment", ""),
        )
        if dispatch.run_details and self.run_details == "given":
            return web.json_response(self.documents.details(run))
        return web.Response(status=204)

    def _run(self, request: web.Request, level: str) -> WorkflowRun:
        _, repository = self._auth.enter(request, "actions", level)
        run = self.runs.every.get(int(request.match_info["id"]))
        if run is None or run.repository is not repository:
            raise RefusedError(404, "Not Found")
        return run

    def _workflow(self, request: web.Request, level: str) -> tuple[Caller, Workflow]:
        """By its id or the name of its file."""
        caller, repository = self._auth.enter(request, "actions", level)
        wanted = request.match_info["workflow"]
        for workflow in self.workflows:
            if workflow.repository is repository and wanted in (workflow.file, str(workflow.id)):
                return caller, workflow
        raise RefusedError(404, "Not Found")


class ActiveDeployments(Deployments):
    """Deployments that start workflows, and whose statuses tell which run wrote them."""

    def __init__(
        self,
        world: World,
        documents: Documents,
        events: Events,
        auth: Auth,
        hooks: Hooks,
        *,
        actions: Actions,
    ) -> None:
        super().__init__(world, documents, events, auth, hooks)
        self._actions = actions
        actions.write_through(self)

    def create(
        self, caller: Caller, repository: Repository, body: Json, workflow_run: Json | None = None
    ) -> Deployment:
        deployment = super().create(caller, repository, body, workflow_run)
        self._actions.triggered_by(deployment)
        return deployment

    def _new_status(self, caller: Caller, deployment: Deployment, body: Json) -> Status:
        status = super()._new_status(caller, deployment, body)
        if isinstance(caller, WorkflowCaller):
            status.workflow, status.workflow_run = caller.workflow, caller.workflow_run
        return status


def _title(workflow: Workflow, context: Json) -> str:
    return filled(workflow.run_name, context) or workflow.name


def _is_started_by(deployment: Deployment, workflow: Workflow) -> bool:
    missing = workflow.missing_at & {deployment.ref, deployment.sha}
    ours = workflow.repository is deployment.repository
    return ours and "deployment" in workflow.on and not missing

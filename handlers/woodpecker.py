"""Restarts a pipeline of Woodpecker CI as a deployment. docs/how-to/add-a-tool.md walks through it.

Source: https://github.com/woodpecker-ci/woodpecker, server/api/pipeline.go (3.0 and newer)
Errors: those of http.py; `Rejected` for what Woodpecker does not have or does not allow.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, Field, PositiveInt
from yarl import URL

from handlers import contract
from handlers.contract import Deployment, HandlerContext, Pace, Run, State
from handlers.errors import Rejected
from handlers.http import Request, Response, read_only
from handlers.options import BaseUrl, Template, Text, fill
from handlers.preview import HttpPreview, Preview

PAGE, MAX_PAGES = 50, 10  # Woodpecker lists 50 pipelines at a time
STATES = {
    "created": (State.QUEUED, ""),
    "pending": (State.QUEUED, ""),
    "blocked": (State.QUEUED, "waits for approval in Woodpecker"),
    "running": (State.IN_PROGRESS, ""),
    "success": (State.SUCCESS, ""),
    "failure": (State.FAILURE, "a step failed in Woodpecker"),
    "error": (State.ERROR, "Woodpecker could not run it; its page there says why"),
    "killed": (State.ERROR, "cancelled in Woodpecker"),
    "canceled": (State.ERROR, "cancelled in Woodpecker before it began"),
    "declined": (State.ERROR, "declined in Woodpecker"),
    "skipped": (State.ERROR, "skipped by Woodpecker"),
}
NOT_BUILT = "Woodpecker has no successful pipeline of {} yet"
NOT_VISIBLE = {404: "the repository is not in Woodpecker, or the token's user may not see it"}
NOT_DEPLOYED = {
    403: "the repository's 'Allow Deployments' is off in Woodpecker",
    404: "Woodpecker deploys for those who may push; the token's user may not",
}
T = TypeVar("T")


def _free(names: dict[str, str]) -> dict[str, str]:
    if reserved := sorted(names.keys() & {"event", "deploy_to", "deploy_task", "fork"}):
        raise ValueError(f"'{reserved[0]}' means something else to Woodpecker; use another name")
    return names


class WoodpeckerOptions(contract.Options):
    url: BaseUrl
    """Where people open Woodpecker."""
    token: Text = Field(repr=False)
    """A personal access token of a user who may push to the repositories."""
    deploy_to: Template = "{environment}"
    """The value of CI_PIPELINE_DEPLOY_TARGET in workflows."""
    parameters: Annotated[dict[str, Template], AfterValidator(_free)] = Field(default_factory=dict)
    """Variables for the workflows."""


class Repo(BaseModel):
    id: PositiveInt


class Pipeline(BaseModel):
    number: PositiveInt
    status: str = Field(max_length=40)
    commit: str
    deploy_task: str
    workflows: list[Any] | None = None


Matches = Callable[[Pipeline], bool]


class Woodpecker:
    Options: ClassVar[type[contract.Options]] = WoodpeckerOptions
    local: ClassVar[bool] = False
    pace: ClassVar[Pace] = Pace(least=2, most=15)
    # A dozen slow calls may come before the one that starts it, which may wait for GitHub itself.
    appears_within: ClassVar[timedelta] = timedelta(minutes=3)

    def __init__(self, options: WoodpeckerOptions, context: HandlerContext) -> None:
        self._options = options
        self._http = context.http

    async def find(self, deployment: Deployment) -> Run | None:
        repo = await self._repo(deployment)
        # An hour, since its clock may be behind GitHub's.
        after = (deployment.created_at - timedelta(hours=1)).isoformat()
        query = {"event": "deployment", "after": after}
        ours = await self._newest(repo, query, lambda p: p.deploy_task == _mark(deployment))
        # The oldest: whoever restarts it in Woodpecker copies the mark.
        return await self.check(deployment, self._queued(repo, ours[-1])) if ours else None

    async def start(self, deployment: Deployment) -> Run:
        values = _values(self._options, deployment)
        with read_only():
            repo, number = await self._newest_built(deployment)
        response = await self._call("POST", f"{repo}/pipelines/{number}", values)
        pipeline = _read(Pipeline, response, NOT_DEPLOYED)
        return _updated(self._queued(repo, pipeline), pipeline)

    async def check(self, deployment: Deployment, run: Run) -> Run:
        response = await self._call("GET", run.id)
        repo = run.id.partition("/")[0]
        # It responds with 404 to a token without rights, too, but then for the repository as well.
        if response.status == 404 and (await self._call("GET", repo)).ok:
            raise Rejected("it is gone from Woodpecker", status=404)
        if not response.ok:
            raise response.unavailable()
        return _updated(run, response.read(Pipeline))

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        response = await self._call("POST", f"{run.id}/cancel")
        is_gone = response.status == 404 and (await self._call("GET", run.id)).status == 404
        if not (response.ok or response.status == 400 or is_gone):  # 400: it has ended
            raise response.unavailable()

    def preview(self, deployment: Deployment) -> Preview:
        return _preview(self._options, deployment)

    async def _call(self, method: str, path: str, query: dict[str, str] | None = None) -> Response:
        return await self._http.send("Woodpecker", _request(self._options, method, path, query))

    async def _repo(self, deployment: Deployment) -> int:
        response = await self._call("GET", f"lookup/{deployment.repo}")
        return _read(Repo, response, NOT_VISIBLE).id

    async def _newest_built(self, deployment: Deployment) -> tuple[int, int]:
        """The repository, and its newest pipeline that may be deployed."""
        repo = await self._repo(deployment)
        query = {"event": "push,tag,manual", "status": "success"}
        built = await self._newest(repo, query, lambda p: p.commit == deployment.sha)
        if not built:
            raise Rejected(NOT_BUILT.format(deployment.sha[:7]), certain=False)
        return repo, built[0].number

    async def _newest(self, repo: int, query: dict[str, str], matches: Matches) -> list[Pipeline]:
        """Those that match on the first page that has any, newest first."""
        for page in range(1, MAX_PAGES + 1):
            response = await self._call("GET", f"{repo}/pipelines", query | {"page": f"{page}"})
            pipelines = _read(list[Pipeline], response)
            if (found := [p for p in pipelines if matches(p)]) or len(pipelines) < PAGE:
                return found
        return []

    def _queued(self, repo: int, pipeline: Pipeline) -> Run:
        page = f"{self._options.url}/repos/{repo}/pipeline/{pipeline.number}"
        return Run(f"{repo}/pipelines/{pipeline.number}", State.QUEUED, page)


def _mark(deployment: Deployment) -> str:
    return f"gitploy-{deployment.id}"


def _values(options: WoodpeckerOptions, deployment: Deployment) -> dict[str, str]:
    values = {name: fill(text, deployment) for name, text in options.parameters.items()}
    target = fill(options.deploy_to, deployment)
    return values | {"event": "deployment", "deploy_to": target, "deploy_task": _mark(deployment)}


def _request(
    options: WoodpeckerOptions, method: str, path: str, query: dict[str, str] | None = None
) -> Request:
    url = URL(f"{options.url}/api/repos/{path}").extend_query(query or {})
    return Request(method, url, {"Authorization": f"Bearer {options.token}"})


def _preview(options: WoodpeckerOptions, deployment: Deployment) -> Preview:
    values = _values(options, deployment)
    request = _request(options, "POST", "REPO/pipelines/NUMBER", values)
    built = f"that of its newest successful pipeline of {deployment.sha[:7]}"
    note = f"Woodpecker is asked first: REPO is the number of {deployment.repo}, NUMBER {built}"
    return Preview(calls=(HttpPreview.of(request),), notes=(note,))


def _updated(run: Run, pipeline: Pipeline) -> Run:
    unknown = f"Woodpecker says '{pipeline.status}', which the relay does not know"
    state, description = STATES.get(pipeline.status, (run.state, unknown))
    if pipeline.status == "pending" and not pipeline.workflows:
        description = "nothing to run: no workflow is for `event: deployment`"
    # What has begun does not wait again.
    if state is State.QUEUED and run.state is State.IN_PROGRESS:
        state = run.state
    return replace(run, state=state, description=description, held=pipeline.status == "blocked")


def _read(shape: type[T], response: Response, messages: Mapping[int, str] | None = None) -> T:
    """`messages` for a status, where http.py's own would not help."""
    if messages and response.status in messages:
        raise Rejected(messages[response.status], status=response.status)
    if not response.ok:
        raise response.rejected()
    return response.read(shape)

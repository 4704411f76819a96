"""The stand-in for Woodpecker CI: repositories and their pipelines, over HTTP.

Source: https://github.com/woodpecker-ci/woodpecker, server/api/pipeline.go and server/pipeline/
Units: `takes` in seconds; Woodpecker's own times are Unix seconds.
Errors: mostly a status without a body: 401 without a valid token; 404 for what does not exist and
for what the token's user has no permission to do; 400 and 403 for what is not possible; 500 for a
configuration that cannot be read. Any other path gets the web page and 200.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.server import Server

Json = dict[str, Any]

EVENTS = {"push", "tag", "release", "deployment", "cron", "manual", "pull_request"}
EVENTS |= {"pull_request_closed", "pull_request_metadata"}
WAITING, ACTIVE = {"created", "pending", "blocked"}, {"pending", "running", "blocked"}
OVER = {"success", "failure", "error", "killed", "canceled", "declined", "skipped"}
PAGE = 50
PATH = "/api/repos/{repo}/pipelines"
HTML = "<!doctype html><title>Woodpecker</title>"


@dataclass(slots=True)
class Pipeline:
    """`variables` are the environment variables from the query, which no document contains.

    `config`: `good`, `broken` (it cannot be read) or `missing` (in Woodpecker's own store).
    """

    number: int
    commit: str
    event: str = "push"
    status: str = "success"
    parent: int = 0
    rerun_count: int = 0
    deploy_to: str = ""
    deploy_task: str = ""
    workflows: tuple[str, ...] = ("build",)
    variables: dict[str, str] = field(default_factory=dict)
    config: str = "good"
    created: float = field(default_factory=time.time)


@dataclass(slots=True)
class Repo:
    """`pull` and `push` are the permissions of the token's user; `deploys` are the workflows for
    deployments."""

    id: int
    name: str
    public: bool = False
    pull: bool = True
    push: bool = True
    allow_deploy: bool = True
    deploys: tuple[str, ...] = ("deploy",)
    pipelines: list[Pipeline] = field(default_factory=list)
    last: int = 0

    def add(self, commit: str, **fields: Any) -> Pipeline:
        """A pipeline that exists already; by default that of a push, and successful."""
        return self.append(Pipeline(0, commit, **fields))

    def append(self, pipeline: Pipeline) -> Pipeline:
        self.last += 1  # the number of a deleted pipeline is not used again
        pipeline.number = self.last
        self.pipelines.append(pipeline)
        return pipeline

    @property
    def deployments(self) -> list[Pipeline]:
        return [pipeline for pipeline in self.pipelines if pipeline.event == "deployment"]


class Woodpecker(Server):
    """A deployment is pending for `takes`, then running for `takes`, and ends as `outcome`. Without
    `takes` it keeps its status until a test sets another one."""

    def __init__(
        self,
        *,
        token: str = "woodpecker-token",
        takes: float | None = None,
        outcome: str = "success",
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.token = token
        self.takes = takes
        self.outcome = outcome
        self.repos: list[Repo] = []

    def add_repo(self, name: str, **fields: Any) -> Repo:
        repo = Repo(len(self.repos) + 1, name, **fields)
        self.repos.append(repo)
        return repo

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/api/repos/lookup/{name:.+}", self._show_repo),
            web.get("/api/repos/{repo}", self._show_repo),
            web.get(PATH, self._list),
            web.get(PATH + "/{number}", self._show),
            web.post(PATH + "/{number}", self._restart),
            web.post(PATH + "/{number}/cancel", self._cancel),
            web.route("*", "/{path:.*}", self._page),
        ]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware]

    # -- the API ------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=HTML, content_type="text/html")

    async def _show_repo(self, request: web.Request) -> web.Response:
        repo = self._repo(request)
        return web.json_response(
            {"id": repo.id, "full_name": repo.name, "allow_deploy": repo.allow_deploy}
        )

    async def _list(self, request: web.Request) -> web.Response:
        """With the filters `event`, `status` and `after`; a page always has 50."""
        pipelines, query = map(self._advanced, self._repo(request).pipelines), request.query
        events = set(query["event"].split(",")) if query.get("event") else EVENTS
        statuses = {query["status"]} if query.get("status") else WAITING | ACTIVE | OVER
        if not events <= EVENTS or not statuses <= WAITING | ACTIVE | OVER:
            raise web.HTTPBadRequest(text="")
        after = _timestamp(query.get("after", ""))
        found = [p for p in pipelines if p.event in events and p.status in statuses]
        documents = [_document(p) for p in reversed(found) if int(p.created) > after]
        page = query.get("page", "")
        begin = PAGE * (max(1, int(page)) - 1 if page.isdecimal() else 0)
        return web.json_response(documents[begin : begin + PAGE])

    async def _show(self, request: web.Request) -> web.Response:
        pipeline = self._advanced(self._pipeline(request, self._repo(request)))
        return web.json_response(_document(pipeline) | _workflows(pipeline))

    async def _restart(self, request: web.Request) -> web.Response:
        repo = self._repo(request, push=True)
        old, query = self._pipeline(request, repo), dict(request.query)
        variables = {name: query[name] for name in query.keys() - {"fork", "event", "deploy_to"}}
        new = replace(
            old, status="pending", parent=old.number, variables=variables, created=time.time()
        )
        new.rerun_count += 1
        new.deploy_task = query.get("deploy_task", old.deploy_task)
        if "event" in query:
            if query["event"] != "deployment":
                raise web.HTTPBadRequest(text="")
            if not repo.allow_deploy:
                raise web.HTTPForbidden(text="")
            new.event, new.deploy_to = "deployment", query.get("deploy_to", old.deploy_to)
            new.workflows = repo.deploys
        if old.status == "blocked":
            raise web.HTTPBadRequest(text="cannot restart a pipeline with status blocked")
        repo.append(new)
        if new.config != "good":
            new.status, new.workflows = "error", ()
        if new.config == "broken":
            raise web.HTTPInternalServerError(text="")
        return web.json_response(_document(new) | _workflows(new))

    async def _cancel(self, request: web.Request) -> web.Response:
        pipeline = self._advanced(self._pipeline(request, self._repo(request, push=True)))
        if pipeline.status not in ACTIVE:
            message = "Cannot cancel a non-running or non-pending or non-blocked pipeline"
            raise web.HTTPBadRequest(text=message)
        pipeline.status = "canceled" if pipeline.status == "pending" else "killed"
        return web.Response(status=204)

    # -- permissions --------------------------------------------------------------------------

    def _repo(self, request: web.Request, *, push: bool = False) -> Repo:
        signed_in = request.headers.get("Authorization") == f"Bearer {self.token}"
        name = request.match_info.get("name")
        number = 0 if name else _path_number(request, "repo")
        for repo in self.repos:
            allowed = signed_in and repo.push if push else repo.public or (signed_in and repo.pull)
            if allowed and (repo.name == name or repo.id == number):
                return repo
        raise web.HTTPNotFound(text="") if signed_in else web.HTTPUnauthorized(text="")

    def _pipeline(self, request: web.Request, repo: Repo) -> Pipeline:
        number = _path_number(request, "number")
        for pipeline in repo.pipelines:
            if pipeline.number == number:
                return pipeline
        raise web.HTTPNotFound(text="")

    def _advanced(self, pipeline: Pipeline) -> Pipeline:
        """The agents' work, done when the pipeline is read; without a workflow there is none."""
        if self.takes is not None and pipeline.workflows and pipeline.event == "deployment":
            age = time.time() - pipeline.created
            if pipeline.status == "pending" and age >= self.takes:
                pipeline.status = "running"
            if pipeline.status == "running" and age >= 2 * self.takes:
                pipeline.status = self.outcome
        return pipeline


def _document(pipeline: Pipeline) -> Json:
    created = int(pipeline.created)
    return {
        "id": 1000 + pipeline.number,
        "number": pipeline.number,
        "author": "octocat",
        "parent": pipeline.parent,
        "event": pipeline.event,
        "status": pipeline.status,
        "errors": None,
        "created": created,
        "updated": created,
        "started": 0 if pipeline.status in WAITING else created,
        "finished": created if pipeline.status in OVER else 0,
        "deploy_to": pipeline.deploy_to,
        "deploy_task": pipeline.deploy_task,
        "commit": pipeline.commit,
        "branch": "main",
        "rerun_count": pipeline.rerun_count,
        "ref": "refs/heads/main",
        "version": "3.17.0",
    }


def _workflows(pipeline: Pipeline) -> Json:
    """Omitted if there are none, and in lists."""
    workflows = [{"name": name, "state": pipeline.status} for name in pipeline.workflows]
    return {"workflows": workflows} if workflows else {}


def _path_number(request: web.Request, name: str) -> int:
    if not request.match_info[name].isdecimal():
        raise web.HTTPBadRequest(text="")
    return int(request.match_info[name])


def _timestamp(text: str) -> int:
    """RFC 3339 with an offset; 0 for an empty text."""
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise web.HTTPBadRequest(text="") from None
    if at and at.tzinfo is None:
        raise web.HTTPBadRequest(text="")
    return int(at.timestamp()) if at else 0

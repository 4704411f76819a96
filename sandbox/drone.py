"""The stand-in for Drone CI 2: repositories and their builds, over HTTP.

Source: https://github.com/harness/drone/tree/drone, handler/api/repos/builds, handler/api/user and
    trigger/trigger.go
Units: seconds; in documents Unix seconds.
Errors: `{"message": ...}` with 400; 401 for an unknown token, except to read a public repository;
404 for what does not exist and for what the token's user has no permission to do. A path that is
not the API's gets the web page and 200.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal
from urllib.parse import unquote_plus

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.server import Server

Json = dict[str, Any]
Access = Literal["none", "read", "write"]

OPEN = ("waiting_on_dependencies", "pending", "running", "blocked")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A document of .drone.yml with its trigger; as in Drone, an empty list matches all."""

    name: str
    events: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def is_triggered(self, event: str, target: str) -> bool:
        return _matches(self.events, event) and _matches(self.targets, target)


def _matches(globs: Iterable[str], value: str) -> bool:
    patterns = tuple(globs)
    return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)


@dataclass(slots=True)
class Build:
    """Advances by itself along `plan`: (time, status); without a plan it stays as it is.

    `ignored`: a step that fails with `failure: ignore`.
    """

    number: int
    event: str
    after: str
    status: str = "pending"
    params: dict[str, str] = field(default_factory=dict)
    deploy_to: str = ""
    deploy_id: int = 0
    parent: int = 0
    ref: str = "refs/heads/main"
    trigger: str = "@hook"
    error: str = ""
    pipelines: tuple[str, ...] = ("default",)
    blocked: bool = False
    ignored: str = ""
    created: float = field(default_factory=time.time)
    started: float = 0
    finished: float = 0
    plan: list[tuple[float, str]] = field(default_factory=list)

    def schedule(self, takes: float, ends: str) -> None:
        """Pending for a quarter of the time, then running, then ended."""
        now = time.time()
        self.plan = [(now + takes / 4, "running"), (now + takes, ends)]

    def advance(self, now: float) -> None:
        while self.plan and self.plan[0][0] <= now:
            self.set_status(self.plan.pop(0)[1])

    def set_status(self, status: str, error: str = "") -> None:
        self.status, self.error = status, error
        if status not in ("pending", "blocked", "waiting_on_dependencies"):
            self.started = self.started or time.time()
        self.finished = 0 if status in OPEN else time.time()

    def document(self, *, stages: bool = False) -> Json:
        document = {
            "id": 1000 + self.number,
            "trigger": self.trigger,
            "number": self.number,
            "parent": self.parent,
            "status": self.status,
            "error": self.error,
            "event": self.event,
            "message": "",
            "before": "",
            "after": self.after,
            "ref": self.ref,
            "params": self.params,
            "deploy_to": self.deploy_to,
            "deploy_id": self.deploy_id,
            "started": int(self.started),
            "finished": int(self.finished),
            "created": int(self.created),
            "updated": int(time.time()),
            "version": 1,
            "stages": self._stages() if stages else [],
        }
        omitted_if_empty = ("parent", "error", "params", "deploy_to", "deploy_id", "stages")
        return {k: v for k, v in document.items() if v or k not in omitted_if_empty}

    def _stages(self) -> list[Json]:
        """Drone blocks the pipelines of a build, while the build itself is pending."""
        status = "blocked" if self.blocked and self.status == "pending" else self.status
        code = 1 if status == "failure" else 130 if status == "killed" else 0
        steps: list[Json] = [{"name": "deploy", "status": status, "exit_code": code}]
        if self.ignored:
            ignored = {"status": "failure", "exit_code": 2, "errignore": True}
            steps.insert(0, {"name": self.ignored} | ignored)
        started = status not in (*OPEN, "declined", "error") or status == "running"
        return [
            {"number": i, "name": name, "status": status, "errignore": False, "exit_code": code}
            | ({"steps": steps} if started else {})
            for i, name in enumerate(self.pipelines, 1)
        ]


@dataclass(slots=True)
class Repo:
    """`approval`: builds wait for it; `bad_yaml`: Drone's error about .drone.yml.

    `ends`: target or event -> how its builds end, by default `success`.
    """

    slug: str
    pipelines: list[Pipeline]
    access: Access = "write"
    public: bool = False
    approval: bool = False
    bad_yaml: str = ""
    ends: dict[str, str] = field(default_factory=dict)
    builds: list[Build] = field(default_factory=list)
    counter: int = 0

    def next_number(self) -> int:
        self.counter += 1
        return self.counter

    def triggered(self, event: str, target: str) -> tuple[str, ...]:
        return tuple(p.name for p in self.pipelines if p.is_triggered(event, target))

    def build(self, number: int) -> Build | None:
        return next((build for build in self.builds if build.number == number), None)


def as_parameters(payload: Any) -> dict[str, str]:
    """As Drone's webhook reads GitHub's payload: only objects, with values formatted by Go."""
    fields = payload if isinstance(payload, dict) else {}
    return {name: _formatted_by_go(value) for name, value in fields.items()}


def _formatted_by_go(value: Any) -> str:
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


NOT_FOUND, NO_ROWS = "Not Found", "sql: no rows in result set"
PAGE = """<!doctype html><title>Drone</title><div id="app"></div>"""


class Drone(Server):
    """`takes`: the duration of a build; with None it stays pending until `end` is called."""

    def __init__(
        self,
        *,
        token: str = "55f24eb3d61ef6ac5e83d550178638dc",
        login: str = "relay",
        takes: float | None = 0.2,
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.token = token
        self.login = login
        self.takes = takes
        self.repos: dict[str, Repo] = {}

    # -- the server ---------------------------------------------------------------------------

    def routes(self) -> Sequence[web.RouteDef]:
        builds = "/api/repos/{owner}/{name}/builds"
        return [
            web.get("/api/user", self._user),
            web.get(builds, self._list),
            web.post(builds, self._create),
            web.get(builds + "/{number}", self._find),
            web.delete(builds + "/{number}", self._kill),
            web.post(builds + "/{number}/{verb:promote|rollback}", self._promote),
            web.get("/{owner}/{name}/{number}", self._page),
            web.get("/{anything:.*}", self._page),
        ]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware]

    # -- repositories, and what users and GitHub do -------------------------------------------

    def add_repo(
        self,
        slug: str,
        targets: Iterable[str] = ("production", "staging"),
        *,
        builds_on: tuple[str, ...] = ("push", "tag", "pull_request", "custom"),
        deploys_on: tuple[str, ...] = ("promote",),
        access: Access = "write",
        public: bool = False,
    ) -> Repo:
        """With a pipeline that builds, and one for each target that deploys."""
        pipelines = [Pipeline("build", builds_on)]
        pipelines += [Pipeline(f"deploy to {target}", deploys_on, (target,)) for target in targets]
        repo = self.repos[slug] = Repo(slug, pipelines, access, public)
        return repo

    def add_build(
        self, slug: str, sha: str, *, event: str = "push", status: str = "success", **fields: Any
    ) -> Build:
        """A build that keeps its status until `end` is called."""
        repo = self.repos[slug]
        build = Build(repo.next_number(), event, sha, pipelines=("build",), **fields)
        build.set_status(status)
        repo.builds.append(build)
        return build

    def builds(self, slug: str, event: str = "") -> list[Build]:
        """Oldest first; all builds, or those of an event."""
        repo = self.repos[slug]
        for build in repo.builds:
            build.advance(time.time())
        return [build for build in repo.builds if event in ("", build.event)]

    def end(self, build: Build, status: str = "success", error: str = "") -> None:
        """Set that status; a build that is `running` or `pending` then stays so."""
        build.plan.clear()
        build.blocked = False
        build.set_status(status, error)

    def approve(self, slug: str, build: Build) -> None:
        build.blocked = False
        self._schedule(self.repos[slug], build)

    def deployment_hook(
        self, slug: str, deployment_id: int, sha: str, target: str, payload: Any = None
    ) -> Build | None:
        """GitHub's `deployment` event, for which Drone starts a build."""
        fields = {"params": as_parameters(payload), "deploy_id": deployment_id}
        return self._trigger(self.repos[slug], "promote", sha, deploy_to=target, **fields)

    def remove(self, slug: str, build: Build) -> None:
        self.repos[slug].builds.remove(build)

    # -- the API ------------------------------------------------------------------------------

    async def _user(self, request: web.Request) -> web.Response:
        if not self._is_signed_in(request):
            raise _error(401, "Unauthorized")
        return web.json_response(
            {
                "id": 1,
                "login": self.login,
                "email": "",
                "machine": False,
                "admin": False,
                "active": True,
                "avatar": "",
                "syncing": False,
                "synced": 0,
                "created": 0,
                "updated": 0,
                "last_login": 0,
            }
        )

    async def _list(self, request: web.Request) -> web.Response:
        repo = self._repo(request)
        size = _number(request.query.get("per_page"))
        size = size if 1 <= size <= 100 else 25
        start = max(0, _number(request.query.get("page")) - 1) * size
        newest = self.builds(repo.slug)[::-1]
        return web.json_response([build.document() for build in newest[start : start + size]])

    async def _find(self, request: web.Request) -> web.Response:
        build = self._build(request, self._repo(request))
        return web.json_response(build.document(stages=True))

    async def _promote(self, request: web.Request) -> web.Response:
        repo = self._repo(request, write=True)
        source = self._build(request, repo)
        query = parameters_of(request)
        target = query.pop("target", "")
        if not target:
            raise _error(400, "Missing target environment")
        query.pop("access_token", None)
        event = request.match_info["verb"]
        fields: Json = {"params": source.params | query, "parent": source.number, "ref": source.ref}
        build = self._trigger(
            repo, event, source.after, deploy_to=target, trigger=self.login, **fields
        )
        return web.json_response(build and build.document())

    async def _create(self, request: web.Request) -> web.Response:
        repo = self._repo(request, write=True)
        query = parameters_of(request)
        query.pop("access_token", None)
        sha, branch = query.pop("commit", ""), query.pop("branch", "") or "main"
        if not re.fullmatch("[0-9a-f]{40}", sha):
            raise _error(404, NOT_FOUND)
        fields: Json = {"params": query, "ref": f"refs/heads/{branch}", "trigger": self.login}
        build = self._trigger(repo, "custom", sha, **fields)
        return web.json_response(build and build.document())

    async def _kill(self, request: web.Request) -> web.Response:
        repo = self._repo(request, write=True)
        build = self._build(request, repo)
        if build.status in ("pending", "running"):
            self.end(build, "killed")
        return web.json_response(build.document(stages=True))

    async def _page(self, request: web.Request) -> web.Response:
        """Drone's web page is the same for every path."""
        return web.Response(text=PAGE, content_type="text/html")

    # -- permissions and triggers ---------------------------------------------------------------

    def _repo(self, request: web.Request, *, write: bool = False) -> Repo:
        signed_in = self._is_signed_in(request)
        repo = self.repos.get("{owner}/{name}".format(**request.match_info))
        if repo is not None and repo.public and not write:
            return repo
        if not signed_in:
            raise _error(401, "Unauthorized")
        if repo is None or repo.access == "none" or (write and repo.access != "write"):
            raise _error(404, NOT_FOUND)
        return repo

    def _is_signed_in(self, request: web.Request) -> bool:
        token = request.headers.get("Authorization") or request.query.get("access_token", "")
        return token.removeprefix("Bearer ") == self.token

    def _build(self, request: web.Request, repo: Repo) -> Build:
        text = request.match_info["number"]
        if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
            raise _error(400, f'strconv.ParseInt: parsing "{text}": invalid syntax')
        build = repo.build(int(text))
        if build is None:
            raise _error(404, NO_ROWS)
        build.advance(time.time())
        return build

    def _trigger(self, repo: Repo, event: str, sha: str, **fields: Any) -> Build | None:
        pipelines = repo.triggered(event, fields.get("deploy_to", ""))
        if repo.bad_yaml:
            # Drone does not keep the parameters of such a build.
            fields |= {"params": {}, "trigger": ""}
        elif not pipelines:
            return None
        build = Build(repo.next_number(), event, sha, pipelines=pipelines, **fields)
        repo.builds.append(build)
        if repo.bad_yaml:
            build.set_status("error", repo.bad_yaml)
        elif repo.approval:
            build.blocked = True
        else:
            self._schedule(repo, build)
        return build

    def _schedule(self, repo: Repo, build: Build) -> None:
        if self.takes is not None:
            build.schedule(self.takes, repo.ends.get(build.deploy_to or build.event, "success"))


def parameters_of(request: web.Request) -> dict[str, str]:
    """As Go reads a query: the first value of each name; a pair with a bare `;` is dropped."""
    found: dict[str, str] = {}
    for pair in request.raw_path.partition("?")[2].split("&"):
        name, _, value = pair.partition("=")
        if pair and ";" not in pair:
            found.setdefault(unquote_plus(name), unquote_plus(value))
    return found


def _number(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,9}", text, re.ASCII) else 0


def _error(status: int, message: str) -> web.HTTPException:
    kinds: Mapping[int, type[web.HTTPException]] = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        404: web.HTTPNotFound,
    }
    text = json.dumps({"message": message})
    return kinds[status](text=text, content_type="application/json")

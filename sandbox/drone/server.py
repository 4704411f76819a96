"""A stand-in for Drone CI 2: repositories and their builds, over HTTP.

Source: https://github.com/harness/drone/tree/drone, handler/api/repos/builds, handler/api/user and
    trigger/trigger.go
Units: `takes` in seconds.
Errors: `{"message": ...}` with 401 for a token that nobody has (but anybody may read a public
repository), 404 for what there is not and for what the token's user may not do, 400. An address
that is not the API's gets the web page and 200.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.drone.model import Access, Build, Json, Pipeline, Repo, as_parameters
from sandbox.server import Server

NOT_FOUND, NO_ROWS = "Not Found", "sql: no rows in result set"
PAGE = """<!doctype html><title>Drone</title><div id="app"></div>"""


class Drone(Server):
    """`takes`: how long a build that is made takes to its end; None holds it until it is told."""

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

    # -- what there is, and what people and GitHub do -----------------------------------------

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
        """One pipeline that builds, and one that deploys to each target."""
        pipelines = [Pipeline("build", builds_on)]
        pipelines += [Pipeline(f"deploy to {target}", deploys_on, (target,)) for target in targets]
        repo = self.repos[slug] = Repo(slug, pipelines, access, public)
        return repo

    def add_build(
        self, slug: str, sha: str, *, event: str = "push", status: str = "success", **facts: Any
    ) -> Build:
        """As it stands; it stays so until it is told."""
        repo = self.repos[slug]
        build = Build(repo.next_number(), event, sha, pipelines=("build",), **facts)
        build.become(status)
        repo.builds.append(build)
        return build

    def builds(self, slug: str, event: str = "") -> list[Build]:
        """Oldest first; all, or those of an event."""
        repo = self.repos[slug]
        for build in repo.builds:
            build.advance(time.time())
        return [build for build in repo.builds if event in ("", build.event)]

    def end(self, build: Build, status: str = "success", error: str = "") -> None:
        """Or `running`: whatever it is to become now."""
        build.plan.clear()
        build.blocked = False
        build.become(status, error)

    def approve(self, slug: str, build: Build) -> None:
        build.blocked = False
        self._goes_on(self.repos[slug], build)

    def deployment_hook(
        self, slug: str, deployment_id: int, sha: str, target: str, payload: Any = None
    ) -> Build | None:
        """GitHub's `deployment` event, to which Drone reacts by itself."""
        facts = {"params": as_parameters(payload), "deploy_id": deployment_id}
        return self._trigger(self.repos[slug], "promote", sha, deploy_to=target, **facts)

    def remove(self, slug: str, build: Build) -> None:
        self.repos[slug].builds.remove(build)

    # -- the API ------------------------------------------------------------------------------

    async def _user(self, request: web.Request) -> web.Response:
        if not self._is_signed_in(request):
            raise _refusal(401, "Unauthorized")
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
            raise _refusal(400, "Missing target environment")
        query.pop("access_token", None)
        event = request.match_info["verb"]
        facts: Json = {"params": source.params | query, "parent": source.number, "ref": source.ref}
        made = self._trigger(
            repo, event, source.after, deploy_to=target, trigger=self.login, **facts
        )
        return web.json_response(made and made.document())

    async def _create(self, request: web.Request) -> web.Response:
        repo = self._repo(request, write=True)
        query = parameters_of(request)
        query.pop("access_token", None)
        sha, branch = query.pop("commit", ""), query.pop("branch", "") or "main"
        if not re.fullmatch("[0-9a-f]{40}", sha):
            raise _refusal(404, NOT_FOUND)
        facts: Json = {"params": query, "ref": f"refs/heads/{branch}", "trigger": self.login}
        made = self._trigger(repo, "custom", sha, **facts)
        return web.json_response(made and made.document())

    async def _kill(self, request: web.Request) -> web.Response:
        repo = self._repo(request, write=True)
        build = self._build(request, repo)
        if build.status in ("pending", "running"):
            self.end(build, "killed")
        return web.json_response(build.document(stages=True))

    async def _page(self, request: web.Request) -> web.Response:
        """Drone's web page is one program, whatever the address."""
        return web.Response(text=PAGE, content_type="text/html")

    # -- how Drone decides --------------------------------------------------------------------

    def _repo(self, request: web.Request, *, write: bool = False) -> Repo:
        signed_in = self._is_signed_in(request)
        repo = self.repos.get("{owner}/{name}".format(**request.match_info))
        if repo is not None and repo.public and not write:
            return repo
        if not signed_in:
            raise _refusal(401, "Unauthorized")
        if repo is None or repo.access == "none" or (write and repo.access != "write"):
            raise _refusal(404, NOT_FOUND)
        return repo

    def _is_signed_in(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization") or request.query.get("access_token", "")
        return given.removeprefix("Bearer ") == self.token

    def _build(self, request: web.Request, repo: Repo) -> Build:
        text = request.match_info["number"]
        if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
            raise _refusal(400, f'strconv.ParseInt: parsing "{text}": invalid syntax')
        build = repo.build(int(text))
        if build is None:
            raise _refusal(404, NO_ROWS)
        build.advance(time.time())
        return build

    def _trigger(self, repo: Repo, event: str, sha: str, **facts: Any) -> Build | None:
        pipelines = repo.triggered(event, facts.get("deploy_to", ""))
        if repo.bad_yaml:
            # Drone forgets the parameters of such a build.
            facts |= {"params": {}, "trigger": ""}
        elif not pipelines:
            return None
        build = Build(repo.next_number(), event, sha, pipelines=pipelines, **facts)
        repo.builds.append(build)
        if repo.bad_yaml:
            build.become("error", repo.bad_yaml)
        elif repo.approval:
            build.blocked = True
        else:
            self._goes_on(repo, build)
        return build

    def _goes_on(self, repo: Repo, build: Build) -> None:
        if self.takes is not None:
            build.goes_on(self.takes, repo.ends.get(build.deploy_to or build.event, "success"))


def parameters_of(request: web.Request) -> dict[str, str]:
    """As Go reads a query: the first value of each name; what has a bare `;` in it is dropped."""
    found: dict[str, str] = {}
    for pair in request.raw_path.partition("?")[2].split("&"):
        name, _, value = pair.partition("=")
        if pair and ";" not in pair:
            found.setdefault(unquote_plus(name), unquote_plus(value))
    return found


def _number(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,9}", text, re.ASCII) else 0


def _refusal(status: int, message: str) -> web.HTTPException:
    kinds: Mapping[int, type[web.HTTPException]] = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        404: web.HTTPNotFound,
    }
    text = json.dumps({"message": message})
    return kinds[status](text=text, content_type="application/json")

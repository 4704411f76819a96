"""The pages of github.com that a deployment leads to: deployments, commits, comparisons.

They show what the person in the cookie may see. Who may write can create a deployment and push a
commit in a form, which does what the API or git would do.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from types import MappingProxyType
from urllib.parse import quote

from aiohttp import web

from sandbox.github.auth import Caller
from sandbox.github.authorization import COOKIE
from sandbox.github.deployments import AutoMerged, Deployments
from sandbox.github.git import Commit
from sandbox.github.model import Deployment, ErrorResponse, Json, Renamed, Repository, User, World
from sandbox.github.repositories import Repositories
from sandbox.pages import Pages

REPOSITORY = "/{owner}/{repo}"
# A longer list would be no list to read.
MOST = 100
WRITERS = ("write", "admin")
NOTHING_TYPED: Mapping[str, str] = MappingProxyType({})
STATES = {
    "success": ("✓", "Active"),
    "inactive": ("·", "Inactive"),
    "failure": ("✗", "Failure"),
    "error": ("✗", "Error"),
    "in_progress": ("●", "In progress"),
    "queued": ("○", "Queued"),
    "pending": ("○", "Pending"),
}
AVATAR = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="16" fill="hsl({hue} 45% 40%)"/><text x="16" y="22"'
    ' font-family="sans-serif" font-size="17" text-anchor="middle" fill="#fff">{letter}</text>'
    "</svg>"
)


@dataclass(frozen=True, slots=True)
class Visit:
    """Who looks at which repository. `permission` is read, write or admin."""

    user: User
    repository: Repository
    permission: str

    @property
    def may_write(self) -> bool:
        return self.permission in WRITERS

    @property
    def path(self) -> str:
        return f"/{self.repository.full_name}"


Show = Callable[[web.Request, Visit], Awaitable[web.StreamResponse]]


class Website:
    def __init__(
        self, world: World, repositories: Repositories, deployments: Deployments, pages: Pages
    ) -> None:
        self._world = world
        self._repositories = repositories
        self._deployments = deployments
        self._pages = pages
        pages.environment.filters |= {"moment": moment, "q": lambda text: quote(text, safe="")}
        pages.environment.globals |= {"states": STATES, "commit_of": self._commit_of}

    def routes(self) -> list[web.RouteDef]:
        one, deployments = self._of_repository, f"{REPOSITORY}/deployments"
        return [
            *self._pages.routes(),
            web.get("/", self._index),
            web.post("/-/person", self._switch),
            web.get("/avatars/{id:\\d+}", self._avatar),
            web.get(REPOSITORY, one(self._repository)),
            web.post(f"{REPOSITORY}/push", one(self._push)),
            web.get(deployments, one(self._list)),
            web.post(deployments, one(self._create)),
            web.get(deployments + "/{environment:.+}", one(self._list)),
            web.get(f"{REPOSITORY}/commit/{{sha}}", one(self._commit)),
            web.get(f"{REPOSITORY}/commits/{{ref:.+}}", one(self._commits)),
            web.get(f"{REPOSITORY}/tree/{{ref:.+}}", one(self._commits)),
            web.get(f"{REPOSITORY}/compare/{{basehead:.+}}", one(self._compare)),
        ]

    # -- who looks --------------------------------------------------------------------------------

    def _visitor(self, request: web.Request) -> User | None:
        known = self._world.user(request.cookies.get(COOKIE, ""))
        people = (u for u in self._world.users.values() if u.account.type == "User")
        return known or next(people, None)

    def _of_repository(self, show: Show) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A page of the repository in the address, for who may read it; for others there is
        nothing there."""

        async def handler(request: web.Request) -> web.StreamResponse:
            names, user = request.match_info, self._visitor(request)
            try:
                repository = self._world.repository(f"{names['owner']}/{names['repo']}")
            except Renamed as renamed:
                raise web.HTTPFound(f"/{renamed.repository.full_name}") from None
            except ErrorResponse:
                return self._missing(request)
            permission = self._permission(repository, user)
            if user is None or permission == "none":
                return self._missing(request)
            return await show(request, Visit(user, repository, permission))

        return handler

    def _permission(self, repository: Repository, user: User | None) -> str:
        return self._repositories.role(repository, user).permission if user else "none"

    def _missing(self, request: web.Request) -> web.Response:
        text = "This is not the page you are looking for: it does not exist, or you may not see it."
        return self._respond(request, "refused.html", None, status=404, message=text)

    def _respond(
        self,
        request: web.Request,
        template: str,
        visit: Visit | None,
        *,
        status: int = 200,
        **values: object,
    ) -> web.Response:
        people = [u for u in self._world.users.values() if u.account.type == "User"]
        shared = {"visit": visit, "visitor": self._visitor(request), "people": people}
        here = {"here": request.rel_url.path_qs if request.method == "GET" else "/"}
        return self._pages.respond(request, template, status=status, **shared, **here, **values)

    async def _switch(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        there = str(form.get("next", "/"))
        response = web.HTTPSeeOther(there if there[:1] == "/" and there[1:2] not in "/\\" else "/")
        if user := self._world.user(str(form.get("login", ""))):
            response.set_cookie(COOKIE, user.account.login, httponly=True, samesite="Lax")
        raise response

    # -- the pages --------------------------------------------------------------------------------

    async def _index(self, request: web.Request) -> web.StreamResponse:
        user = self._visitor(request)
        every = self._world.repositories.values()
        allowed = [(one, self._permission(one, user)) for one in every]
        found = [pair for pair in allowed if pair[1] != "none"]
        return self._respond(request, "index.html", None, repositories=found)

    async def _repository(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        git = visit.repository.git
        refs = [(name, git.commits[sha]) for name, sha in git.refs.items() if sha in git.commits]
        return self._respond(request, "repository.html", visit, refs=refs, error="")

    async def _push(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        form = await request.post()
        title, ref = str(form.get("message", "")).strip(), str(form.get("ref", "")).strip()
        if not visit.may_write or not title or not ref:
            return self._respond(
                request,
                "refused.html",
                visit,
                status=403,
                message="A commit needs a title, a branch, and somebody who may write here.",
            )
        visit.repository.missing_refs.discard(ref)
        sha = visit.repository.push(title, visit.user.account.login, ref)
        raise web.HTTPSeeOther(f"{visit.path}/commit/{sha}")

    async def _list(
        self,
        request: web.Request,
        visit: Visit,
        *,
        error: str = "",
        status: int = 200,
        typed: Mapping[str, str] = NOTHING_TYPED,
    ) -> web.StreamResponse:
        """`typed`: the form as it was sent, where GitHub rejected that."""
        wanted = request.match_info.get("environment", "")
        every = self._newest_first(visit.repository)
        shown = [one for one in every if wanted in ("", one.environment)]
        newest = {one.environment: one for one in reversed(every)}
        return self._respond(
            request,
            "deployments.html",
            visit,
            status=status,
            environments=sorted(newest.values(), key=lambda one: one.environment),
            deployments=shown[:MOST],
            count=len(shown),
            wanted=wanted,
            refs=list(visit.repository.refs),
            error=error,
            typed={"environment": wanted or "production", "task": "deploy", **typed},
        )

    def _newest_first(self, repository: Repository) -> Sequence[Deployment]:
        found = [d for d in self._world.deployments.values() if d.repository is repository]
        return sorted(found, key=lambda d: d.id, reverse=True)

    async def _create(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """What `POST /repos/…/deployments` does, as the person."""
        form = {name: str(text).strip() for name, text in (await request.post()).items()}
        if not visit.may_write:
            error = "Must have write access to create a deployment."
            return await self._list(request, visit, error=error, status=403)
        body: Json = {name: form[name] for name in ("ref", "environment") if form.get(name)}
        body |= {name: form[name] for name in ("task", "description") if form.get(name)}
        if "unchecked" in form:
            body["required_contexts"] = []
        try:
            self._deployments.create(Caller(visit.user.account), visit.repository, body)
        except ErrorResponse as error:
            reason, status = _message(error), error.status
            return await self._list(request, visit, error=reason, status=status, typed=form)
        except AutoMerged as merged:
            reason = str(merged.document["message"])
            return await self._list(request, visit, error=reason, typed=form)
        raise web.HTTPSeeOther(f"{visit.path}/deployments")

    def _commit_of(self, repository: Repository, sha: str) -> Commit | None:
        return repository.git.commits.get(sha)

    async def _commit(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        sha, git = request.match_info["sha"], visit.repository.git
        commit = git.find(sha)
        deployed = [d for d in self._newest_first(visit.repository) if d.sha.startswith(sha)]
        if commit is None and not deployed:
            return self._missing(request)
        changed = git.changed(commit) if commit else {}
        return self._respond(
            request,
            "commit.html",
            visit,
            sha=commit.sha if commit else deployed[0].sha,
            commit=commit,
            changed=changed,
            deployments=deployed,
        )

    async def _commits(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        ref, git = request.match_info["ref"], visit.repository.git
        commit = git.find(ref)
        if commit is None:
            return self._missing(request)
        known = git.ancestors(commit)
        found = [one for sha, one in git.commits.items() if sha in known][::-1]
        return self._respond(request, "commits.html", visit, ref=ref, commits=found[:MOST])

    async def _compare(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        base, _, head = request.match_info["basehead"].partition("...")
        git = visit.repository.git
        # A permanent link names the owner before each of the two.
        ends = [git.find(ref.rpartition(":")[2]) for ref in (base, head)]
        if ends[0] is None or ends[1] is None:
            return self._missing(request)
        comparison = git.compare(ends[0], ends[1])
        return self._respond(
            request, "compare.html", visit, base=base, head=head, comparison=comparison
        )

    async def _avatar(self, request: web.Request) -> web.Response:
        number = int(request.match_info["id"])
        user = self._world.user_by_id(number)
        letter = user.account.login[0].upper() if user else "●"
        text = AVATAR.format(hue=number * 47 % 360, letter=escape(letter))
        return web.Response(text=text, content_type="image/svg+xml")


def moment(at: datetime) -> str:
    return at.strftime("%d %b %H:%M:%S UTC")


def _message(error: ErrorResponse) -> str:
    document = error.document
    details = [one.get("message") for one in document.get("errors", []) if isinstance(one, dict)]
    return ". ".join([str(document["message"]), *(str(one) for one in details if one)])

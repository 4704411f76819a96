"""Repositories: their documents, commits, comparisons, and the permissions of users.

Source: https://docs.github.com/rest/commits/commits#compare-two-commits and
https://docs.github.com/rest/collaborators/collaborators
"""

from collections.abc import Sequence

from aiohttp import web

from sandbox.github.auth import Auth
from sandbox.github.documents import Documents
from sandbox.github.git import Commit
from sandbox.github.model import ErrorResponse, Json, Repository, Role, User, World
from sandbox.github.request import conditional, page

REPOSITORY = "/repos/{owner}/{repo}"
# Without pagination GitHub lists this many, the newest ones.
MAX_COMMITS = 250
NO_ROLE = Role("none", "none")
READ_ROLE = Role("read", "read")


class Repositories:
    """`default_role` is the role of every user in a repository that does not set another."""

    def __init__(self, world: World, documents: Documents, auth: Auth) -> None:
        self.default_role = "write"
        self._world = world
        self._documents = documents
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(REPOSITORY, self._repository),
            web.get(REPOSITORY + "/compare/{basehead:.+}", self._compare),
            web.get(REPOSITORY + "/commits/{ref:.+}", self._commit),
            web.get(REPOSITORY + "/collaborators/{login}/permission", self._permission),
        ]

    async def _repository(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "metadata", "read")
        return web.json_response(self._documents.full_repository(repository))

    async def _compare(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "contents", "read")
        base, dots, head = request.match_info["basehead"].partition("...")
        ends = [_commit(repository, ref) for ref in (base, head)]
        if not dots or ends[0] is None or ends[1] is None:
            raise ErrorResponse(404, "Not Found")
        comparison = repository.git.compare(ends[0], ends[1])
        if comparison is None:
            raise ErrorResponse(404, f"No common ancestor between {base} and {head}.")
        commits, headers = self._page(request, comparison.ahead)
        document = self._documents.comparison(repository, comparison, commits)
        if request.query.get("page", "1") == "1":
            document["files"] = []
        return web.json_response(document, headers=headers)

    def _page(
        self, request: web.Request, commits: Sequence[Commit]
    ) -> tuple[Sequence[Commit], Json]:
        if request.query.keys() & {"page", "per_page"}:
            return page(request, commits, self._documents.api)
        return commits[-MAX_COMMITS:], {}

    async def _commit(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "contents", "read")
        ref = request.match_info["ref"]
        commit = _commit(repository, ref)
        if commit is None:
            raise ErrorResponse(422, f"No commit found for SHA: {ref}")
        return web.json_response(self._documents.commit(repository, commit))

    async def _permission(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "metadata", "read")
        login = request.match_info["login"]
        user = self._world.user(login)
        if user is None:
            raise ErrorResponse(404, f"{login} is not a user")
        role = self.role(repository, user)
        return conditional(request, self._documents.permission(user, role), {})

    def role(self, repository: Repository, user: User) -> Role:
        login = user.account.login.lower()
        if login == repository.owner.login.lower():
            return Role("admin", "admin")
        role = repository.roles.get(login) or Role.named(self.default_role)
        return READ_ROLE if role == NO_ROLE and not repository.private else role


def _commit(repository: Repository, ref: str) -> Commit | None:
    return None if ref in repository.missing_refs else repository.git.find(ref)

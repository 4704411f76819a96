"""Commit statuses, and the combined status of a commit.

Source: https://docs.github.com/rest/commits/statuses
"""

from aiohttp import web

from sandbox.github.auth import Auth, Caller
from sandbox.github.check_documents import CheckDocuments
from sandbox.github.documents import Documents
from sandbox.github.events import Events
from sandbox.github.git import FULL_SHA
from sandbox.github.model import Account, CommitStatus, ErrorResponse, Json, Repository, World
from sandbox.github.request import body_of, field, invalid, page, required, url_field
from sandbox.github.webhooks import Webhooks

REPOSITORY = "/repos/{owner}/{repo}"
STATES = ("error", "failure", "pending", "success")
MAX_STATUSES = 1000


class CommitStatuses:
    def __init__(
        self, world: World, documents: Documents, events: Events, auth: Auth, hooks: Webhooks
    ) -> None:
        self._documents = CheckDocuments(documents, events)
        self._world = world
        self._auth = auth
        self._hooks = hooks
        self._api = documents

    def routes(self) -> list[web.RouteDef]:
        commit = REPOSITORY + "/commits/{ref:.+}"
        return [
            web.post(REPOSITORY + f"/statuses/{{sha:{FULL_SHA}}}", self._create),
            web.get(commit + "/statuses", self._list),
            web.get(commit + "/status", self._combined),
        ]

    def create(
        self, creator: Account, repository: Repository, sha: str, body: Json
    ) -> CommitStatus:
        state = required(body, "state")
        if state not in STATES:
            invalid("Status", "state", "state is not included in the list")
        description = body.get("description")
        if description is not None and len(field(body, "description", "", str)) > 140:
            message = "description is too long (maximum is 140 characters)"
            invalid("Status", "description", message)
        context = field(body, "context", "default", str)
        earlier = [s for s in repository.statuses if (s.sha, s.context) == (sha, context)]
        if len(earlier) >= MAX_STATUSES:
            message = "This SHA and context has reached the maximum number of statuses."
            raise ErrorResponse(422, "Validation Failed", [{"message": message}])
        url = url_field(body, "target_url", "Status") or None
        status = CommitStatus(
            self._world.id(), sha, context, state, description, url, creator, self._world.now()
        )
        repository.statuses.append(status)
        self._hooks.send("status", self._documents.status_event(repository, status, creator))
        return status

    async def _create(self, request: web.Request) -> web.Response:
        caller, repository = self._auth.authorize(request, "statuses", "write")
        sha = request.match_info["sha"]
        if sha not in repository.git.commits:
            raise ErrorResponse(422, f"No commit found for SHA: {sha}")
        status = self.create(caller.account, repository, sha, await body_of(request))
        return web.json_response(self._documents.status(repository, status), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        _, repository, sha = self._from_path(request)
        found = [one for one in repository.statuses[::-1] if one.sha == sha]
        items, headers = page(request, found, self._api.api)
        documents = [self._documents.status(repository, one) for one in items]
        return web.json_response(documents, headers=headers)

    async def _combined(self, request: web.Request) -> web.Response:
        """It knows no check runs. "pending" where there is no status at all."""
        _, repository, sha = self._from_path(request)
        newest = {one.context: one for one in repository.statuses if one.sha == sha}
        every = list(newest.values())
        items, headers = page(request, every, self._api.api)
        document = self._documents.combined(repository, sha, items, _combined(every))
        document["total_count"] = len(every)
        return web.json_response(document, headers=headers)

    def _from_path(self, request: web.Request) -> tuple[Caller, Repository, str]:
        caller, repository = self._auth.authorize(request, "statuses", "read")
        return caller, repository, commit_of_path(request, repository)


def commit_of_path(request: web.Request, repository: Repository) -> str:
    ref = request.match_info["ref"]
    commit = None if ref in repository.missing_refs else repository.git.find(ref)
    if commit is None:
        raise ErrorResponse(422, f"No commit found for SHA: {ref}")
    return commit.sha


def _combined(statuses: list[CommitStatus]) -> str:
    states = {one.state for one in statuses}
    if states & {"error", "failure"}:
        return "failure"
    return "success" if states == {"success"} else "pending"

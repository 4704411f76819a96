"""Deployments and their statuses.

Source: https://docs.github.com/rest/deployments
"""

from collections.abc import Callable

from aiohttp import web

from sandbox.github.auth import Auth, Caller
from sandbox.github.creation import MERGED_STATUS, MergedError, check_creation
from sandbox.github.documents import Documents
from sandbox.github.events import Events
from sandbox.github.fields import body_of, field, invalid, page, required, url_field
from sandbox.github.hooks import Hooks
from sandbox.github.model import Deployment, Json, RefusedError, Repository, Status, World, now

STATES = ("error", "failure", "inactive", "in_progress", "queued", "pending", "success")
REPOSITORY = "/repos/{owner}/{repo}"
DEPLOYMENT = REPOSITORY + "/deployments/{id:\\d+}"
OnStatus = Callable[[Deployment, Status], None]


class Deployments:
    def __init__(
        self, world: World, documents: Documents, events: Events, auth: Auth, hooks: Hooks
    ) -> None:
        self.on_status: list[OnStatus] = []
        self._events = events
        self._world = world
        self._documents = documents
        self._auth = auth
        self._hooks = hooks

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(REPOSITORY + "/deployments", self._create),
            web.get(REPOSITORY + "/deployments", self._list),
            web.get(DEPLOYMENT, self._read),
            web.post(DEPLOYMENT + "/statuses", self._create_status),
            web.get(DEPLOYMENT + "/statuses", self._list_statuses),
            web.get(DEPLOYMENT + "/statuses/{status:\\d+}", self._read_status),
        ]

    def create(
        self, caller: Caller, repository: Repository, body: Json, workflow_run: Json | None = None
    ) -> Deployment:
        deployment = self._new(caller, repository, body)
        deployment.workflow_run = workflow_run
        self._world.deployments[deployment.id] = deployment
        self._hooks.send("deployment", self._events.deployment(deployment))
        return deployment

    def create_status(self, caller: Caller, deployment: Deployment, body: Json) -> Status:
        status = self._new_status(caller, deployment, body)
        if status.state == "success" and field(body, "auto_inactive", True, bool):
            self._supersede(deployment, caller)
        deployment.environment = status.environment
        self._add(deployment, status)
        return status

    def _new(self, caller: Caller, repository: Repository, body: Json) -> Deployment:
        ref = required(body, "ref")
        environment = field(body, "environment", "production", str)
        made = Deployment(
            id=self._world.id(),
            repository=repository,
            ref=ref,
            sha=repository.sha(ref),
            task=field(body, "task", "deploy", str),
            environment=environment,
            original_environment=environment,
            payload=_payload(body),
            description=_description(body),
            production=field(body, "production_environment", environment == "production", bool),
            transient=field(body, "transient_environment", False, bool),
            creator=caller.account,
            by_app=caller.token is not None,
        )
        check_creation(repository, body)
        return made

    def _new_status(self, caller: Caller, deployment: Deployment, body: Json) -> Status:
        what = "DeploymentStatus"
        state = required(body, "state")
        if state not in STATES:
            invalid(what, "state", "state is not included in the list")
        description = field(body, "description", "", str)
        if len(description) > 140:
            invalid(what, "description", "description is too long (maximum is 140 characters)")
        target_url = url_field(body, "target_url", what)
        return Status(
            id=self._world.id(),
            state=state,
            description=description,
            environment=field(body, "environment", deployment.environment, str),
            environment_url=url_field(body, "environment_url", what),
            log_url=url_field(body, "log_url", what) or target_url,
            creator=caller.account,
            by_app=caller.token is not None,
        )

    def _supersede(self, deployment: Deployment, caller: Caller) -> None:
        """What succeeded here before is inactive now."""
        for earlier in self._world.deployments.values():
            if earlier.id < deployment.id and _gives_way(earlier, deployment):
                body = {"state": "inactive"}
                self._add(earlier, self._new_status(caller, earlier, body))

    def _add(self, deployment: Deployment, status: Status) -> None:
        deployment.statuses.append(status)
        deployment.updated_at = now()
        if status.state != "inactive":
            body = self._events.deployment_status(deployment, status)
            self._hooks.send("deployment_status", body)
        for told in self.on_status:
            told(deployment, status)

    async def _create(self, request: web.Request) -> web.Response:
        caller, repository = self._auth.enter(request, "deployments", "write")
        try:
            deployment = self.create(caller, repository, await body_of(request))
        except MergedError as merged:
            return web.json_response(merged.document, status=MERGED_STATUS)
        return web.json_response(self._documents.deployment(deployment), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        _, repository = self._auth.enter(request, "deployments", "read")
        every = reversed(self._world.deployments.values())
        wanted = [d for d in every if d.repository is repository and _matches(d, request)]
        items, headers = page(request, wanted, self._documents.api)
        return web.json_response([self._documents.deployment(d) for d in items], headers=headers)

    async def _read(self, request: web.Request) -> web.Response:
        _, deployment = self._named(request, "read")
        return web.json_response(self._documents.deployment(deployment))

    async def _create_status(self, request: web.Request) -> web.Response:
        caller, deployment = self._named(request, "write")
        status = self.create_status(caller, deployment, await body_of(request))
        return web.json_response(self._documents.status(deployment, status), status=201)

    async def _list_statuses(self, request: web.Request) -> web.Response:
        _, deployment = self._named(request, "read")
        items, headers = page(request, deployment.statuses[::-1], self._documents.api)
        found = [self._documents.status(deployment, s) for s in items]
        return web.json_response(found, headers=headers)

    async def _read_status(self, request: web.Request) -> web.Response:
        _, deployment = self._named(request, "read")
        for status in deployment.statuses:
            if status.id == int(request.match_info["status"]):
                return web.json_response(self._documents.status(deployment, status))
        raise RefusedError(404, "Not Found")

    def _named(self, request: web.Request, level: str) -> tuple[Caller, Deployment]:
        caller, repository = self._auth.enter(request, "deployments", level)
        deployment = self._world.deployments.get(int(request.match_info["id"]))
        if deployment is None or deployment.repository is not repository:
            raise RefusedError(404, "Not Found")
        return caller, deployment


def _payload(body: Json) -> object:
    payload = body.get("payload", {})
    if isinstance(payload, dict | str):
        return payload
    return field(body, "payload", {}, dict)


def _description(body: Json) -> str | None:
    """Here null is allowed."""
    if body.get("description") is None:
        return None
    return field(body, "description", "", str)


def _gives_way(earlier: Deployment, later: Deployment) -> bool:
    """GitHub spares production and transient environments."""
    return (
        earlier.repository is later.repository
        and earlier.environment.lower() == later.environment.lower()
        and not earlier.production
        and not earlier.transient
        and bool(earlier.statuses)
        and earlier.statuses[-1].state == "success"
    )


def _matches(deployment: Deployment, request: web.Request) -> bool:
    for name in ("sha", "ref", "task", "environment"):
        wanted = request.query.get(name)
        # "none" is the documented default of each filter.
        if wanted not in (None, "none") and getattr(deployment, name) != wanted:
            return False
    return True

"""Deployments and their statuses, and what GitHub checks before it creates a deployment.

Source: https://docs.github.com/rest/deployments
"""

from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from sandbox.github.auth import Auth, Caller
from sandbox.github.documents import Documents
from sandbox.github.events import Events
from sandbox.github.model import Deployment, ErrorResponse, Json, Repository, Status, World
from sandbox.github.request import body_of, conditional, field, invalid, page, required, url_field
from sandbox.github.webhooks import Webhooks

STATES = ("error", "failure", "inactive", "in_progress", "queued", "pending", "success")
REPOSITORY = "/repos/{owner}/{repo}"
DEPLOYMENT = REPOSITORY + "/deployments/{id:\\d+}"
OnStatus = Callable[[Deployment, Status], None]


class Deployments:
    def __init__(
        self, world: World, documents: Documents, events: Events, auth: Auth, hooks: Webhooks
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
            web.delete(DEPLOYMENT, self._delete),
            web.post(DEPLOYMENT + "/statuses", self._create_status),
            web.get(DEPLOYMENT + "/statuses", self._list_statuses),
            web.get(DEPLOYMENT + "/statuses/{status:\\d+}", self._read_status),
        ]

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
        deployment = self.add(caller, repository, body, workflow_run)
        if at is not None:
            deployment.created_at = deployment.updated_at = at
        if delivered:
            self._hooks.send("deployment", self._events.deployment(deployment))
        return deployment

    def add(
        self, caller: Caller, repository: Repository, body: Json, workflow_run: Json | None
    ) -> Deployment:
        """Without its event."""
        deployment = self._new_deployment(caller, repository, body)
        deployment.workflow_run = workflow_run
        self._world.deployments[deployment.id] = deployment
        return deployment

    def add_status(self, deployment: Deployment, status: Status) -> None:
        """One that GitHub itself writes."""
        if status.state == "success":
            self._deactivate_earlier(deployment, Caller(status.creator))
        self._add(deployment, status)

    def create_status(self, caller: Caller, deployment: Deployment, body: Json) -> Status:
        status = self._new_status(caller, deployment, body)
        if status.state == "success" and field(body, "auto_inactive", True, bool):
            self._deactivate_earlier(deployment, caller)
        deployment.environment = status.environment
        self._add(deployment, status)
        return status

    def delete(self, deployment: Deployment) -> None:
        """An active one only where it is the only one of its repository. "Any non-successful
        deployment status" makes it inactive; no event says that it is gone."""
        every = self._world.deployments.values()
        alone = all(
            one is deployment or one.repository is not deployment.repository for one in every
        )
        active = not deployment.statuses or deployment.statuses[-1].state == "success"
        if active and not alone:
            message = (
                "We cannot delete an active deployment unless it is the only deployment in a given"
                " environment."
            )
            raise ErrorResponse(422, message)
        del self._world.deployments[deployment.id]

    def _new_deployment(self, caller: Caller, repository: Repository, body: Json) -> Deployment:
        ref = required(body, "ref")
        environment = field(body, "environment", "production", str)
        deployment = Deployment(
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
            created_at=self._world.now(),
            updated_at=self._world.now(),
        )
        check_creation(repository, body)
        return deployment

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
            created_at=self._world.now(),
        )

    def _deactivate_earlier(self, deployment: Deployment, caller: Caller) -> None:
        """The earlier successes in this environment become inactive."""
        for earlier in self._world.deployments.values():
            if earlier.id < deployment.id and _becomes_inactive(earlier, deployment):
                body = {"state": "inactive"}
                self._add(earlier, self._new_status(caller, earlier, body))

    def _add(self, deployment: Deployment, status: Status) -> None:
        deployment.statuses.append(status)
        deployment.updated_at = self._world.now()
        if status.state != "inactive":
            body = self._events.deployment_status(deployment, status)
            self._hooks.send("deployment_status", body)
        for callback in self.on_status:
            callback(deployment, status)

    async def _create(self, request: web.Request) -> web.Response:
        caller, repository = self._auth.authorize(request, "deployments", "write")
        try:
            deployment = self.create(caller, repository, await body_of(request))
        except AutoMerged as merged:
            return web.json_response(merged.document, status=MERGED_STATUS)
        return web.json_response(self._documents.deployment(deployment), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "deployments", "read")
        newest = sorted(self._world.deployments.values(), key=lambda d: d.id, reverse=True)
        found = [d for d in newest if d.repository is repository and _matches(d, request)]
        items, headers = page(request, found, self._documents.api)
        return conditional(request, [self._documents.deployment(d) for d in items], headers)

    async def _read(self, request: web.Request) -> web.Response:
        _, deployment = self._from_path(request, "read")
        return web.json_response(self._documents.deployment(deployment))

    async def _delete(self, request: web.Request) -> web.Response:
        _, deployment = self._from_path(request, "write")
        self.delete(deployment)
        return web.Response(status=204)

    async def _create_status(self, request: web.Request) -> web.Response:
        caller, deployment = self._from_path(request, "write")
        status = self.create_status(caller, deployment, await body_of(request))
        return web.json_response(self._documents.status(deployment, status), status=201)

    async def _list_statuses(self, request: web.Request) -> web.Response:
        _, deployment = self._from_path(request, "read")
        items, headers = page(request, deployment.statuses[::-1], self._documents.api)
        found = [self._documents.status(deployment, s) for s in items]
        return web.json_response(found, headers=headers)

    async def _read_status(self, request: web.Request) -> web.Response:
        _, deployment = self._from_path(request, "read")
        for status in deployment.statuses:
            if status.id == int(request.match_info["status"]):
                return web.json_response(self._documents.status(deployment, status))
        raise ErrorResponse(404, "Not Found")

    def _from_path(self, request: web.Request, level: str) -> tuple[Caller, Deployment]:
        caller, repository = self._auth.authorize(request, "deployments", level)
        deployment = self._world.deployments.get(int(request.match_info["id"]))
        if deployment is None or deployment.repository is not repository:
            raise ErrorResponse(404, "Not Found")
        return caller, deployment


def _payload(body: Json) -> object:
    payload = body.get("payload", {})
    if isinstance(payload, dict | str):
        return payload
    return field(body, "payload", {}, dict)


def _description(body: Json) -> str | None:
    """null is allowed here."""
    if body.get("description") is None:
        return None
    return field(body, "description", "", str)


def _becomes_inactive(earlier: Deployment, later: Deployment) -> bool:
    """Not in production and transient environments."""
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
        value = request.query.get(name)
        # "none" is the documented default of each filter.
        if value not in (None, "none") and getattr(deployment, name) != value:
            return False
    return True


MERGED_STATUS = 202


class AutoMerged(Exception):
    """Instead of a deployment: the default branch was merged into the ref. GitHub calls it 202."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.document: Json = {"message": message}


def check_creation(repository: Repository, body: Json) -> None:
    ref = required(body, "ref")
    if not ref or repository.lacks(ref):
        raise ErrorResponse(422, f"No ref found for: {ref}")
    # The documents limit only a status's description; the same limit is used here.
    if len(body.get("description") or "") > 140:
        message = "description is too long (maximum is 140 characters)"
        invalid("Deployment", "description", message)
    if field(body, "auto_merge", True, bool):
        _merge(repository, ref)
    _check_contexts(repository, ref, body)


def _merge(repository: Repository, ref: str) -> None:
    default = repository.default_branch
    if ref in repository.conflicting:
        raise ErrorResponse(409, f"Conflict merging {default} into {ref}.")
    if ref in repository.behind:
        repository.behind.discard(ref)  # the next request has nothing to merge
        raise AutoMerged(f"Auto-merged {default} into {ref} on deployment.")


def _check_contexts(repository: Repository, ref: str, body: Json) -> None:
    """All contexts that were ever reported, unless the request has its own list."""
    known = repository.contexts(repository.sha(ref))
    required_contexts = field(body, "required_contexts", list(known), list)
    contexts = [
        {"context": name, "state": known.get(name, "pending")} for name in required_contexts
    ]
    if any(context["state"] != "success" for context in contexts):
        error = {"resource": "Deployment", "field": "required_contexts", "code": "invalid"}
        message = f"Conflict: Commit status checks failed for {ref}."
        raise ErrorResponse(409, message, [{"contexts": contexts, **error}])

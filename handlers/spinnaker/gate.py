"""Calls to Gate, Spinnaker's API: the event sent for a deployment, and the executions returned.

Source: https://github.com/spinnaker/gate (WebhookController, ExecutionsController,
    PipelineController, ApplicationController), https://github.com/spinnaker/orca (TaskController),
    https://spinnaker.io/docs/guides/user/pipeline/triggers/webhooks
Units: times in the query are milliseconds since 1970.
Errors: those of http.py; `Rejected` for 3xx and 4xx, with the remedy in deploy.yml, and for values
    that Spinnaker would not take as they are.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, TypeVar

from aiohttp import encode_basic_auth
from pydantic import BaseModel, Field
from yarl import URL

from handlers.contract import Deployment
from handlers.errors import Rejected
from handlers.http import SET_CA, Http, Request, Response
from handlers.options import fill, payload, payload_values
from handlers.spinnaker.options import EXPRESSION, STANDARD_PARAMETERS, SpinnakerOptions

SPINNAKER = "Spinnaker"
# Orca stamps executions with its own clock.
CLOCKS_DIFFER_BY = timedelta(hours=1)
# Orca reads pages of twice as many executions from its store until it has so many matches.
MAX_FOUND = 50
ID = "[0-9A-Za-z_-]{1,64}"  # of events and executions
T = TypeVar("T")

_Id = Annotated[str, Field(pattern=f"^{ID}$")]


class Stage(BaseModel):
    name: str | None = None
    type: str | None = None
    status: str | None = None
    parent: str | None = Field(default=None, alias="parentStageId")
    context: dict[str, Any] | None = None


class Execution(BaseModel):
    """One run of a pipeline; stages have a context only if it was read alone."""

    id: _Id
    status: Annotated[str, Field(max_length=40)]
    application: str | None = None
    name: str | None = None
    canceled_by: str | None = Field(default=None, alias="canceledBy")
    reason: str | None = Field(default=None, alias="cancellationReason")
    trigger: dict[str, Any] | None = None
    stages: list[Stage] | None = None


class _Accepted(BaseModel):
    processed: bool = Field(alias="eventProcessed")
    event: _Id | None = Field(default=None, alias="eventId")


class _Application(BaseModel):
    name: str


class _Started(BaseModel):
    ref: Annotated[str, Field(pattern=f"^/pipelines/{ID}$")]


class Gate:
    def __init__(self, options: SpinnakerOptions, http: Http) -> None:
        self._options = options
        self._http = http
        self._tls = options.tls()

    async def send_event(self, source: str, event: bytes) -> str:
        """The event's ID; whether it starts a pipeline is not known yet."""
        response = _checked(await self._send(self.to_send_event(source, event)))
        accepted = response.read(_Accepted)
        if not accepted.processed or not accepted.event:
            raise Rejected(
                f"{SPINNAKER} at {response.origin} did not process the event; see Echo's log"
            )
        return accepted.event

    async def run_pipeline(self, application: str, pipeline: str, trigger: bytes) -> str:
        """The execution's ID; if one with this correlation ID is running, that one's."""
        response = await self._send(self.to_run_pipeline(application, pipeline, trigger))
        if response.status == 404:
            raise Rejected(
                f"{SPINNAKER} at {response.origin} has no pipeline '{pipeline}' in application"
                f" '{application}'; check both in deploy.yml",
                status=404,
            )
        return _checked(response).read(_Started).ref.removeprefix("/pipelines/")

    def to_send_event(self, source: str, event: bytes) -> Request:
        return self._request("POST", f"webhooks/webhook/{source}", body=event)

    def to_run_pipeline(self, application: str, pipeline: str, trigger: bytes) -> Request:
        return self._request("POST", f"pipelines/{application}/{pipeline}", body=trigger)

    async def search(self, since: datetime, **criteria: str) -> list[Execution]:
        """In the application of deploy.yml; in all applications if it names none."""
        query = {
            "triggerTimeStartBoundary": str(int((since - CLOCKS_DIFFER_BY).timestamp() * 1000)),
            "size": str(MAX_FOUND),
            "expand": "false",
        }
        path = f"applications/{self._options.application or '*'}/executions/search"
        response = await self._call("GET", path, query | criteria)
        if response.status == 403 and not self._options.application:
            raise Rejected(
                f"{SPINNAKER} at {response.origin} returned 403: it may not search all"
                " applications; name the `application` in deploy.yml",
                status=403,
            )
        return _checked(response).read(list[Execution])

    async def require_application(self, name: str) -> None:
        """Gate shows it also to those who may do nothing in it; `search` is stricter."""
        response = await self._call("GET", f"applications/{name}", {"expand": "false"})
        if response.status == 404:
            raise Rejected(
                f"{SPINNAKER} at {response.origin} has no application '{name}'; check it in"
                " deploy.yml, and that `url` is Gate's own address",
                status=404,
            )
        _checked(response).read(_Application)

    async def executions(self, ids: Sequence[str]) -> list[Execution]:
        """In short. Those that are gone or hidden from this user are left out."""
        query = {"executionIds": ",".join(ids), "expand": "false"}
        return (await self._checked_call("GET", "executions", query)).read(list[Execution])

    async def execution(self, id_: str) -> Execution | None:
        """In full, which may be long; None if it is gone."""
        response = await self._call("GET", f"pipelines/{id_}")
        return None if response.status == 404 else _checked(response).read(Execution)

    async def cancel(self, id_: str, reason: str) -> None:
        query = {"reason": reason, "force": "false"}
        response = await self._call("PUT", f"pipelines/{id_}/cancel", query)
        if response.status == 404 and await self.execution(id_) is None:
            return
        if response.status not in (400, 409, 410):  # it has ended
            _checked(response)

    async def _checked_call(
        self, method: str, path: str, query: Mapping[str, str] | None = None
    ) -> Response:
        return _checked(await self._call(method, path, query))

    async def _call(
        self, method: str, path: str, query: Mapping[str, str] | None = None
    ) -> Response:
        return await self._send(self._request(method, path, query))

    async def _send(self, request: Request) -> Response:
        return await self._http.send(SPINNAKER, request, tls=self._tls, untrusted=SET_CA)

    def _request(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Request:
        headers = {"Accept": "application/json"} | self._credentials()
        if body:
            headers["Content-Type"] = "application/json"
        url = URL(self._options.url).joinpath(*path.split("/")).extend_query(query or {})
        return Request(method, url, headers, body or None)

    def _credentials(self) -> dict[str, str]:
        options = self._options
        if options.username and options.password:
            basic = encode_basic_auth(options.username, options.password)
            return {"Authorization": basic}
        return {"Authorization": f"Bearer {options.token}"} if options.token else {}


def trigger_subset(fields: Mapping[str, Any]) -> str:
    """What `search` takes as `trigger`: executions whose trigger contains these fields. Orca reads
    strings as regular expressions too and without regard to case, so check what comes back."""
    return b64encode(json.dumps(fields).encode()).decode()


def _checked(response: Response) -> Response:
    if response.ok:
        return response
    start = f"{response.tool} at {response.origin} returned {response.status}"
    match response.status:
        # Gate redirects unknown users to its page for signing in.
        case 401 | 301 | 302 | 303 | 307 | 308 if not _has_moved(response):
            remedy = "check the credentials in deploy.yml, and that `url` is Gate's own address"
            raise Rejected(f"{start}: {remedy}", status=response.status, certain=False)
        case 403:
            remedy = "its user may not do this; check its permissions in Spinnaker"
            raise Rejected(f"{start}: {remedy}", status=403)
    raise response.rejected()


def _has_moved(response: Response) -> bool:
    """Whether it redirects to the same path on another host, or from http to https."""
    url, target = response.url, response.target()
    if target is None or target.origin() == url.origin():
        return False
    to_https = (url.scheme, target.scheme) == ("http", "https") and target.host == url.host
    return to_https or target.raw_path == url.raw_path


def event(deployment: Deployment, parameters: Mapping[str, str]) -> dict[str, Any]:
    """`parameters` are the operator's templates."""
    owner, _, name = deployment.repo.partition("/")
    return {
        "action": "created",
        "deployment": {
            "id": deployment.id,
            "environment": deployment.environment,
            "ref": deployment.ref,
            "sha": deployment.sha,
            "task": deployment.task,
            "payload": payload(deployment),
            "creator": {"login": deployment.creator},
            "created_at": deployment.created_at.isoformat(),
        },
        "repository": {
            "id": deployment.repo_id,
            "name": name,
            "full_name": deployment.repo,
            "owner": {"login": owner},
        },
        "installation": {"id": deployment.installation_id},
        # The payload's keys come first: they must not replace what the operator sets.
        "parameters": payload_values(deployment)
        | {key: fill(template, deployment) for key, template in parameters.items()}
        | _standard(deployment, owner, name),
    }


def _standard(deployment: Deployment, owner: str, name: str) -> dict[str, str]:
    values = (
        owner,
        name,
        str(deployment.id),
        deployment.ref,
        deployment.sha,
        deployment.environment,
        deployment.report.url,
        deployment.report.token,
    )
    return dict(zip(STANDARD_PARAMETERS, values, strict=True))


def encode(document: Mapping[str, Any]) -> bytes:
    """Orca evaluates each `${...}` in a trigger; one from a branch name or a payload is rejected.

    Source: https://github.com/spinnaker/orca, OperationsController.groovy, orchestratePipeline
    """
    try:
        text = json.dumps(document, allow_nan=False)
    except (ValueError, RecursionError):
        raise Rejected("the deployment's payload is not plain JSON, or nested too deeply") from None
    # In JSON it can only occur inside a string.
    if EXPRESSION in text:
        raise Rejected(
            f"the deployment's ref, environment or payload contains '{EXPRESSION}', which"
            " Spinnaker would evaluate; it was not sent"
        )
    return text.encode()


def correlation_id(deployment: Deployment) -> str:
    """The same for each start of this deployment. Two relays may share one Spinnaker, and the
    IDs of two GitHub servers may be the same."""
    relay = sha256(deployment.report.url.encode()).hexdigest()[:12]
    return f"github-deployment-{deployment.id}-{relay}"

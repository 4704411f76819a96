"""The stand-in for Spinnaker: Gate's API over HTTP, with Echo and Orca behind it.

Source: https://github.com/spinnaker/gate (AuthConfig, WebhookController, ExecutionsController,
    PipelineController, ApplicationController), https://github.com/spinnaker/kork
    (GenericExceptionHandlers)
Units: `lag` is in seconds.
Errors: `{"timestamp", "status", "error", "message"}`; 302 to the sign-in page for a wrong password.
"""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from uuid import uuid4

import aiohttp
from aiohttp import encode_basic_auth, web
from aiohttp.typedefs import Handler, Middleware

from sandbox.server import Server
from sandbox.spinnaker.echo import triggered
from sandbox.spinnaker.model import Execution, Json, Pipeline, milliseconds
from sandbox.spinnaker.orca import Orca, Rejected
from sandbox.spinnaker.webhook_stages import load


class Spinnaker(Server):
    """Without `token` or `username` no request needs credentials; by default webhooks never do.

    `lag` is the time between a webhook and the start of the executions that it triggers.
    """

    def __init__(
        self,
        *,
        token: str = "",
        username: str = "",
        password: str = "",
        webhooks_need_sign_in: bool = False,
        searches_everywhere: bool = True,
        lag: float = 0.02,
        stage_takes: float = 0.02,
        orca_local: Path | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.token = token
        self.username, self.password = username, password
        self.webhooks_need_sign_in = webhooks_need_sign_in
        self.searches_everywhere = searches_everywhere
        self.lag = lag
        self.orca = Orca(stage_takes=stage_takes, webhooks=load(orca_local) if orca_local else {})
        self.pipelines: list[Pipeline] = []
        self.events: dict[str, Json] = {}
        self._event_tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self.orca.session = aiohttp.ClientSession()
        await super().start()

    async def stop(self) -> None:
        await super().stop()
        for event in self._event_tasks:
            event.cancel()
        await self.orca.stop()
        if self.orca.session:
            await self.orca.session.close()

    # -- pipelines, and what a user does in Deck ------------------------------------------------

    def add_pipeline(self, config: Mapping[str, object] | Path) -> Pipeline:
        """`config`: Deck's "Edit as JSON" plus `application` and `name`, or a file of that."""
        document = json.loads(config.read_text()) if isinstance(config, Path) else dict(config)
        pipeline = Pipeline(document)
        self.pipelines.append(pipeline)
        return pipeline

    @property
    def executions(self) -> list[Execution]:
        """Oldest first."""
        return list(self.orca.executions.values())

    def hold(self, stage: str) -> None:
        """The stage runs until it is released."""
        self.orca.held[stage] = asyncio.Event()

    def release(self, stage: str) -> None:
        self.orca.held.pop(stage).set()

    def fail(self, stage: str, message: str) -> None:
        """The stage fails with that message, in every execution."""
        self.orca.failing[stage] = message

    def judge(self, execution: Execution, stage: str, *, proceed: bool = True) -> None:
        judged = execution.stage(stage)
        judged.context["judgmentStatus"] = "continue" if proceed else "stop"
        judged.judged.set()

    def set_status(self, execution: Execution, status: str) -> None:
        self.orca.set_status(execution, status)

    def forget(self, execution: Execution) -> None:
        """As Spinnaker deletes old executions."""
        self.orca.set_status(execution, execution.status)
        del self.orca.executions[execution.id]

    # -- Gate -----------------------------------------------------------------------------------

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/webhooks/preconfigured", self._preconfigured),
            web.post("/webhooks/{type}/{source}", self._webhook),
            web.get("/applications/{application}", self._application),
            web.get("/applications/{application}/executions/search", self._search),
            web.get("/executions", self._find_by_ids),
            web.get("/pipelines/{id}", self._find),
            web.put("/pipelines/{id}/cancel", self._cancel),
            web.post("/pipelines/{application}/{name}", self._run),
        ]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware, self._authenticate]

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        credentials = request.headers.get("Authorization", "")
        is_open = request.method == "POST" and request.path.startswith("/webhooks/")
        if credentials or not is_open or self.webhooks_need_sign_in:
            basic = encode_basic_auth(self.username, self.password)
            if self.username and credentials != basic:
                return web.Response(status=302, headers={"Location": f"{self.url}/login"})
            if self.token and credentials != f"Bearer {self.token}":
                return _error(401, "Unauthorized")
        return await handler(request)

    async def _preconfigured(self, request: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    "label": webhook.label,
                    "description": webhook.description,
                    "type": webhook.type,
                    "parameters": list(webhook.parameters),
                }
                for webhook in self.orca.webhooks.values()
            ]
        )

    async def _webhook(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if body is None:
            return _error(400, "JSON parse error")
        event_id = str(uuid4())
        self.events[event_id] = body
        kind, source = request.match_info["type"], request.match_info["source"]
        event = asyncio.create_task(self._process(event_id, kind, source, body))
        self._event_tasks.add(event)
        event.add_done_callback(self._event_tasks.discard)
        return web.json_response({"eventProcessed": True, "eventId": event_id})

    async def _process(self, event_id: str, kind: str, source: str, body: Json) -> None:
        await asyncio.sleep(self.lag)
        for pipeline, trigger in triggered(self.pipelines, kind, source, body):
            parameters = body.get("parameters") or {}
            fields = {"parameters": parameters, "payload": body, "eventId": event_id}
            self.orca.start(pipeline, {**trigger, **fields})

    async def _application(self, request: web.Request) -> web.Response:
        """The application of a pipeline; its name is not case-sensitive."""
        given_name = request.match_info["application"]
        name = given_name.lower()
        if name not in {pipeline.application.lower() for pipeline in self.pipelines}:
            return _error(404, f"Application not found (id: {given_name})")
        return web.json_response({"name": name, "attributes": {"name": name}, "clusters": {}})

    async def _search(self, request: web.Request) -> web.Response:
        application = request.match_info["application"]
        if application == "*" and not self.searches_everywhere:
            return _error(403, "Access is denied")
        try:
            decoded = base64.b64decode(request.query.get("trigger", ""), validate=True)
            subset = json.loads(decoded or b"{}")
        except ValueError:
            return _error(500, "Failed to parse encoded trigger")
        if int(request.query.get("size", 10)) <= 0:
            return _error(400, "size must be > 0")
        found = self.orca.search(application, request.query, subset)
        expand = request.query.get("expand") == "true"
        return web.json_response([execution.document(expand) for execution in found])

    async def _find_by_ids(self, request: web.Request) -> web.Response:
        ids = request.query.get("executionIds", "").split(",")
        expand = request.query.get("expand", "true") == "true"
        found = [self.orca.executions[id_] for id_ in ids if id_ in self.orca.executions]
        return web.json_response([execution.document(expand) for execution in found])

    async def _find(self, request: web.Request) -> web.Response:
        execution = self.orca.executions.get(request.match_info["id"])
        if execution is None:
            return _error(404, f"Pipeline not found (id: {request.match_info['id']})")
        return web.json_response(execution.document())

    async def _cancel(self, request: web.Request) -> web.Response:
        execution = self.orca.executions.get(request.match_info["id"])
        if execution is None:
            return _error(404, f"No PIPELINE found for {request.match_info['id']}")
        user = self.username or "anonymous"
        self.orca.cancel(execution, user, request.query.get("reason"))
        return web.Response()

    async def _run(self, request: web.Request) -> web.Response:
        application, name = request.match_info["application"], request.match_info["name"]
        body = await _body(request)
        if body is None:
            return _error(400, "JSON parse error")
        pipeline = self._pipeline(application, name)
        if pipeline is None:
            return _error(404, f"Pipeline configuration not found (id: {name})")
        if missing := _missing_parameter(pipeline, body):
            return _error(400, f"Required parameter {missing} is missing")
        try:
            execution = self.orca.start(pipeline, body)
        except Rejected as rejected:
            return _error(400, str(rejected))
        return web.json_response({"ref": f"/pipelines/{execution.id}"}, status=202)

    def _pipeline(self, application: str, name: str) -> Pipeline | None:
        by_name = [p for p in self.pipelines if (p.application, p.name) == (application, name)]
        by_id = [p for p in self.pipelines if p.id == name]
        return next(iter([*by_name, *by_id]), None)


async def _body(request: web.Request) -> Json | None:
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    try:
        document = json.loads(await request.read() or b"{}")
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _missing_parameter(pipeline: Pipeline, body: Json) -> str:
    parameters = body.get("parameters") or {}
    for parameter in pipeline.config.get("parameterConfig", ()):
        required = parameter.get("required") and parameter.get("default") is None
        if required and parameters.get(parameter["name"]) is None:
            return str(parameter["name"])
    return ""


def _error(status: int, message: str) -> web.Response:
    body = {
        "timestamp": milliseconds(),
        "status": status,
        "error": HTTPStatus(status).phrase,
        "message": message,
    }
    return web.json_response(body, status=status)

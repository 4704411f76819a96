"""The stand-in for an endpoint that receives signed events: as strict as a good receiver.

Source: standardwebhooks.com, "Verifying webhook authenticity"; cloudevents.io, CloudEvents 1.0.2
("Required Attributes", JSON format, HTTP binding in structured mode).
Units: seconds. Errors: 400, 401, 415 with `{"error": ...}`.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.server import Server

TOLERANCE = 300
_REQUIRED = ("specversion", "id", "source", "type")
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,20}|data_base64")


def make_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class EventReceiver(Server):
    """Stores each event once; `arrivals` counts how often it was sent. With `gone` it
    responds with 410."""

    def __init__(self, secret: str = "", *, port: int = 0) -> None:
        super().__init__(port=port)
        self.secret = secret or make_secret()
        self.events: dict[str, dict[str, Any]] = {}
        self.arrivals: Counter[str] = Counter()
        self.gone = False

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/events/{rest:.*}", self._receive), web.post("/events", self._receive)]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware]

    @property
    def address(self) -> str:
        return f"{self.url}/events"

    async def _receive(self, request: web.Request) -> web.Response:
        if self.gone:
            raise _rejected(web.HTTPGone, "this endpoint receives no more events")
        body = await request.read()
        event_id = self._authenticated_id(request, body)
        if request.content_type != "application/cloudevents+json":
            raise _rejected(web.HTTPUnsupportedMediaType, "send application/cloudevents+json")
        event = _valid_event(body)
        self.arrivals[event_id] += 1
        self.events.setdefault(event_id, event)
        return web.json_response({"accepted": event_id}, status=202)

    def _authenticated_id(self, request: web.Request, body: bytes) -> str:
        """The id of an event with a valid signature and a current timestamp."""
        event_id = request.headers.get("webhook-id", "")
        timestamp = request.headers.get("webhook-timestamp", "")
        if not event_id or "." in event_id or not timestamp.isdigit():
            raise _rejected(web.HTTPUnauthorized, "webhook-id or webhook-timestamp is missing")
        if abs(time.time() - int(timestamp)) > TOLERANCE:
            raise _rejected(web.HTTPUnauthorized, "webhook-timestamp is too old or too new")
        key = base64.b64decode(self.secret.removeprefix("whsec_"), validate=True)
        signed = f"{event_id}.{timestamp}.".encode() + body
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        expected = f"v1,{base64.b64encode(digest).decode()}"
        signatures = request.headers.get("webhook-signature", "").split(" ")
        if not any(hmac.compare_digest(one.encode(), expected.encode()) for one in signatures):
            raise _rejected(web.HTTPUnauthorized, "webhook-signature is wrong")
        return event_id


def _valid_event(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise _rejected(web.HTTPBadRequest, "the body is not a JSON object")
    for name in _REQUIRED:
        if not isinstance(event.get(name), str) or not event[name]:
            raise _rejected(web.HTTPBadRequest, f"{name} is missing")
    if event["specversion"] != "1.0" or not urlsplit(event["source"]).scheme:
        raise _rejected(web.HTTPBadRequest, "specversion or source is invalid")
    if invalid := [name for name in event if not _ATTRIBUTE.fullmatch(name)]:
        raise _rejected(web.HTTPBadRequest, f"{invalid[0]} is not a valid attribute name")
    try:
        at = datetime.fromisoformat(event.get("time", "2000-01-01T00:00:00Z"))
    except (TypeError, ValueError):
        at = datetime.fromtimestamp(0)  # noqa: DTZ006 - rejected below
    if at.tzinfo is None:
        raise _rejected(web.HTTPBadRequest, "time is not an RFC 3339 timestamp")
    return event


def _rejected(kind: type[web.HTTPException], reason: str) -> web.HTTPException:
    return kind(text=json.dumps({"error": reason}), content_type="application/json")

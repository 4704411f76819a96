"""POST /webhook: verify, store, respond. Parsing a delivery is the worker's.

Source: docs.github.com, "Validating webhook deliveries" and "Best practices for using webhooks".
Errors: 400 malformed, 401 signature, 404 deliveries are pulled and there is no secret, 413 too
large, 415 not JSON, 503 the store does not respond; each a JSON object with `error` and `remedy`.
"""

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from webhook.errors import BadCredentials, HttpError
from webhook.http import Awaited, BodyRule, environ_key, read_body, wait_for
from webhook.jobs.inbox import Inbox
from webhook.store.deliveries import Received, compressed
from webhook.timing import DEFAULT_TIMING, Timing

# GitHub caps payloads at 25 MB.
LARGEST_BODY = 25 * 1024 * 1024
BODY_RULE = BodyRule(
    re.compile("/webhook"),
    LARGEST_BODY,
    {"X-Hub-Signature-256": re.compile(r"sha256=[0-9a-f]{64}", re.ASCII)},
    immediate=True,
)
_NAME = re.compile(r"[\x21-\x7e]{1,100}")
_HOOK_ID = re.compile(r"[0-9]{1,18}")
# What each of them is, for whoever sends a delivery by hand.
_HEADERS = {
    "X-GitHub-Event": "the event's name, such as ping",
    "X-GitHub-Delivery": "a UUID, a new one for each delivery",
    "X-GitHub-Hook-ID": "a number, the same for all deliveries of a webhook",
}
# As GitHub sends it; Werkzeug parses what is written otherwise.
_JSON = "application/json"


def blueprint(inbox: Inbox, secrets: Sequence[str], timing: Timing = DEFAULT_TIMING) -> Blueprint:
    bp = Blueprint("github", __name__)
    keys = [secret.encode() for secret in secrets]

    within = timing.connection_within.total_seconds()

    @bp.post("/webhook")
    def webhook() -> Response:
        if not keys:
            raise _none_taken()
        try:
            received = _verified(request.environ, keys)
        except HttpError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # its body was not read
                inbox.doubt("a delivery was not taken")
            raise
        wait_for(Awaited(partial(inbox.put, received), within, _not_stored))
        body = {"delivery": received.guid, "status": "accepted"}
        if received.event == "ping":
            body["message"] = "the webhook works"
        return Response(json.dumps(body) + "\n", 202, mimetype=_JSON)

    @bp.get("/webhook")
    def explain() -> Response:
        raise HttpError(
            405,
            "this address is for GitHub, which sends POST requests",
            "set it as the webhook URL in the GitHub App's settings; see /readyz for how we are",
        )

    return bp


def _none_taken() -> HttpError:
    return HttpError(
        404,
        "this relay takes no deliveries, it pulls them from GitHub",
        "nothing is lost; to let GitHub send them here as well, set GITPLOY_WEBHOOK_SECRET, and"
        " GITPLOY_DELIVERIES=webhook to pull only what is missing",
        code="pulled",
    )


def _verified(environ: Mapping[str, Any], keys: Sequence[bytes]) -> Received:
    """Reads the environ itself: what Werkzeug makes of it costs 40 µs."""
    if environ.get("CONTENT_TYPE") != _JSON and request.mimetype != _JSON:
        raise HttpError(
            415,
            f"the content type is {request.mimetype or 'missing'}, not application/json",
            "set the webhook's content type to application/json in the GitHub App's settings",
        )
    event = _header(environ, "X-GitHub-Event", _NAME)
    guid = _header(environ, "X-GitHub-Delivery", _NAME)
    hook_id = int(_header(environ, "X-GitHub-Hook-ID", _HOOK_ID))
    body = _body()
    _check_signature(environ, keys, body)
    if not body.lstrip().startswith(b"{"):
        raise HttpError(400, "the body is not a JSON object", "send what GitHub sends")
    return Received(hook_id, guid, event, compressed(body))


def _header(environ: Mapping[str, Any], name: str, shape: re.Pattern[str]) -> str:
    value: str = environ.get(environ_key(name), "")
    if not shape.fullmatch(value):
        state = "malformed" if value else "missing"
        raise HttpError(
            400,
            f"the header {name} is {state}",
            f"GitHub sends {name} ({_HEADERS[name]}) with each delivery: if this is one, a proxy or"
            " a forwarder on its way dropped or changed it; if you send it by hand, add it",
        )
    return value


def _body() -> bytes:
    body = read_body(LARGEST_BODY)
    if body is None:
        raise HttpError(
            413,
            "the body is larger than 25 MB",
            "GitHub sends no payload larger than that; check what sends it",
        )
    return body


def _check_signature(environ: Mapping[str, Any], keys: Sequence[bytes], body: bytes) -> None:
    given: str = environ.get("HTTP_X_HUB_SIGNATURE_256", "")
    if not given:
        only_sha1 = "HTTP_X_HUB_SIGNATURE" in environ
        raise BadCredentials(
            401,
            "only a SHA-1 signature" if only_sha1 else "the signature is missing",
            "SHA-256 is needed (X-Hub-Signature-256); a newer GitHub Enterprise Server sends it"
            if only_sha1
            else "set the webhook's secret in the GitHub App to one of GITPLOY_WEBHOOK_SECRET",
        )
    # Every key is tried, so that the time taken says nothing about which one fits.
    fits = [hmac.compare_digest(_signature(key, body), given.encode()) for key in keys]
    if not any(fits):
        raise BadCredentials(
            401,
            "the signature fits none of the secrets",
            "make the webhook's secret in the GitHub App equal to one of GITPLOY_WEBHOOK_SECRET; if"
            " they are equal: was the body changed on its way, by a forwarder or a proxy? It must"
            " arrive byte for byte, which smee-client does not do",
        )


def _signature(key: bytes, body: bytes) -> bytes:
    return b"sha256=" + hmac.digest(key, body, "sha256").hex().encode()


def _not_stored() -> HttpError:
    return HttpError(
        503,
        "the store could not keep the delivery in time",
        "the relay fetches it from GitHub's list when it can store again; see /readyz",
    )

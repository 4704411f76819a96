"""What the endpoint handler sends: the standard document or the operator's, and its signature.

Source: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries, whose
signature this is. The names in the document are those of GitHub's `deployment` event.
Errors: `Rejected` for a deployment whose values do not fit.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from multidict import CIMultiDict
from yarl import URL

from handlers.contract import Deployment
from handlers.endpoint.address import fill_address
from handlers.endpoint.options import EVENT, IDEMPOTENCY_KEY, SIGNATURE, Cancel, EndpointOptions
from handlers.errors import Rejected
from handlers.placeholders import fill, payload

WITHOUT_BODY = ("GET", "DELETE")


@dataclass(frozen=True, slots=True)
class Request:
    """`body` is None where the method has none."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


def to_start(options: EndpointOptions, deployment: Deployment) -> Request:
    headers = _headers(options, deployment)
    headers[EVENT] = "deployment"
    headers[IDEMPOTENCY_KEY] = str(deployment.id)
    return _request(options, deployment, options.method, options.url, headers)


def to_cancel(options: EndpointOptions, cancel: Cancel, deployment: Deployment) -> Request:
    headers = _headers(options, deployment)
    headers[EVENT] = "cancel"
    return _request(options, deployment, cancel.method, cancel.url, headers)


def to_ask(options: EndpointOptions, deployment: Deployment, url: URL) -> Request:
    return Request("GET", url, _headers(options, deployment))


def _headers(options: EndpointOptions, deployment: Deployment) -> CIMultiDict[str]:
    headers = CIMultiDict({"User-Agent": "gitploy-relay", "Accept": "application/json"})
    headers.update({name: fill(value, deployment) for name, value in options.headers.items()})
    return headers


def _request(
    options: EndpointOptions,
    deployment: Deployment,
    method: str,
    template: str,
    headers: CIMultiDict[str],
) -> Request:
    url = fill_address(template, deployment)
    if method in WITHOUT_BODY:
        return Request(method, url, headers)
    body = _body(options, deployment)
    headers.setdefault("Content-Type", "application/json")
    if options.secret is not None:
        headers[SIGNATURE] = signature(options.secret, body)
    return Request(method, url, headers, body)


def signature(secret: str, body: bytes) -> str:
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def _body(options: EndpointOptions, deployment: Deployment) -> bytes:
    """The same bytes each time, so that a repeated request is known for what it is."""
    if options.body is None:
        document: Any = standard_document(deployment)
    else:
        document = _filled(options.body, deployment)
    try:
        return json.dumps(document, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Rejected("the deployment's payload cannot be written as JSON") from None


def standard_document(deployment: Deployment) -> dict[str, Any]:
    owner, _, name = deployment.repo.partition("/")
    report = deployment.report
    return {
        "deployment": {
            "id": deployment.id,
            "environment": deployment.environment,
            "ref": deployment.ref,
            "sha": deployment.sha,
            "task": deployment.task,
            "payload": payload(deployment),
            "creator": {"login": deployment.creator},
            "created_at": _time(deployment.created_at),
        },
        "repository": {
            "id": deployment.repo_id,
            "full_name": deployment.repo,
            "name": name,
            "owner": {"login": owner},
        },
        "deadline": _time(deployment.deadline),
        "report": {"url": report.url, "api": report.api, "token": report.token},
    }


def _filled(value: Any, deployment: Deployment) -> Any:
    match value:
        case str():
            return fill(value, deployment)
        case list():
            return [_filled(inner, deployment) for inner in value]
        case dict():
            return {key: _filled(inner, deployment) for key, inner in value.items()}
    return value


def _time(at: datetime) -> str:
    """As GitHub writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

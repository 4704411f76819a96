"""What the endpoint handler sends to the tool, and what it reads from the tool's response.

A request carries the standard document or the operator's, and a signature. A response may describe
the run: `{"state", "description", "url", "environment_url"}`, all optional. It comes from the tool
and may be anything: fields that do not fit are left out.

Source: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries, for the
signature. The names in the standard document are those of GitHub's `deployment` event.
Errors: `Rejected` for a deployment whose values do not fit.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from multidict import CIMultiDict
from yarl import URL

from handlers.contract import Deployment, Run, State
from handlers.endpoint.options import (
    EVENT,
    IDEMPOTENCY_KEY,
    SIGNATURE,
    Cancel,
    EndpointOptions,
    fill_address,
)
from handlers.errors import Rejected
from handlers.http import Request, Response
from handlers.options import fill, payload
from handlers.text import one_line, web_url

WITHOUT_BODY = ("GET", "DELETE")
_STATES = {state.value: state for state in State} | {"pending": State.QUEUED}
# More than GitHub shows: the relay hides secrets before it shortens, or a part might be left.
MAX_DESCRIPTION = 1000
MAX_STATE_NAME = 30


def to_start(options: EndpointOptions, deployment: Deployment) -> Request:
    headers = _headers(options, deployment)
    headers[EVENT] = "deployment"
    headers[IDEMPOTENCY_KEY] = str(deployment.id)
    return _request(options, deployment, options.method, options.url, headers)


def to_cancel(options: EndpointOptions, cancel: Cancel, deployment: Deployment) -> Request:
    headers = _headers(options, deployment)
    headers[EVENT] = "cancel"
    return _request(options, deployment, cancel.method, cancel.url, headers)


def to_poll(options: EndpointOptions, deployment: Deployment, url: URL) -> Request:
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
    """The same bytes each time, so that the tool recognises a repeated request."""
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


@dataclass(frozen=True, slots=True)
class RunUpdate:
    """What a response says of the run; `state_name` is its `state` in lower case."""

    state_name: str = ""
    description: str = ""
    url: str = ""
    environment_url: str = ""

    @classmethod
    def parse(cls, response: Response) -> Self:
        document = _document(response.body)
        return cls(
            _state_name(document.get("state")),
            _text(document.get("description"), MAX_DESCRIPTION),
            web_url(document.get("url")),
            web_url(document.get("environment_url")),
        )

    @property
    def state(self) -> State | None:
        return _STATES.get(self.state_name)

    def apply_to(self, run: Run) -> Run:
        """The run after this update."""
        state, description = self.state or run.state, self.description
        if self.state_name and self.state is None:
            description = f"the tool says '{self.state_name}', which the relay does not know"
        if state is State.QUEUED and run.state is State.IN_PROGRESS:
            state = run.state  # it waits once more, which only the description can say
            description = description or f"the tool says '{self.state_name}'"
        return replace(
            run,
            state=state,
            description=description,
            url=self.url or run.url,
            environment_url=self.environment_url or run.environment_url,
        )


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(value: Any, limit: int) -> str:
    return one_line(value, limit) if isinstance(value, str) else ""


def _state_name(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return _text(text, MAX_STATE_NAME).lower()

"""What a tool reports: the body of a request -> a state, a description and links to store.

Source: https://docs.github.com/rest/deployments/statuses#create-a-deployment-status and
https://docs.github.com/rest/commits/statuses#create-a-commit-status
Units: every string can be stored by PostgreSQL, and holds no known secret.
Errors: `HttpError` with GitHub's status and document: 400 not JSON, 422 a field that is wrong.
Unlike GitHub it shortens a long description, and takes a number where a string belongs.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from webhook.errors import HttpError
from webhook.github.events import storable
from webhook.text import LONGEST_KEPT, one_line

STATES = ("error", "failure", "inactive", "in_progress", "queued", "pending", "success")
# A commit status has fewer; what each of them means for a deployment.
COMMIT_STATES = {
    "error": "error",
    "failure": "failure",
    "pending": "in_progress",
    "success": "success",
}
LONGEST_URL = 2048
LONGEST_CONTEXT = 255
_URL = re.compile(r"https?://[^\s<>\"\x00-\x20\x7f]+", re.IGNORECASE)

Redact = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class StatusReport:
    """`environment_url` and `log_url` are web addresses or empty."""

    state: str
    description: str
    log_url: str
    environment_url: str

    @property
    def ends(self) -> bool:
        return self.state in ("success", "failure", "error") or (
            self.state == "inactive" and not self.clears
        )

    @property
    def clears(self) -> bool:
        """`inactive` without details: bobheadxi/deployments marks all deployments of an environment
        so, the running one too, before it reports how that one ended."""
        details = self.description or self.log_url or self.environment_url
        return self.state == "inactive" and not details


@dataclass(frozen=True, slots=True)
class CommitReport:
    """`state` and `context` are the commit status's own, for the response."""

    report: StatusReport
    state: str
    context: str


def deployment_status(body: bytes, redact: Redact) -> StatusReport:
    fields = _Fields("DeploymentStatus", _object(body), redact)
    return StatusReport(
        state=fields.state(STATES),
        description=one_line(fields.text("description"), LONGEST_KEPT),
        log_url=fields.url("log_url") or fields.url("target_url"),
        environment_url=fields.url("environment_url"),
    )


def commit_status(body: bytes, redact: Redact) -> CommitReport:
    fields = _Fields("Status", _object(body), redact)
    state = fields.state(tuple(COMMIT_STATES))
    report = StatusReport(
        state=COMMIT_STATES[state],
        description=one_line(fields.text("description"), LONGEST_KEPT),
        log_url=fields.url("target_url"),
        environment_url="",
    )
    context = one_line(fields.text("context"), LONGEST_CONTEXT) or "default"
    return CommitReport(report, state, context)


@dataclass(frozen=True, slots=True)
class _Fields:
    resource: str
    body: dict[str, Any]
    redact: Redact

    def state(self, known: tuple[str, ...]) -> str:
        if self.body.get("state") is None:
            raise missing_field(self.resource, "state")
        state = self.text("state")
        if state not in known:
            message = f"state is not included in the list: {', '.join(known)}"
            raise invalid_field(self.resource, "state", message)
        return state

    def text(self, name: str) -> str:
        """null is taken as absent, a number or true as its text."""
        value = self.body.get(name)
        if value is None:
            return ""
        if isinstance(value, dict | list):
            raise invalid_field(self.resource, name, f"{name} is not a string")
        text = value if isinstance(value, str) else json.dumps(value)
        return str(storable(self.redact(text)))

    def url(self, name: str) -> str:
        url = self.text(name).strip()
        if url and not _URL.fullmatch(url):
            raise invalid_field(self.resource, name, f"{name} must use http(s) scheme")
        if len(url) > LONGEST_URL:
            message = f"{name} is too long (maximum is {LONGEST_URL} characters)"
            raise invalid_field(self.resource, name, message)
        return url


def invalid_field(resource: str, field: str, message: str) -> HttpError:
    entry = {"resource": resource, "field": field, "code": "custom", "message": message}
    return HttpError(422, "Validation Failed", fields=[entry])


def missing_field(resource: str, field: str) -> HttpError:
    message = f"{field} is missing"
    entry = {"resource": resource, "field": field, "code": "missing_field", "message": message}
    return HttpError(422, "Validation Failed", fields=[entry])


def _object(body: bytes) -> dict[str, Any]:
    """Whatever the content type is: curl and others call JSON a form."""
    try:
        content = json.loads(body, parse_constant=_reject)
    except (ValueError, RecursionError):
        raise HttpError(400, "Problems parsing JSON") from None
    if not isinstance(content, dict):
        raise HttpError(400, "Body should be a JSON object")
    return content


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")

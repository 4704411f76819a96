"""Where tools report how a deployment goes, shaped like GitHub's own API: an existing client needs
only another base URL and token. The worker decides what a report changes.

Source: docs.github.com, "REST API endpoints for deployment statuses" and "for commit statuses",
"Troubleshooting the REST API" (errors), "Using pagination in the REST API".
Errors: GitHub's documents: 400 not JSON, 401 and 403 the token, 404 anything but the token's own
deployment, 413 too large, 422 a field is wrong, 503 the store does not respond.

A token is good for one deployment in one environment, until its end. It comes as `token T`,
`Bearer T`, or as the password (or, as GitHub had it, the user's name) of basic authentication.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import structlog
from flask import Blueprint, Request, Response, jsonify, request

from webhook.errors import BadCredentials, HttpError
from webhook.http import BodyRule, ErrorHandling, log_rejection, read_body, with_status
from webhook.logs import Redactor
from webhook.security.signing import REPORT_PREFIX, ReportClaims, ReportTokens
from webhook.status_api import reports
from webhook.status_api.documents import Document, Documents
from webhook.status_api.reports import StatusReport, invalid_field
from webhook.store import deployments, schedule, timeline
from webhook.store.database import Sync, SyncPool
from webhook.store.deployments import DeploymentRow
from webhook.store.timeline import NewEntry, TimelineEntry
from webhook.timing import Clock, utc_now


def claims_of(request: Request, tokens: ReportTokens) -> ReportClaims:
    """Reads the token only, not the store."""
    if "Authorization" not in request.headers:
        raise BadCredentials(401, "Requires authentication")
    claims = tokens.read(_token(request))
    if claims is None:
        raise BadCredentials(401, "Bad credentials")
    return claims


def authorize(
    connection: Sync, claims: ReportClaims, repo: str, *, for_write: bool
) -> DeploymentRow:
    """The token's deployment; for a write it is locked until the transaction ends."""
    row = deployments.read_sync(connection, claims.deployment_id, lock=for_write)
    if row is None or not deployments.is_in(connection, row, repo):
        raise not_found()
    if row.environment.lower() != claims.environment:
        raise not_found()
    if row.phase.final:
        raise _ended(f" ({row.phase})")
    if timeline.reported_end(connection, row.id):
        raise _ended("")
    return row


def not_found() -> HttpError:
    """The same for what the token does not cover and for what does not exist."""
    return HttpError(404, "Not Found")


def _ended(how: str) -> HttpError:
    return HttpError(403, f"This deployment has ended{how}; its token ended with it")


def _token(request: Request) -> str:
    given = request.authorization
    if given is None:
        return ""
    if given.type == "basic":
        password: str = given.password or ""
        return password if password.startswith(REPORT_PREFIX) else given.username or ""
    return given.token or "" if given.type in ("token", "bearer") else ""


log = structlog.get_logger()

MAX_BODY = 64 * 1024
BODY_RULE = BodyRule(
    re.compile(r"(/api/v3)?/?/repos/.*", re.DOTALL),
    MAX_BODY,
    {"Authorization": re.compile(r"(token|bearer|basic) .+", re.IGNORECASE)},
)
# So that a tool in a loop cannot fill the store; its end can still be reported.
MAX_ENTRIES = 1000

_REPOSITORY = "/repos/<owner>/<name>"
_DEPLOYMENTS = f"{_REPOSITORY}/deployments"
_STATUSES = f"{_DEPLOYMENTS}/<number>/statuses"
DOCS = "https://docs.github.com/rest"
# Each view's method, path, and page in GitHub's documentation.
ROUTES = {
    "repository": ("GET", _REPOSITORY, "/repos/repos#get-a-repository"),
    "deployments": ("GET", _DEPLOYMENTS, "/deployments/deployments#list-deployments"),
    "deployment": (
        "GET",
        f"{_DEPLOYMENTS}/<number>",
        "/deployments/deployments#get-a-deployment",
    ),
    "statuses": ("GET", _STATUSES, "/deployments/statuses#list-deployment-statuses"),
    "status": ("GET", f"{_STATUSES}/<status>", "/deployments/statuses#get-a-deployment-status"),
    "create_status": ("POST", _STATUSES, "/deployments/statuses#create-a-deployment-status"),
    "create_commit_status": (
        "POST",
        f"{_REPOSITORY}/statuses/<sha>",
        "/commits/statuses#create-a-commit-status",
    ),
}
# github.com has none, a GitHub Enterprise Server the second; a base URL that was set with a slash
# at its end makes two slashes.
PREFIXES = ("", "/api/v3", "/", "/api/v3/")
_DEFAULT_PAGE, _MAX_PAGE = 30, 100
_MAX_DIGITS = 6
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class StatusApi:
    pool: SyncPool
    tokens: ReportTokens
    documents: Documents
    redactor: Redactor

    def repository(self, owner: str, name: str) -> Response:
        return jsonify(self.documents.repository(self._read(owner, name)))

    def deployments(self, owner: str, name: str) -> Response:
        """No others than the token's own."""
        row = self._read(owner, name)
        return _page([self.documents.deployment(row)] if _matches(row) else [], self.documents.api)

    def deployment(self, owner: str, name: str, number: str) -> Response:
        return jsonify(self.documents.deployment(self._read(owner, name, number)))

    def statuses(self, owner: str, name: str, number: str) -> Response:
        return _page(self._statuses(owner, name, number), self.documents.api)

    def status(self, owner: str, name: str, number: str, status: str) -> Response:
        for document in self._statuses(owner, name, number):
            if str(document["id"]) == status:
                return jsonify(document)
        raise not_found()

    def create_status(self, owner: str, name: str, number: str) -> Response:
        claims = self._claims(number)
        body = _body()
        with self.pool.connection() as connection, connection.transaction():
            row = authorize(connection, claims, f"{owner}/{name}", for_write=True)
            report = reports.deployment_status(body, self.redactor.text)
            entry = self._add(connection, row, report)
        document = self.documents.status(row, entry)
        return _created(jsonify(document), document["url"])

    def create_commit_status(self, owner: str, name: str, sha: str) -> Response:
        claims = self._claims()
        body = _body()
        with self.pool.connection() as connection, connection.transaction():
            row = authorize(connection, claims, f"{owner}/{name}", for_write=True)
            if sha.lower() != row.sha.lower():
                raise HttpError(422, f"No commit found for SHA: {sha}")
            report = reports.commit_status(body, self.redactor.text)
            entry = self._add(connection, row, report.report)
        document = self.documents.commit_status(row, entry, report)
        return _created(jsonify(document), document["url"])

    def _claims(self, number: str | None = None) -> ReportClaims:
        claims = claims_of(request, self.tokens)
        if number not in (None, str(claims.deployment_id)):
            raise not_found()
        return claims

    def _read(self, owner: str, name: str, number: str | None = None) -> DeploymentRow:
        claims = self._claims(number)
        with self.pool.connection() as connection:
            return authorize(connection, claims, f"{owner}/{name}", for_write=False)

    def _statuses(self, owner: str, name: str, number: str) -> list[Document]:
        """The newest first, as GitHub lists them."""
        claims = self._claims(number)
        with self.pool.connection() as connection:
            row = authorize(connection, claims, f"{owner}/{name}", for_write=False)
            every = timeline.of_deployment(connection, row.id)
        # What people requested in Slack is no status.
        statuses = [entry for entry in reversed(every) if entry.state not in timeline.BY_PEOPLE]
        return [self.documents.status(row, entry) for entry in statuses]

    def _add(self, connection: Sync, row: DeploymentRow, report: StatusReport) -> TimelineEntry:
        if not report.ends and timeline.count(connection, row.id) >= MAX_ENTRIES:
            message = "This deployment has reached the maximum number of statuses."
            raise invalid_field("DeploymentStatus", "state", message)
        entry = NewEntry(
            actor=row.handler or "tool",
            state=report.state,
            description=report.description,
            log_url=report.log_url,
            environment_url=report.environment_url,
            counted=False,
            judged=report.clears,
        )
        added = timeline.add_report(connection, row.id, entry)
        if not report.clears:
            schedule.request_sync(connection, [schedule.Key("advance", row.id)])
        log.info(
            "report stored", deployment=row.id, state=report.state, description=report.description
        )
        return added


def blueprint(
    pool: SyncPool,
    server_url: str,
    secret_keys: Sequence[str],
    redactor: Redactor,
    clock: Clock = utc_now,
) -> Blueprint:
    api = StatusApi(
        pool,
        ReportTokens(server_url, secret_keys, clock),
        Documents(server_url),
        redactor,
    )
    bp = Blueprint("status_api", __name__)
    for view, (method, path, _) in ROUTES.items():
        serve: Callable[..., Response] = getattr(api, view)
        for prefix in PREFIXES:
            bp.add_url_rule(prefix + path, view, serve, methods=[method], merge_slashes=False)
    for path in ("/repos/<path:rest>", "/api/<path:rest>"):
        bp.add_url_rule(path, "unknown", _unknown, methods=_METHODS)
    bp.after_request(_with_headers)
    return bp


def _unknown(**_: str) -> Response:
    """Not the page that people get."""
    raise not_found()


def _matches(row: DeploymentRow) -> bool:
    """'none' is the documented default of each filter."""
    for name in ("sha", "ref", "task", "environment"):
        requested = request.args.get(name, "none")
        found = str(getattr(row, name))
        if name == "environment":
            requested, found = requested.lower(), found.lower()
        if requested not in ("none", found):
            return False
    return True


def _body() -> bytes:
    body = read_body(MAX_BODY)
    if body is None:
        raise HttpError(413, f"The body is larger than {MAX_BODY // 1024} KiB")
    return body


def _created(response: Response, url: str) -> Response:
    response.status_code = 201
    response.headers["Location"] = url
    return response


def as_document(error: HttpError) -> Response:
    """An error as GitHub writes it; it links to GitHub's documentation of the call."""
    endpoint = (request.endpoint or "").rpartition(".")[2]
    _, _, page = ROUTES.get(endpoint, ("", "", ""))
    if endpoint in ROUTES:
        log_rejection(error)
    document: dict[str, Any] = {"message": str(error)}
    if error.fields:
        document["errors"] = error.fields
    document |= {"documentation_url": DOCS + page, "status": str(error.status)}
    return with_status(jsonify(document), error)


ERRORS = ErrorHandling(
    as_document,
    HttpError(503, "The relay's store does not respond; try again in a minute"),
    every_error=True,
)


def _page(items: Sequence[object], api: str) -> Response:
    """A page of a list, with the links to the others that GitHub puts into a header."""
    size = min(_number("per_page", _DEFAULT_PAGE), _MAX_PAGE)
    at, last = _number("page", 1), max(1, -(-len(items) // size))
    response = jsonify(items[(at - 1) * size : at * size])
    targets = {"prev": at - 1, "next": at + 1, "last": last, "first": 1}
    requested = [*(("prev", "first") if at > 1 else ()), *(("next", "last") if at < last else ())]
    if requested:
        links = [f'<{_page_url(api, targets[name])}>; rel="{name}"' for name in requested]
        response.headers["Link"] = ", ".join(links)
    return response


def _number(name: str, default: int) -> int:
    text = request.args.get(name, "")
    valid = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
    return int(text) or default if valid else default


def _page_url(api: str, number: int) -> str:
    query = {name: value for name, value in request.args.items() if name != "page"}
    path = request.path.removeprefix("/api/v3")
    return f"{api}{path}?{urlencode({**query, 'page': number})}"


def _with_headers(response: Response) -> Response:
    if response.mimetype == "application/json":
        response.headers["Content-Type"] = "application/json; charset=utf-8"
    response.headers["X-GitHub-Media-Type"] = "github.v3; format=json"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response

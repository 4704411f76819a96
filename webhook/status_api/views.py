"""Where tools report how a deployment goes, shaped like GitHub's own API: an existing client needs
only another base URL and token. Judging what is reported is the worker's.

Source: docs.github.com, "REST API endpoints for deployment statuses" and "for commit statuses".
Errors: GitHub's documents (webhook.status_api.errors): 400 not JSON, 401 and 403 the token, 404
anything but the token's own deployment, 413 too large, 422 a field is wrong, 503 the store is away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
import structlog
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from webhook.jobs.queue import Queue
from webhook.logs import Redactor
from webhook.security.report_tokens import Grant, ReportTokens
from webhook.status_api import pagination, reports
from webhook.status_api.auth import admitted, grant_of
from webhook.status_api.documents import Document, Documents
from webhook.status_api.errors import Refusal, invalid, not_found
from webhook.status_api.reports import Report
from webhook.store import timeline
from webhook.store.database import Sync, SyncPool
from webhook.store.deployments import DeploymentRow
from webhook.store.timeline import NewEntry, TimelineEntry
from webhook.timing import Clock, utc_now
from webhook.web.bodies import body_of_at_most

log = structlog.get_logger()

LARGEST_BODY = 64 * 1024
# So that a tool in a loop cannot fill the store; how it ended can still be said.
MOST_STEPS = 1000

_REPOSITORY = "/repos/<owner>/<name>"
_DEPLOYMENTS = f"{_REPOSITORY}/deployments"
_STATUSES = f"{_DEPLOYMENTS}/<number>/statuses"
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
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Tools:
    pool: SyncPool
    tokens: ReportTokens
    documents: Documents
    redactor: Redactor
    queue: Queue

    def repository(self, owner: str, name: str) -> Response:
        return jsonify(self.documents.repository(self._read(owner, name)))

    def deployments(self, owner: str, name: str) -> Response:
        """No others than the token's own."""
        row = self._read(owner, name)
        return self._page([self.documents.deployment(row)] if _wanted(row) else [])

    def deployment(self, owner: str, name: str, number: str) -> Response:
        return jsonify(self.documents.deployment(self._read(owner, name, number)))

    def statuses(self, owner: str, name: str, number: str) -> Response:
        return self._page(self._statuses(owner, name, number))

    def status(self, owner: str, name: str, number: str, status: str) -> Response:
        for document in self._statuses(owner, name, number):
            if str(document["id"]) == status:
                return jsonify(document)
        raise not_found()

    def create_status(self, owner: str, name: str, number: str) -> Response:
        grant = self._grant(number)
        body = _body()
        with self.pool.connection() as connection, connection.transaction():
            row = admitted(connection, grant, f"{owner}/{name}", to_write=True)
            report = reports.deployment_status(body, self.redactor.text)
            step = self._keep(connection, row, report)
        document = self.documents.status(row, step)
        return _created(jsonify(document), document["url"])

    def create_commit_status(self, owner: str, name: str, sha: str) -> Response:
        grant = self._grant()
        body = _body()
        with self.pool.connection() as connection, connection.transaction():
            row = admitted(connection, grant, f"{owner}/{name}", to_write=True)
            if sha.lower() != row.sha.lower():
                raise Refusal(422, f"No commit found for SHA: {sha}")
            said = reports.commit_status(body, self.redactor.text)
            step = self._keep(connection, row, said.report)
        document = self.documents.commit_status(row, step, said)
        return _created(jsonify(document), document["url"])

    def _grant(self, number: str | None = None) -> Grant:
        grant = grant_of(request, self.tokens)
        if number not in (None, str(grant.deployment_id)):
            raise not_found()
        return grant

    def _read(self, owner: str, name: str, number: str | None = None) -> DeploymentRow:
        grant = self._grant(number)
        with self.pool.connection() as connection:
            return admitted(connection, grant, f"{owner}/{name}", to_write=False)

    def _statuses(self, owner: str, name: str, number: str) -> list[Document]:
        """The newest first, as GitHub lists them."""
        grant = self._grant(number)
        with self.pool.connection() as connection:
            row = admitted(connection, grant, f"{owner}/{name}", to_write=False)
            every = timeline.of_deployment(connection, row.id)
        # What people asked for in Slack is no status.
        said = [one for one in reversed(every) if one.state != timeline.ASKED]
        return [self.documents.status(row, step) for step in said]

    def _keep(self, connection: Sync, row: DeploymentRow, report: Report) -> TimelineEntry:
        if not report.ends and timeline.count(connection, row.id) >= MOST_STEPS:
            words = "This deployment has reached the maximum number of statuses."
            raise invalid("DeploymentStatus", "state", words)
        entry = NewEntry(
            actor=row.handler or "tool",
            state=report.state,
            description=report.description,
            log_url=report.log_url,
            environment_url=report.environment_url,
            counted=False,
            judged=report.clears,
        )
        kept = timeline.add_report(connection, row.id, entry)
        if not report.clears:
            self.queue.take_reports(connection, row.id)
        log.info("report kept", deployment=row.id, state=report.state, words=report.description)
        return kept

    def _page(self, items: Sequence[object]) -> Response:
        return pagination.page(items, self.documents.api)


def blueprint(
    pool: SyncPool,
    server_url: str,
    secret_keys: Sequence[str],
    secrets: frozenset[str],
    clock: Clock = utc_now,
) -> Blueprint:
    tools = Tools(
        pool,
        ReportTokens(server_url, secret_keys, clock),
        Documents(server_url),
        Redactor(secrets),
        Queue(),
    )
    door = Blueprint("tools", __name__)
    for view, (method, path, _) in ROUTES.items():
        serve: Callable[..., Response] = getattr(tools, view)
        for prefix in PREFIXES:
            door.add_url_rule(prefix + path, view, serve, methods=[method], merge_slashes=False)
    for path in ("/repos/<path:rest>", "/api/<path:rest>"):
        door.add_url_rule(path, "nothing", _nothing, methods=_METHODS)
    door.register_error_handler(Exception, _refused)
    door.after_request(_with_headers)
    return door


def _nothing(**_: str) -> Response:
    """Not the page that people get."""
    raise not_found()


def _wanted(row: DeploymentRow) -> bool:
    """'none' is the documented default of each filter."""
    for name in ("sha", "ref", "task", "environment"):
        wanted = request.args.get(name, "none")
        found = str(getattr(row, name))
        if name == "environment":
            wanted, found = wanted.lower(), found.lower()
        if wanted not in ("none", found):
            return False
    return True


def _body() -> bytes:
    body = body_of_at_most(LARGEST_BODY)
    if body is None:
        raise Refusal(413, f"The body is larger than {LARGEST_BODY // 1024} KiB")
    return body


def _created(response: Response, url: str) -> Response:
    response.status_code = 201
    response.headers["Location"] = url
    return response


def _refused(error: Exception) -> Response:
    endpoint = (request.endpoint or "").rpartition(".")[2]
    _, _, page = ROUTES.get(endpoint, ("", "", ""))
    refusal = _as_refusal(error)
    if endpoint in ROUTES:
        path, status = request.path[:200], refusal.status
        log.warning("report refused", path=path, status=status, why=refusal.why)
    return refusal.answer(page)


def _as_refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        return Refusal(error.code or 500, error.name)
    # Procrastinate wraps what it meets on our connection.
    if isinstance(error, psycopg.Error) or isinstance(error.__cause__, psycopg.Error):
        log.error("a report cannot be kept, the store is away", trouble=type(error).__name__)
        return Refusal(503, "The relay's store does not answer; try again in a minute")
    log.exception("a tool could not be answered")
    return Refusal(500, "Server Error")


def _with_headers(response: Response) -> Response:
    if response.mimetype == "application/json":
        response.headers["Content-Type"] = "application/json; charset=utf-8"
    response.headers["X-GitHub-Media-Type"] = "github.v3; format=json"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response

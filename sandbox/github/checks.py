"""Check runs and check suites.

Source: https://docs.github.com/rest/checks/runs and https://docs.github.com/rest/checks/suites
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from sandbox.github.auth import Auth, Caller
from sandbox.github.check_documents import CheckDocuments
from sandbox.github.commit_statuses import commit_of_path
from sandbox.github.documents import Documents
from sandbox.github.events import Events
from sandbox.github.model import (
    CONCLUSIONS,
    Account,
    CheckApp,
    CheckRun,
    CheckSuite,
    ErrorResponse,
    Json,
    Repository,
    World,
    covers,
)
from sandbox.github.request import body_of, field, page, required, url_field
from sandbox.github.webhooks import Webhooks

REPOSITORY = "/repos/{owner}/{repo}"
RUN, SUITE = REPOSITORY + "/check-runs/{id:\\d+}", REPOSITORY + "/check-suites/{id:\\d+}"
# The others of GitHub's are set by Actions alone.
STATUSES = ("queued", "in_progress", "completed")
LEVELS = ("notice", "warning", "failure")
MAX_ANNOTATIONS = 50
MAX_OUTPUT = 65_535
ACTIONS = CheckApp(15368, "github-actions")


class Checks:
    def __init__(
        self, world: World, documents: Documents, events: Events, auth: Auth, hooks: Webhooks
    ) -> None:
        self._documents = CheckDocuments(documents, events)
        self._world = world
        self._auth = auth
        self._hooks = hooks
        self._api = documents

    def routes(self) -> list[web.RouteDef]:
        commit = REPOSITORY + "/commits/{ref:.+}"
        return [
            web.post(REPOSITORY + "/check-runs", self._create),
            web.patch(RUN, self._update),
            web.get(RUN, self._read),
            web.get(RUN + "/annotations", self._annotations),
            web.post(RUN + "/rerequest", self._rerequest),
            web.get(commit + "/check-runs", self._list),
            web.get(commit + "/check-suites", self._list_suites),
            web.get(SUITE, self._read_suite),
            web.get(SUITE + "/check-runs", self._list_of_suite),
            web.post(SUITE + "/rerequest", self._rerequest_suite),
        ]

    @property
    def own_app(self) -> CheckApp:
        return CheckApp(self._world.app.id, self._world.app.slug)

    def create(self, app: CheckApp, repository: Repository, body: Json) -> CheckRun:
        """As the HTTP route does it, for any App."""
        name, head_sha = required(body, "name"), required(body, "head_sha")
        if head_sha not in repository.git.commits:
            raise ErrorResponse(422, f"No commit found for SHA: {head_sha}")
        fields = _fields(body)
        suite = self.suite(app, repository, head_sha)
        run = CheckRun(self._world.id(), suite, app, head_sha, name)
        suite.runs.append(run)
        self._send_run(repository, "created", run)
        self._change(repository, run, fields)
        return run

    def update(self, repository: Repository, run: CheckRun, body: Json) -> None:
        run.name = field(body, "name", run.name, str)
        self._change(repository, run, _fields(body))

    def suite(self, app: CheckApp, repository: Repository, sha: str) -> CheckSuite:
        for suite in repository.suites:
            if (suite.app.id, suite.head_sha) == (app.id, sha):
                return suite
        heads = [name for name, at in repository.git.refs.items() if at == sha]
        suite = CheckSuite(self._world.id(), app, sha, next(iter(heads), None))
        repository.suites.append(suite)
        return suite

    def open_suite(self, repository: Repository, sha: str) -> None:
        """At each push, for the App: an empty one that stays as it is until the App reports."""
        installation = self._world.installation_of(repository)
        if installation and covers(installation.permissions, "checks", "write"):
            suite = self.suite(self.own_app, repository, sha)
            self._send_suite(repository, "requested", suite)

    def _change(self, repository: Repository, run: CheckRun, fields: Json) -> None:
        was_completed = run.status == "completed"
        run.annotations += fields.pop("annotations", [])
        for name, value in fields.items():
            setattr(run, name, value)
        if run.status != "completed":
            run.conclusion = run.completed_at = None
            return
        run.completed_at = run.completed_at or self._world.now()
        if not was_completed:
            self._send_run(repository, "completed", run)
            if run.suite.status == "completed":
                self._send_suite(repository, "completed", run.suite)

    def _send_run(self, repository: Repository, action: str, run: CheckRun) -> None:
        by = self._sender(run.app)
        self._hooks.send("check_run", self._documents.run_event(repository, action, run, by))

    def _send_suite(self, repository: Repository, action: str, suite: CheckSuite) -> None:
        by = self._sender(suite.app)
        body = self._documents.suite_event(repository, action, suite, by)
        self._hooks.send("check_suite", body)

    def _sender(self, app: CheckApp) -> Account:
        if app.id == self._world.app.id:
            return self._world.app.bot
        return Account(f"{app.slug}[bot]", app.id + 100_000, "Bot")

    # -- over HTTP ----------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> web.Response:
        _, repository = self._as_app(request)
        run = self.create(self.own_app, repository, await body_of(request))
        return web.json_response(self._documents.run(repository, run), status=201)

    async def _update(self, request: web.Request) -> web.Response:
        _, repository = self._as_app(request)
        run = _run(request, repository)
        if run.app.id != self._world.app.id:
            message = (
                f"Invalid app_id `{self._world.app.id}` - check run can only be modified by the"
                " GitHub App that created it."
            )
            raise ErrorResponse(403, message)
        self.update(repository, run, await body_of(request))
        return web.json_response(self._documents.run(repository, run))

    async def _read(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "checks", "read")
        return web.json_response(self._documents.run(repository, _run(request, repository)))

    async def _annotations(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "checks", "read")
        run = _run(request, repository)
        items, headers = page(request, run.annotations, self._api.api)
        return web.json_response(list(items), headers=headers)

    async def _rerequest(self, request: web.Request) -> web.Response:
        """The App that made it gets the event, and makes a new run if it wants to."""
        caller, repository = self._auth.authorize(request, "checks", "write")
        run = _run(request, repository)
        if run.app.id == self._world.app.id:
            body = self._documents.run_event(repository, "rerequested", run, caller.account)
            self._hooks.send("check_run", body)
        return web.json_response({}, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "checks", "read")
        sha = commit_of_path(request, repository)
        suites = [suite for suite in repository.suites if suite.head_sha == sha]
        return self._page(request, repository, suites)

    async def _list_of_suite(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "checks", "read")
        return self._page(request, repository, [_suite(request, repository)])

    def _page(
        self, request: web.Request, repository: Repository, suites: list[CheckSuite]
    ) -> web.Response:
        """Newest first; `filter`: the latest of each name (the default), or all."""
        every = request.query.get("filter", "latest") == "all"
        runs = [run for suite in suites for run in (suite.runs if every else suite.latest)]
        found = sorted(filter(_wanted(request), runs), key=lambda run: run.id, reverse=True)
        items, headers = page(request, found, self._api.api)
        documents = [self._documents.run(repository, run) for run in items]
        document = {"total_count": len(found), "check_runs": documents}
        return web.json_response(document, headers=headers)

    async def _list_suites(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "checks", "read")
        sha = commit_of_path(request, repository)
        app, name = request.query.get("app_id"), request.query.get("check_name")
        found = [
            suite
            for suite in repository.suites
            if suite.head_sha == sha
            and app in (None, str(suite.app.id))
            and (name is None or any(run.name == name for run in suite.runs))
        ]
        items, headers = page(request, found, self._api.api)
        documents = [self._documents.suite(repository, suite) for suite in items]
        document = {"total_count": len(found), "check_suites": documents}
        return web.json_response(document, headers=headers)

    async def _read_suite(self, request: web.Request) -> web.Response:
        _, repository = self._auth.authorize(request, "checks", "read")
        return web.json_response(self._documents.suite(repository, _suite(request, repository)))

    async def _rerequest_suite(self, request: web.Request) -> web.Response:
        caller, repository = self._auth.authorize(request, "checks", "write")
        suite = _suite(request, repository)
        if suite.app.id == self._world.app.id:
            body = self._documents.suite_event(repository, "rerequested", suite, caller.account)
            self._hooks.send("check_suite", body)
        return web.json_response({}, status=201)

    def _as_app(self, request: web.Request) -> tuple[Caller, Repository]:
        """Only Apps report check runs."""
        caller, repository = self._auth.authorize(request, "checks", "write")
        if caller.token is None:
            raise ErrorResponse(403, "You must authenticate via a GitHub App.")
        return caller, repository


def _run(request: web.Request, repository: Repository) -> CheckRun:
    number = int(request.match_info["id"])
    for suite in repository.suites:
        for run in suite.runs:
            if run.id == number:
                return run
    raise ErrorResponse(404, "Not Found")


def _suite(request: web.Request, repository: Repository) -> CheckSuite:
    number = int(request.match_info["id"])
    found = next((suite for suite in repository.suites if suite.id == number), None)
    if found is None:
        raise ErrorResponse(404, "Not Found")
    return found


def _wanted(request: web.Request) -> Callable[[CheckRun], bool]:
    query = request.query

    def wanted(run: CheckRun) -> bool:
        return (
            query.get("check_name") in (None, run.name)
            and query.get("status") in (None, run.status)
            and query.get("app_id") in (None, str(run.app.id))
        )

    return wanted


def _fields(body: Json) -> Json:
    """What a request sets of a run. A conclusion completes it."""
    found: Json = {}
    for name in ("external_id", "status", "conclusion"):
        if name in body:
            found[name] = field(body, name, "", str)
    if "conclusion" in found:
        found["status"] = "completed"
    if found.get("status") == "completed" and "conclusion" not in found:
        raise _unprocessable('"conclusion" wasn\'t supplied.')
    _one_of(found, "status", STATUSES)
    _one_of(found, "conclusion", tuple(one for one in CONCLUSIONS if one != "stale"))
    if "details_url" in body:
        found["details_url"] = url_field(body, "details_url", "CheckRun")
    for name in ("started_at", "completed_at"):
        if name in body:
            found[name] = _time(field(body, name, "", str), name)
    return found | _output(body)


def _output(body: Json) -> Json:
    if "output" not in body:
        return {}
    output = field(body, "output", {}, dict)
    for name in ("title", "summary"):
        required(output, name)
    for name in ("summary", "text"):
        if len(field(output, name, "", str)) > MAX_OUTPUT:
            raise _unprocessable(f"{name} exceeds a maximum bytesize of {MAX_OUTPUT}")
    annotations = [_annotation(one) for one in field(output, "annotations", [], list)]
    if len(annotations) > MAX_ANNOTATIONS:
        raise _unprocessable(f"No more than {MAX_ANNOTATIONS} items are allowed in annotations.")
    kept = {name: output.get(name) for name in ("title", "summary", "text")}
    return {"output": kept, "annotations": annotations}


def _annotation(one: Any) -> Json:
    if not isinstance(one, dict):
        raise _unprocessable(f"{one!r} is not an object.")
    for name in ("path", "message"):
        required(one, name)
    for name in ("start_line", "end_line"):
        if not isinstance(one.get(name), int):
            raise _unprocessable(f"For 'properties/{name}', {one.get(name)} is not an integer.")
    if one.get("annotation_level") not in LEVELS:
        raise _unprocessable(f"annotation_level is not one of {', '.join(LEVELS)}.")
    has_columns = "start_column" in one or "end_column" in one
    if has_columns and one["start_line"] != one["end_line"]:
        raise _unprocessable("columns need start_line and end_line on the same line.")
    blank = dict.fromkeys(("start_column", "end_column", "title", "raw_details"))
    return {"blob_href": "", **blank, **one}


def _one_of(fields: Json, name: str, known: tuple[str, ...]) -> None:
    if name in fields and fields[name] not in known:
        raise _unprocessable(f"{fields[name]} is not a member of {list(known)}.")


def _time(text: str, name: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise _unprocessable(f"For 'properties/{name}', {text} is not a valid time.") from None


def _unprocessable(message: str) -> ErrorResponse:
    return ErrorResponse(422, f"Invalid request.\n\n{message}")

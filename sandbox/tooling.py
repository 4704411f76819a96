"""The stand-in for a company's own deployment tool, over HTTP: as strict as a good receiver.

`POST /deploy` with a signed JSON document and an `Idempotency-Key` starts a job, one for each key.
By `mode`, the state of the job is in the response, at `GET /jobs/{number}`, or in reports to the
URL in the document. `POST /cancel/{key}` ends a job.

Source: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries and
https://docs.github.com/en/rest/deployments/statuses for the reports.
Units: seconds.
Errors: 400, 401, 404, 409, 415, 422 with `{"error": ...}`.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.server import Server

ENDS = ("success", "failure", "error")

Json = dict[str, Any]


class Mode(StrEnum):
    """How the caller gets the state of a job."""

    SYNCHRONOUS = "synchronous"  # in the response
    POLLED = "polled"  # 202 with a Location to poll
    REPORTS = "reports"  # the job sends reports


@dataclass(slots=True)
class Job:
    """`headers` and `target` are those of the request that started it; `requests` counts the
    requests with its key. `reports`: the state of each report, and the status of the response."""

    key: str
    number: int
    mode: Mode
    document: Any
    headers: dict[str, str] = field(repr=False)
    target: str
    url: str
    environment_url: str = ""
    state: str = "queued"
    description: str = ""
    cancelled: bool = False
    requests: int = 0
    reports: list[tuple[str, int]] = field(default_factory=list)
    first_response: tuple[int, Any, dict[str, str]] = (202, None, {})

    def keep_first_response(self) -> None:
        """A repeated request gets the same response."""
        match self.mode:
            case Mode.SYNCHRONOUS:
                self.first_response = (200, self.result(), {})
            case Mode.POLLED:
                location = {"Location": f"/jobs/{self.number}"}
                self.first_response = (202, {"state": self.state}, location)
            case Mode.REPORTS:
                self.first_response = (202, {"accepted": True}, {})

    def result(self) -> Json:
        return {
            "state": self.state,
            "description": self.description,
            "url": self.url,
            "environment_url": self.environment_url,
        }

    def status(self) -> Json:
        """As GitHub's "Create a deployment status" takes it."""
        return {
            "state": self.state,
            "description": self.description,
            "log_url": self.url,
            "environment_url": self.environment_url,
        }


REPORT_TIMEOUT = 15.0
RETRY_DELAY = 0.1


class Tooling(Server):
    """`takes` is the duration of a job; with None it stays queued until `set_state` is called.
    `token` is the bearer token that every request needs; `secret` signs those with a body."""

    def __init__(
        self,
        *,
        secret: str = "",
        token: str = "",
        mode: Mode = Mode.REPORTS,
        takes: float | None = 0.2,
        ends: str = "success",
        environment_url: str = "",
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.secret = secret
        self.token = token
        self.mode = mode
        self.takes = takes
        self.ends = ends
        self.environment_url = environment_url
        self.jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.route("*", "/deploy{rest:.*}", self._deploy),
            web.route("*", "/cancel/{key}", self._cancel),
            web.get("/jobs/{number}", self._show),
        ]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().stop()

    # -- for tests and the demo --------------------------------------------------------------------

    def job(self, key: str | int) -> Job:
        return self.jobs[str(key)]

    async def set_state(self, key: str | int, state: str, description: str = "") -> Job:
        """Set the state of a job, which reports it in mode REPORTS."""
        job = self.job(key)
        job.state, job.description = state, description
        if job.mode is Mode.REPORTS:
            await self._report(job)
        return job

    # -- the server ------------------------------------------------------------------------------

    async def _deploy(self, request: web.Request) -> web.Response:
        document = await self._authenticated_document(request)
        key = request.headers.get("Idempotency-Key")
        if not key:
            raise _error(web.HTTPBadRequest, "the Idempotency-Key is missing")
        if key not in self.jobs:
            self.jobs[key] = self._new_job(key, request, document)
        job = self.jobs[key]
        job.requests += 1
        status, document, headers = job.first_response
        return web.json_response(document, status=status, headers=headers)

    def _new_job(self, key: str, request: web.Request, document: Any) -> Job:
        if self.mode is Mode.REPORTS:
            report = document.get("report") if isinstance(document, dict) else None
            if not isinstance(report, dict) or not {"url", "token"} <= report.keys():
                raise _error(web.HTTPUnprocessableEntity, "there is no `report` in the document")
        job = Job(
            key=key,
            number=len(self.jobs) + 1,
            mode=self.mode,
            document=document,
            headers=dict(request.headers),
            target=request.raw_path,
            url=f"{self.url}/jobs/{len(self.jobs) + 1}",
            environment_url=self.environment_url,
        )
        if self.mode is Mode.SYNCHRONOUS:
            job.state = self.ends
        elif self.takes is not None:
            self._schedule(job, self.takes)
        job.keep_first_response()
        return job

    def _schedule(self, job: Job, takes: float) -> None:
        async def run() -> None:
            for state in ("in_progress", self.ends):
                await asyncio.sleep(takes / 2)
                if job.state not in ENDS:
                    with suppress(TimeoutError):  # its reports were not accepted
                        await self.set_state(job.key, state)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show(self, request: web.Request) -> web.Response:
        self._require_token(request)
        for job in self.jobs.values():
            if str(job.number) == request.match_info["number"]:
                status = 200 if job.state in ENDS else 202
                return web.json_response(job.result(), status=status)
        raise _error(web.HTTPNotFound, "there is no such job")

    async def _cancel(self, request: web.Request) -> web.Response:
        if request.method == "DELETE":
            self._require_token(request)
        else:
            await self._authenticated_document(request)
        job = self.jobs.get(request.match_info["key"])
        if job is None:
            raise _error(web.HTTPNotFound, "there is no such job")
        if job.state in ENDS:
            raise _error(web.HTTPConflict, "it has ended")
        job.state, job.description, job.cancelled = "error", "cancelled", True
        return web.json_response(job.result())

    async def _authenticated_document(self, request: web.Request) -> Any:
        """The document of a request with a valid token and signature."""
        self._require_token(request)
        body = await request.read()
        if self.secret:
            self._require_signature(request, body)
        if request.method == "GET":
            return None
        if request.content_type != "application/json":
            raise _error(web.HTTPUnsupportedMediaType, "send application/json")
        try:
            return json.loads(body)
        except ValueError:
            raise _error(web.HTTPBadRequest, "the body is not JSON") from None

    def _require_token(self, request: web.Request) -> None:
        sent = request.headers.get("Authorization", "")
        if self.token and not hmac.compare_digest(sent.encode(), f"Bearer {self.token}".encode()):
            raise _error(web.HTTPUnauthorized, "the token is wrong")

    def _require_signature(self, request: web.Request, body: bytes) -> None:
        sent = request.headers.get("X-Hub-Signature-256", "")
        digest = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(sent.encode(), f"sha256={digest}".encode()):
            raise _error(web.HTTPUnauthorized, "the signature does not fit the body")

    # -- reports ---------------------------------------------------------------------------------

    async def _report(self, job: Job) -> None:
        """Retried while the relay is unavailable, as a good tool does."""
        report = job.document["report"]
        headers = {"Authorization": f"Bearer {report['token']}"}
        async with (
            asyncio.timeout(REPORT_TIMEOUT),
            aiohttp.ClientSession(headers=headers) as session,
        ):
            while True:
                try:
                    async with session.post(report["url"], json=job.status()) as response:
                        job.reports.append((job.state, response.status))
                        if response.status < 500 and response.status != 429:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(RETRY_DELAY)


def _error(kind: type[web.HTTPException], message: str) -> web.HTTPException:
    return kind(text=json.dumps({"error": message}), content_type="application/json")

"""A stand-in for a company's own deployment tool, over HTTP: as strict as a good receiver is.

`POST /deploy` with a signed JSON document and an `Idempotency-Key` starts a job, once a key. How
the job goes is in the answer, at `GET /jobs/{number}`, or in reports to the address that the
document names, by `mode`. `POST /cancel/{key}` ends a job.

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
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.server import Server
from sandbox.tooling.model import ENDS, Job, Mode

# How long it tries to report, and how long it waits before it tries again.
PATIENCE = 15.0
PAUSE = 0.1


class Tooling(Server):
    """`takes` is how long a job lasts; None: until `move` says how it goes. `token` is what
    `Authorization: Bearer` must carry in every request, `secret` signs those with a body."""

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
            web.get("/jobs/{number}", self._ask),
        ]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().stop()

    # -- what a test or a demo sees and does -----------------------------------------------------

    def job(self, key: str | int) -> Job:
        return self.jobs[str(key)]

    async def move(self, key: str | int, state: str, description: str = "") -> Job:
        """A job comes to a state, and reports it where it reports at all."""
        job = self.job(key)
        job.state, job.description = state, description
        if job.mode is Mode.REPORTS:
            await self._report(job)
        return job

    # -- the server ------------------------------------------------------------------------------

    async def _deploy(self, request: web.Request) -> web.Response:
        document = await self._admitted(request)
        key = request.headers.get("Idempotency-Key")
        if not key:
            raise _refused(web.HTTPBadRequest, "the Idempotency-Key is missing")
        if key not in self.jobs:
            self.jobs[key] = self._started(key, request, document)
        job = self.jobs[key]
        job.asked += 1
        status, said, headers = job.first_answer
        return web.json_response(said, status=status, headers=headers)

    def _started(self, key: str, request: web.Request, document: Any) -> Job:
        if self.mode is Mode.REPORTS:
            report = document.get("report") if isinstance(document, dict) else None
            if not isinstance(report, dict) or not {"url", "token"} <= report.keys():
                raise _refused(web.HTTPUnprocessableEntity, "there is no `report` in the document")
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
        if self.mode is Mode.ANSWERS:
            job.state = self.ends
        elif self.takes is not None:
            self._let_run(job, self.takes)
        job.keep_first_answer()
        return job

    def _let_run(self, job: Job, takes: float) -> None:
        async def run() -> None:
            for state in ("in_progress", self.ends):
                await asyncio.sleep(takes / 2)
                if job.state not in ENDS:
                    with suppress(TimeoutError):  # nobody takes its reports
                        await self.move(job.key, state)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, request: web.Request) -> web.Response:
        self._require_token(request)
        for job in self.jobs.values():
            if str(job.number) == request.match_info["number"]:
                status = 200 if job.state in ENDS else 202
                return web.json_response(job.said(), status=status)
        raise _refused(web.HTTPNotFound, "there is no such job")

    async def _cancel(self, request: web.Request) -> web.Response:
        if request.method == "DELETE":
            self._require_token(request)
        else:
            await self._admitted(request)
        job = self.jobs.get(request.match_info["key"])
        if job is None:
            raise _refused(web.HTTPNotFound, "there is no such job")
        if job.state in ENDS:
            raise _refused(web.HTTPConflict, "it has ended")
        job.state, job.description, job.cancelled = "error", "cancelled", True
        return web.json_response(job.said())

    async def _admitted(self, request: web.Request) -> Any:
        """The document, once it is known to come from somebody who knows the secrets."""
        self._require_token(request)
        body = await request.read()
        if self.secret:
            self._require_signature(request, body)
        if request.method == "GET":
            return None
        if request.content_type != "application/json":
            raise _refused(web.HTTPUnsupportedMediaType, "send application/json")
        try:
            return json.loads(body)
        except ValueError:
            raise _refused(web.HTTPBadRequest, "the body is not JSON") from None

    def _require_token(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        if self.token and not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            raise _refused(web.HTTPUnauthorized, "the token is not known")

    def _require_signature(self, request: web.Request, body: bytes) -> None:
        given = request.headers.get("X-Hub-Signature-256", "")
        wanted = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(given.encode(), f"sha256={wanted}".encode()):
            raise _refused(web.HTTPUnauthorized, "the signature does not fit the body")

    # -- reports ---------------------------------------------------------------------------------

    async def _report(self, job: Job) -> None:
        """Tried again while the relay cannot be reached or is in trouble, as a good tool does."""
        report = job.document["report"]
        headers = {"Authorization": f"Bearer {report['token']}"}
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession(headers=headers) as session:
            while True:
                try:
                    async with session.post(report["url"], json=job.status()) as response:
                        job.reports.append((job.state, response.status))
                        if response.status < 500 and response.status != 429:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(PAUSE)


def _refused(kind: type[web.HTTPException], words: str) -> web.HTTPException:
    return kind(text=json.dumps({"error": words}), content_type="application/json")

"""Webhooks: signed, sent in the background, timed out after ten seconds, and recorded.

Source: https://docs.github.com/webhooks/webhook-events-and-payloads#delivery-headers
GitHub never redelivers by itself; `redeliver` is the button, or the API's `attempts`. It keeps a
delivery for three days. Without a URL it is assumed to send and to record nothing.
Units: seconds.
"""

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from sandbox.faults import without_api_prefix
from sandbox.github.auth import Auth
from sandbox.github.documents import Documents
from sandbox.github.model import Delivery, ErrorResponse, Json, World, covers
from sandbox.github.request import body_of, field, invalid, number, url_field

TIMEOUT = 10.0
KEPT = timedelta(days=3)
# IDs grew beyond what a double holds in February 2026.
FIRST_LARGE_ID = 3_804_004_623_172_239_366
CONTENT_TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
HOOK_ID = 4201
# GitHub lets an App subscribe to these only with that permission.
PERMISSION_OF = {
    "push": "contents",
    "status": "statuses",
    "check_run": "checks",
    "check_suite": "checks",
    "pull_request": "pull_requests",
    "deployment": "deployments",
    "deployment_status": "deployments",
    "deployment_protection_rule": "deployments",
    "workflow_run": "actions",
    "workflow_job": "actions",
}
CODES = {"failure": range(400, 600), "success": range(200, 400)}


@dataclass(frozen=True, slots=True)
class Transit:
    """What happens to a delivery after `delay`. `swallowed`: something before the App answers with
    a 200, and the App gets nothing; `timed out`: nobody answers; `unsent`: it is neither sent nor
    listed."""

    delay: float = 0
    fate: Literal["arrives", "swallowed", "timed out", "unsent"] = "arrives"


ARRIVES = Transit()


def sign(body: bytes, secret: str) -> dict[str, str]:
    """Both signature headers of a body."""

    def digest(algorithm: str) -> str:
        return f"{algorithm}={hmac.new(secret.encode(), body, algorithm).hexdigest()}"

    return {"X-Hub-Signature": digest("sha1"), "X-Hub-Signature-256": digest("sha256")}


def delivery_headers(
    event: str,
    body: bytes,
    secret: str,
    *,
    guid: str | None = None,
    hook_id: int = HOOK_ID,
    app_id: int = 1,
    content_type: str = "json",
) -> dict[str, str]:
    """All headers of a delivery."""
    return {
        "Accept": "*/*",
        "Content-Type": CONTENT_TYPES[content_type],
        "User-Agent": f"GitHub-Hookshot/{hashlib.sha1(secret.encode()).hexdigest()[:7]}",
        "X-GitHub-Delivery": guid or str(uuid.uuid4()),
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": str(hook_id),
        "X-GitHub-Hook-Installation-Target-ID": str(app_id),
        "X-GitHub-Hook-Installation-Target-Type": "integration",
        **sign(body, secret),
    }


def encoded(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


class Webhooks:
    """`url` is where the App's events go; nothing is sent while it is empty. `transit` says what
    happens to each delivery on its way. Deliveries have `large_ids`, and are listed only
    `listed_after` a while, if a test wants so."""

    def __init__(self, world: World, documents: Documents, auth: Auth, url: str) -> None:
        self.url = url
        self.content_type = "json"
        self.insecure_ssl = "0"
        self.timeout = TIMEOUT
        self.large_ids = False
        self.listed_after = timedelta(0)
        self._cursors = 1
        self.transit: Callable[[Delivery], Transit] = lambda _: ARRIVES
        self._world = world
        self._documents = documents
        self._auth = auth
        self._running: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def routes(self) -> list[web.RouteDef]:
        one = "/app/hook/deliveries/{id:\\d+}"
        return [
            web.get("/app/hook/deliveries", self._list),
            web.get(one, self._read),
            web.post(one + "/attempts", self._attempt),
            web.get("/app/hook/config", self._config),
            web.patch("/app/hook/config", self._configure),
        ]

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def send(self, event: str, body: Json) -> str | None:
        """Deliver if the installation is active and the App subscribes to the event."""
        installation = self._world.installations.get(body.get("installation", {}).get("id"))
        if installation is None or installation.suspended or not self.wants(event):
            return None
        permission = PERMISSION_OF.get(event, "metadata")
        if not covers({"metadata": "read", **installation.permissions}, permission, "read"):
            return None
        return self.deliver(event, body)

    def wants(self, event: str) -> bool:
        """Whether the App subscribes to it."""
        return event in self._world.app.events

    def deliver(self, event: str, body: Json) -> str | None:
        """Deliver any event, and return its GUID."""
        if not self.url:
            return None
        raw, app = encoded(body), self._world.app
        if self.content_type == "form":
            raw = urlencode({"payload": raw}).encode()
        headers = delivery_headers(
            event, raw, app.webhook_secret, app_id=app.id, content_type=self.content_type
        )
        delivery = Delivery(
            id=self._id(),
            guid=headers["X-GitHub-Delivery"],
            event=event,
            action=body.get("action"),
            installation_id=body.get("installation", {}).get("id"),
            repository_id=body.get("repository", {}).get("id"),
            body=raw,
            headers=headers,
            delivered_at=self._world.now(),
        )
        self._start(delivery)
        return delivery.guid

    def _id(self) -> int:
        return self._world.id() + (FIRST_LARGE_ID if self.large_ids else 0)

    def forget_cursors(self) -> None:
        """Those that were given out are stale."""
        self._cursors += 1

    def redeliver(self, earlier: Delivery) -> None:
        """Signed with the secret of now."""
        repeated = replace(
            earlier,
            id=self._id(),
            redelivery=True,
            delivered_at=self._world.now(),
            headers={**earlier.headers, **sign(earlier.body, self._world.app.webhook_secret)},
            duration=0,
            status="pending",
            status_code=0,
            response_headers={},
            response_body="",
        )
        self._start(repeated)

    async def settled(self) -> None:
        while self._running:
            await asyncio.wait(self._running)

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._post(delivery))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _post(self, delivery: Delivery) -> None:
        self._session = self._session or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0)
        )
        transit = self.transit(delivery)
        if transit.delay:
            await asyncio.sleep(transit.delay)
        if transit.fate == "unsent":
            return
        started = time.monotonic()
        try:
            if transit.fate == "arrives":
                await self._exchange(self._session, delivery)
            elif transit.fate == "swallowed":
                delivery.status, delivery.status_code = "OK", 200
            else:
                delivery.status = transit.fate
        except TimeoutError:
            delivery.status = "timed out"
        except aiohttp.ClientError:
            delivery.status = "failed to connect to host"
        delivery.duration = time.monotonic() - started
        delivery.listed_at = delivery.delivered_at + self.listed_after
        self._world.deliveries.append(delivery)

    async def _exchange(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        async with session.post(
            self.url,
            data=delivery.body,
            headers=delivery.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=self.timeout),
        ) as response:
            delivery.response_body = (await response.read()).decode(errors="replace")
            delivery.response_headers = dict(response.headers)
            delivery.status_code = response.status
            delivery.status = "OK" if response.ok else f"Invalid HTTP Response: {response.status}"

    async def _list(self, request: web.Request) -> web.Response:
        self._auth.check_jwt(request)
        deliveries = self._filtered(request)
        size = min(number(request, "per_page", 30), 100)
        headers = {}
        if len(deliveries) > size:
            cursor = f"v{self._cursors}_{deliveries[size].id}"
            query = urlencode({**request.query, "cursor": cursor})
            target = f"{self._documents.api}{without_api_prefix(request.path)}?{query}"
            headers["Link"] = f'<{target}>; rel="next"'
        found = [self._documents.delivery(d) for d in deliveries[:size]]
        return web.json_response(found, headers=headers)

    def _filtered(self, request: web.Request) -> list[Delivery]:
        """Newest first, from the cursor on; a page's number means nothing. A timeout has no status
        code and is no `failure`."""
        at = self._world.now()
        found = sorted(self._kept(), key=lambda d: d.delivered_at, reverse=True)
        found = [d for d in found if d.listed_at is None or d.listed_at <= at]
        if codes := CODES.get(request.query.get("status", "")):
            found = [d for d in found if d.status_code in codes]
        if not (cursor := request.query.get("cursor", "")):
            return found
        version, _, first = cursor.partition("_")
        ids = [str(d.id) for d in found]
        if version != f"v{self._cursors}" or first not in ids:
            raise ErrorResponse(422, "Invalid cursor")
        return found[ids.index(first) :]

    def _kept(self) -> list[Delivery]:
        oldest = self._world.now() - KEPT
        return [d for d in self._world.deliveries if d.delivered_at > oldest]

    async def _read(self, request: web.Request) -> web.Response:
        self._auth.check_jwt(request)
        return web.json_response(
            self._documents.delivery_in_full(self._from_path(request), self.url)
        )

    async def _attempt(self, request: web.Request) -> web.Response:
        self._auth.check_jwt(request)
        self.redeliver(self._from_path(request))
        return web.json_response({}, status=202)

    def _from_path(self, request: web.Request) -> Delivery:
        for delivery in self._kept():
            if delivery.id == int(request.match_info["id"]):
                return delivery
        raise ErrorResponse(404, "Not Found")

    async def _config(self, request: web.Request) -> web.Response:
        self._auth.check_jwt(request)
        return web.json_response(self._hook())

    async def _configure(self, request: web.Request) -> web.Response:
        self._auth.check_jwt(request)
        body = await body_of(request)
        content_type = field(body, "content_type", self.content_type, str)
        if content_type not in CONTENT_TYPES:
            invalid("Hook", "content_type", "content_type is not a valid value")
        self.url = url_field({"url": self.url, **body}, "url", "Hook")
        self.content_type = content_type
        self.insecure_ssl = str(body.get("insecure_ssl", self.insecure_ssl))
        app = self._world.app
        app.webhook_secret = field(body, "secret", app.webhook_secret, str)
        return web.json_response(self._hook())

    def _hook(self) -> Json:
        return {
            "url": self.url,
            "content_type": self.content_type,
            "insecure_ssl": self.insecure_ssl,
            "secret": "********",
        }

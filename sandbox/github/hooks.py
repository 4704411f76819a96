"""Webhooks: signed, sent in the background within ten seconds, and remembered.

Source: https://docs.github.com/webhooks/webhook-events-and-payloads#delivery-headers
GitHub never redelivers by itself; `redeliver` is the button, or the API's `attempts`.
"""

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from sandbox.faults import short
from sandbox.github.auth import Auth
from sandbox.github.documents import Documents
from sandbox.github.fields import number
from sandbox.github.model import Delivery, Json, RefusedError, World, now

PATIENCE = 10.0
HOOK_ID = 4201
CODES = {"failure": range(400, 600), "success": range(200, 400)}


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
) -> dict[str, str]:
    """All headers of a delivery, for a body of any origin."""
    return {
        "Accept": "*/*",
        "Content-Type": "application/json",
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


class Hooks:
    """`url` is where the App's events go; nothing is sent while it is empty."""

    def __init__(self, world: World, documents: Documents, auth: Auth, url: str) -> None:
        self.url = url
        self.patience = PATIENCE
        self._world = world
        self._documents = documents
        self._auth = auth
        self._under_way: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def routes(self) -> list[web.RouteDef]:
        one = "/app/hook/deliveries/{id:\\d+}"
        return [
            web.get("/app/hook/deliveries", self._list),
            web.get(one, self._read),
            web.post(one + "/attempts", self._attempt),
        ]

    async def close(self) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def send(self, event: str, body: Json) -> str | None:
        """Deliver as GitHub would: to an installation that is active, if the App subscribes."""
        installation = self._world.installations.get(body.get("installation", {}).get("id"))
        if installation is None or installation.suspended or event not in self._world.app.events:
            return None
        return self.deliver(event, body)

    def deliver(self, event: str, body: Json) -> str | None:
        """Deliver whatever it is, to whomever it belongs; the answer is its GUID."""
        if not self.url:
            return None
        raw, app = encoded(body), self._world.app
        headers = delivery_headers(event, raw, app.webhook_secret, app_id=app.id)
        delivery = Delivery(
            id=self._world.id(),
            guid=headers["X-GitHub-Delivery"],
            event=event,
            action=body.get("action"),
            installation_id=body.get("installation", {}).get("id"),
            repository_id=body.get("repository", {}).get("id"),
            body=raw,
            headers=headers,
        )
        self._start(delivery)
        return delivery.guid

    def redeliver(self, earlier: Delivery) -> None:
        again = replace(
            earlier,
            id=self._world.id(),
            redelivery=True,
            delivered_at=now(),
            duration=0,
            status="pending",
            status_code=0,
            response_headers={},
            response_body="",
        )
        self._start(again)

    async def settled(self) -> None:
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._post(delivery))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _post(self, delivery: Delivery) -> None:
        self._session = self._session or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0)
        )
        begun = time.monotonic()
        try:
            await self._exchange(self._session, delivery)
        except TimeoutError:
            delivery.status = "timed out"
        except aiohttp.ClientError:
            delivery.status = "failed to connect to host"
        delivery.duration = time.monotonic() - begun
        self._world.deliveries.append(delivery)

    async def _exchange(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        async with session.post(
            self.url,
            data=delivery.body,
            headers=delivery.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=self.patience),
        ) as response:
            delivery.response_body = (await response.read()).decode(errors="replace")
            delivery.response_headers = dict(response.headers)
            delivery.status_code = response.status
            delivery.status = "OK" if response.ok else f"Invalid HTTP Response: {response.status}"

    async def _list(self, request: web.Request) -> web.Response:
        self._auth.check_jwt(request)
        wanted = self._listed(request)
        size = min(number(request, "per_page", 30), 100)
        headers = {}
        if len(wanted) > size:
            query = urlencode({**request.query, "cursor": f"v1_{wanted[size].id}"})
            target = f"{self._documents.api}{short(request.path)}?{query}"
            headers["Link"] = f'<{target}>; rel="next"'
        found = [self._documents.delivery(d) for d in wanted[:size]]
        return web.json_response(found, headers=headers)

    def _listed(self, request: web.Request) -> list[Delivery]:
        """Newest first, from the cursor on. A time-out has no code, so it is no `failure`."""
        found = sorted(self._world.deliveries, key=lambda d: d.id, reverse=True)
        if codes := CODES.get(request.query.get("status", "")):
            found = [d for d in found if d.status_code in codes]
        cursor = request.query.get("cursor", "").removeprefix("v1_")
        if not cursor:
            return found
        if not cursor.isdecimal():
            raise RefusedError(422, "Invalid cursor")
        return [d for d in found if d.id <= int(cursor)]

    async def _read(self, request: web.Request) -> web.Response:
        self._auth.check_jwt(request)
        return web.json_response(self._documents.delivery_in_full(self._named(request), self.url))

    async def _attempt(self, request: web.Request) -> web.Response:
        self._auth.check_jwt(request)
        self.redeliver(self._named(request))
        return web.json_response({}, status=202)

    def _named(self, request: web.Request) -> Delivery:
        for delivery in self._world.deliveries:
            if delivery.id == int(request.match_info["id"]):
                return delivery
        raise RefusedError(404, "Not Found")

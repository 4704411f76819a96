"""A stand-in for GitHub: one App, its installations, deployments and webhooks, over HTTP.

Every API route is there with and without GHES's `/api/v3`.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandbox.github.auth import Auth, Caller
from sandbox.github.deployments import OnStatus
from sandbox.github.documents import Documents
from sandbox.github.events import Events
from sandbox.github.hooks import HOOK_ID, Hooks, delivery_headers
from sandbox.github.limits import Limits
from sandbox.github.model import (
    Account,
    App,
    Delivery,
    Deployment,
    Json,
    RefusedError,
    Status,
    User,
    World,
)
from sandbox.github.population import Population
from sandbox.github.repositories import Repositories
from sandbox.github.users import Users
from sandbox.github_actions.server import Actions, ActiveDeployments
from sandbox.server import Server

PERMISSIONS = {"deployments": "write", "metadata": "read", "contents": "read", "actions": "write"}
EVENTS = ["deployment", "deployment_status", "workflow_run", "workflow_job"]
NO_USER_AGENT = (
    "Request forbidden by administrative rules. "
    "Please make sure your request has a User-Agent header."
)


class GitHub(Population, Server):
    def __init__(
        self,
        *,
        app_id: int = 4242,
        client_id: str = "Iv23liSandboxRelay00",
        slug: str = "gitploy-relay",
        webhook_secret: str = "It's a Secret to Everybody",
        webhook_url: str = "",
        private_key_pem: str | None = None,
        permissions: dict[str, str] | None = None,
        events: Sequence[str] = EVENTS,
        token_life: timedelta = timedelta(hours=1),
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.app = App(
            id=app_id,
            client_id=client_id,
            slug=slug,
            private_key_pem=private_key_pem or _new_key(),
            webhook_secret=webhook_secret,
            permissions=dict(permissions or PERMISSIONS),
            events=list(events),
            owner=Account("sandbox", 9, "Organization"),
            bot=Account(f"{slug}[bot]", app_id + 100_000, "Bot"),
        )
        self.world = World(self.app)
        self.documents = Documents(self.world)
        self.events = Events(self.world, self.documents)
        self.auth = Auth(self.world, self.documents, token_life)
        self.hooks = Hooks(self.world, self.documents, self.auth, webhook_url)
        self.limits = Limits(self.world)
        parts = (self.world, self.documents, self.events, self.auth, self.hooks)
        self.actions = Actions(*parts)
        self._deployments = ActiveDeployments(*parts, actions=self.actions)
        told = (self.world, self.documents, self.auth)
        self.repositories = Repositories(*told)
        self.users = Users(*told)
        self._news = asyncio.Event()
        self.on_status.append(self._tell)

    # -- the server ---------------------------------------------------------------------------

    def routes(self) -> Sequence[web.RouteDef]:
        told = (self.repositories, self.users)
        parts = (self.auth, *told, self._deployments, self.actions, self.hooks)
        plain = [route for part in parts for route in part.routes()]
        ghes = [web.route(r.method, "/api/v3" + r.path, r.handler, **r.kwargs) for r in plain]
        return [*plain, *ghes]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.limits.middleware, self.faults.middleware, _manners]

    async def start(self) -> None:
        await super().start()
        self.world.url = self.url

    async def stop(self) -> None:
        await self.actions.runs.close()
        await self.hooks.close()
        await super().stop()

    # -- what happens -------------------------------------------------------------------------

    async def create_deployment(
        self,
        repository: str,
        ref: str = "main",
        *,
        by: User | None = None,
        workflow_run: Json | None = None,
        **fields: Any,
    ) -> Deployment:
        """As the HTTP route does it, but for its 202, which is a `MergedError` here. With
        `workflow_run` (`{}` will do) a job of GitHub Actions made this deployment."""
        caller = self._person(by)
        body = {"ref": ref, **fields}
        found = self.world.repository(repository)
        return self._deployments.create(caller, found, body, workflow_run)

    async def create_status(
        self, deployment_id: int, state: str, *, by: User | None = None, **fields: Any
    ) -> Status:
        """A status by somebody who is not the App."""
        deployment = self.world.deployments[deployment_id]
        body = {"state": state, **fields}
        return self._deployments.create_status(self._person(by), deployment, body)

    def _person(self, by: User | None) -> Caller:
        users = self.world.users.values()
        return Caller((by or next(iter(users), None) or self.add_user("octocat")).account)

    async def ping(self) -> str | None:
        return self.hooks.deliver("ping", self.events.ping(HOOK_ID, self.webhook_url))

    async def deliver(self, event: str, body: Json) -> str | None:
        """Any other event; the answer is its GUID, or None without a webhook_url."""
        return self.hooks.deliver(event, body)

    async def redeliver(self, guid: str) -> None:
        earlier = next((d for d in self.deliveries if d.guid == guid), None)
        if earlier is None:
            raise RefusedError(404, "Not Found")
        self.hooks.redeliver(earlier)

    async def settled(self) -> None:
        """Return when no delivery is under way."""
        await self.hooks.settled()

    # -- what is to be seen -------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        return self.documents.api

    @property
    def private_key_pem(self) -> str:
        return self.app.private_key_pem

    @property
    def webhook_secret(self) -> str:
        return self.app.webhook_secret

    @property
    def webhook_url(self) -> str:
        return self.hooks.url

    @webhook_url.setter
    def webhook_url(self, url: str) -> None:
        self.hooks.url = url

    @property
    def deployments(self) -> dict[int, Deployment]:
        return self.world.deployments

    @property
    def deliveries(self) -> list[Delivery]:
        """Every attempt that has ended, in that order."""
        return self.world.deliveries

    @property
    def on_status(self) -> list[OnStatus]:
        """Whoever wants to be called with each new status, `inactive` included."""
        return self._deployments.on_status

    @property
    def token_requests(self) -> int:
        return len(self.called("POST", "/access_tokens"))

    def statuses(self, deployment_id: int) -> list[Status]:
        """In order of creation."""
        return list(self.world.deployments[deployment_id].statuses)

    def states(self, deployment_id: int) -> list[str]:
        return [status.state for status in self.statuses(deployment_id)]

    async def wait_for(self, deployment_id: int, *states: str, within: float = 10) -> Status:
        """The first status of that deployment in one of those states."""
        async with asyncio.timeout(within):
            while True:
                news = self._news
                for status in self.statuses(deployment_id):
                    if status.state in states:
                        return status
                await news.wait()

    def delivery_headers(
        self, event: str, body: bytes, *, guid: str | None = None
    ) -> dict[str, str]:
        """The headers with which this App's hook would send that body."""
        return delivery_headers(event, body, self.webhook_secret, guid=guid, app_id=self.app.id)

    def _tell(self, deployment: Deployment, status: Status) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


@cache
def _new_key() -> str:
    """One for the whole process: a key takes 0.1 s to make, and tests make many stand-ins."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return pem.decode()


@web.middleware
async def _manners(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What GitHub asks of every request, and how it says no."""
    if not request.headers.get("User-Agent"):
        return web.Response(status=403, text=NO_USER_AGENT)
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        refused = RefusedError(404, "Not Found")
    except RefusedError as error:
        refused = error
    return web.json_response(refused.document, status=refused.status)

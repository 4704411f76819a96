"""The stand-in for GitHub: one App, its installations, deployments and webhooks, over HTTP.

Every API route exists with and without GitHub Enterprise Server's `/api/v3`.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandbox.github.auth import Auth, Caller
from sandbox.github.authorization import DECIDE, Authorization, form_in
from sandbox.github.checks import ACTIONS, Checks
from sandbox.github.commit_statuses import CommitStatuses
from sandbox.github.contents import Contents
from sandbox.github.deployments import OnStatus
from sandbox.github.documents import Documents
from sandbox.github.events import Events
from sandbox.github.model import (
    DOCS,
    Account,
    App,
    CheckApp,
    CheckRun,
    CommitStatus,
    Delivery,
    Deployment,
    ErrorResponse,
    Installation,
    Json,
    Renamed,
    Repository,
    Role,
    Status,
    Team,
    User,
    World,
)
from sandbox.github.pull_requests import PullRequests
from sandbox.github.pushes import Pushes
from sandbox.github.rate_limits import RateLimits
from sandbox.github.repositories import Repositories
from sandbox.github.request import check_headers
from sandbox.github.teams import Teams
from sandbox.github.users import Users
from sandbox.github.webhooks import HOOK_ID, Webhooks, delivery_headers
from sandbox.github.website import Website
from sandbox.github_actions.server import Actions, ActionsDeployments
from sandbox.pages import Pages
from sandbox.server import Server

PERMISSIONS = {"deployments": "write", "metadata": "read", "contents": "read", "actions": "write"}
EVENTS = ["deployment", "deployment_status", "workflow_run", "workflow_job"]
NO_USER_AGENT = (
    "Request forbidden by administrative rules. "
    "Please make sure your request has a User-Agent header."
)


class GitHub(Server):
    """`strict`: headers that are not as GitHub recommends are rejected."""

    strict = False

    def __init__(
        self,
        *,
        app_id: int = 4242,
        client_id: str = "Iv23liSandboxRelay00",
        callback_urls: Sequence[str] = (),
        slug: str = "gitploy-relay",
        webhook_secret: str = "a-secret-of-the-sandbox",
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
            private_key_pem=private_key_pem or _shared_key(),
            webhook_secret=webhook_secret,
            permissions=dict(permissions or PERMISSIONS),
            events=list(events),
            owner=Account("sandbox", 9, "Organization"),
            bot=Account(f"{slug}[bot]", app_id + 100_000, "Bot"),
            callback_urls=list(callback_urls),
        )
        self.world = World(self.app)
        self.documents = Documents(self.world)
        self.events = Events(self.world, self.documents)
        self.auth = Auth(self.world, self.documents, token_life)
        self.webhooks = Webhooks(self.world, self.documents, self.auth, webhook_url)
        self.rate_limits = RateLimits(self.world)
        shared = (self.world, self.documents, self.events, self.auth, self.webhooks)
        self.actions = Actions(*shared)
        self._deployments = ActionsDeployments(*shared, actions=self.actions)
        self.commit_statuses = CommitStatuses(*shared)
        self.checks = Checks(*shared)
        self.pushes = Pushes(
            self.documents, self.events, self.webhooks, self.checks, self._account_of
        )
        self.pull_requests = PullRequests(*shared)
        self.repositories = Repositories(self.world, self.documents, self.auth)
        self.contents = Contents(self.world, self.documents, self.auth)
        self.users = Users(self.world, self.documents, self.auth)
        self.teams = Teams(self.world, self.documents, self.auth)
        pages = Pages(Path(__file__).with_name("pages"), app=self.app)
        self.authorization = Authorization(self.world, self.documents, pages)
        self._website = Website(self.world, self.repositories, self._deployments, pages)
        self._pages: set[object] = set()
        self._status_created = asyncio.Event()
        self.on_status.append(self._wake_waiters)

    # -- the server ---------------------------------------------------------------------------

    def routes(self) -> Sequence[web.RouteDef]:
        parts = (
            self.auth,
            self.commit_statuses,
            self.checks,
            self.repositories,
            self.contents,
            self.users,
            self.teams,
            self.authorization,
            self._deployments,
            self.pull_requests,
            self.actions,
            self.webhooks,
            self.rate_limits,
        )
        routes = [route for part in parts for route in part.routes()]
        routes += [_by_id(route) for route in routes if route.path.startswith(_BY_NAME)]
        ghes = [web.route(r.method, "/api/v3" + r.path, r.handler, **r.kwargs) for r in routes]
        pages = [*self.authorization.pages(), *self._website.routes()]
        self._pages = {page.handler for page in pages}
        return [*routes, *ghes, *pages]

    def _is_page(self, request: web.Request) -> bool:
        """Whether the address is one of github.com itself, not of its API."""
        return request.match_info.handler in self._pages

    def canonical(self, request: web.Request) -> web.Request:
        """A repository has an address by its ID too, and is recorded by its name."""
        number = request.match_info.get("repository_id")
        found = self.world.repository_by_id(int(number)) if number else None
        if number and found is None:
            request.match_info.update(owner="", repo="")
        if found is None:
            return request
        owner, name = found.owner.login, found.name
        request.match_info.update(owner=owner, repo=name)
        path = request.raw_path.replace(f"/repositories/{number}", f"/repos/{owner}/{name}", 1)
        return request.clone(rel_url=path)

    def middlewares(self) -> Sequence[Middleware]:
        return [
            self._dated,
            self._limit,
            self.faults.middleware,
            _check_request,
            self._check_headers,
        ]

    @web.middleware
    async def _limit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._is_page(request):
            return await handler(request)
        return await self.rate_limits.middleware(request, handler)

    @web.middleware
    async def _check_headers(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.strict and not self._is_page(request):
            check_headers(request)
        return await handler(request)

    @web.middleware
    async def _dated(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        response.headers.setdefault("Date", format_datetime(self.world.now(), usegmt=True))
        return response

    async def start(self) -> None:
        await super().start()
        self.world.url = self.url

    async def stop(self) -> None:
        await self.actions.runs.close()
        await self.webhooks.close()
        await super().stop()

    # -- accounts, repositories, installations -------------------------------------------------

    @property
    def default_role(self) -> str:
        """The role of users in repositories to which `add_collaborator` did not add them."""
        return self.repositories.default_role

    @default_role.setter
    def default_role(self, name: str) -> None:
        self.repositories.default_role = name

    def add_user(
        self,
        login: str,
        token: str | None = None,
        *,
        name: str | None = None,
        email: str | None = None,
    ) -> User:
        """A user with a personal token that has all permissions in every repository. `name` and
        `email` are in the public profile. `vercel[bot]` is the App vercel."""
        account = Account(login, self.world.id(), "Bot" if login.endswith("[bot]") else "User")
        user = User(account, token or "ghp_" + secrets.token_urlsafe(27), name, email)
        self.world.users[user.token] = user
        return user

    def rename_user(self, login: str, to: str) -> User:
        """The account keeps its ID; whoever takes the earlier login is somebody else."""
        user = self.world.user(login)
        if user is None:
            raise LookupError(f"there is no user {login}")
        account = replace(user.account, login=to)
        renamed = self.world.users[user.token] = replace(user, account=account)
        for repository in self.world.repositories.values():
            if role := repository.roles.pop(login.lower(), None):
                repository.roles[to.lower()] = role
        for team in self.world.teams:
            if state := team.members.pop(login.lower(), None):
                team.members[to.lower()] = state
        for deployment in self.world.deployments.values():
            created: list[Deployment | Status] = [deployment, *deployment.statuses]
            for one in created:
                if one.creator.id == account.id:
                    one.creator = account
        return renamed

    def remove_user(self, login: str) -> None:
        """The account is deleted; its login is free."""
        user = self.world.user(login)
        if user is None:
            raise LookupError(f"there is no user {login}")
        del self.world.users[user.token]
        for repository in self.world.repositories.values():
            repository.roles.pop(login.lower(), None)

    def add_repository(self, full_name: str, *, private: bool = True) -> Repository:
        login, _, name = full_name.partition("/")
        owner = self._owner(login)
        repository = Repository(self.world.id(), owner, name, private)
        repository.on_push = self.pushes.pushed
        self._name(full_name, repository)
        return repository

    def rename_repository(self, full_name: str, to: str) -> Repository:
        """Also to another owner. The old name redirects until a new repository takes it."""
        repository = self.world.repositories.pop(full_name.lower())
        login, _, name = to.partition("/")
        repository.owner, repository.name = self._owner(login), name
        self.world.former_names[full_name.lower()] = repository
        self._name(to, repository)
        return repository

    def _name(self, full_name: str, repository: Repository) -> None:
        self.world.former_names.pop(full_name.lower(), None)
        self.world.repositories[full_name.lower()] = repository

    def repository(self, full_name: str) -> Repository:
        return self.world.repository(full_name)

    def revoke_authorization(self, login: str) -> str | None:
        """As a person does in the settings at GitHub: the App's tokens for that person end, and the
        App gets the event, to which it need not subscribe."""
        user = self.world.user(login)
        if user is None:
            raise LookupError(f"there is no user {login}")
        self.authorization.revoke(user.account.id)
        return self.webhooks.deliver(
            "github_app_authorization",
            {"action": "revoked", "sender": self.documents.account(user.account)},
        )

    async def sign_in(
        self, browser: aiohttp.ClientSession, url: str, login: str | None
    ) -> aiohttp.ClientResponse:
        """Open `url`, which leads to the page of the App's authorization, as that person; with None
        press Cancel. Returns the last response, read. `browser` needs a cookie jar for addresses
        that are numbers: `aiohttp.CookieJar(unsafe=True)`. Errors: `LookupError` with what the
        page says, where it does not offer that."""
        async with browser.get(url) as page:
            form = form_in(await page.text(), login)
        decide = f"{self.url}{DECIDE}"
        async with browser.post(decide, data=form) as response:
            await response.read()
            return response

    def add_collaborator(
        self, repository: str, login: str, role: str, permission: str | None = None
    ) -> None:
        """`role` is admin, maintain, write, triage, read or none; a role of another name needs
        `permission`, which is GitHub's name for the level it is based on. A user who does not
        exist is added; a role is replaced."""
        if self.world.user(login) is None:
            self.add_user(login)
        roles = self.world.repository(repository).roles
        roles[login.lower()] = Role.named(role, permission)

    def add_team(self, name: str, *members: str, pending: Sequence[str] = ()) -> Team:
        """`name`: organization/slug. Users who do not exist are added."""
        login, _, slug = name.partition("/")
        for member in (*members, *pending):
            if self.world.user(member) is None:
                self.add_user(member)
        states = {one.lower(): "active" for one in members}
        states |= {one.lower(): "pending" for one in pending}
        team = Team(self.world.id(), self._owner(login), slug, states)
        self.world.teams.append(team)
        return team

    def add_installation(
        self,
        login: str,
        repositories: Sequence[str] = (),
        *,
        selection: Literal["all", "selected"] = "selected",
        permissions: dict[str, str] | None = None,
    ) -> Installation:
        """Install the App in an account; repositories that do not exist are added."""
        known = self.world.repositories
        selected = [known.get(r.lower()) or self.add_repository(r) for r in repositories]
        granted = dict(permissions or self.world.app.permissions)
        account = selected[0].owner if selected else self._owner(login)
        installation = Installation(self.world.id(), account, selected, granted, selection)
        self.world.installations[installation.id] = installation
        return installation

    def _account_of(self, login: str) -> Account:
        return (self.world.user(login) or self.add_user(login)).account

    def _owner(self, login: str) -> Account:
        for repository in self.world.repositories.values():
            if repository.owner.login == login:
                return repository.owner
        return Account(login, self.world.id(), "Organization")

    # -- deployments, statuses, deliveries ----------------------------------------------------

    async def create_deployment(
        self,
        repository: str,
        ref: str = "main",
        *,
        by: User | None = None,
        workflow_run: Json | None = None,
        at: datetime | None = None,
        delivered: bool = True,
        **fields: Any,
    ) -> Deployment:
        """As the HTTP route does it, except that its 202 is an `AutoMerged` here. With
        `workflow_run` (`{}` is enough) a job of GitHub Actions created this deployment. `at`: by
        GitHub's clock; by default now. Without `delivered` its event is lost on the way."""
        body = {"ref": ref, **fields}
        where, caller = self.world.repository(repository), self._caller(by)
        return self._deployments.create(
            caller, where, body, workflow_run, at=at, delivered=delivered
        )

    async def create_status(
        self, deployment_id: int, state: str, *, by: User | None = None, **fields: Any
    ) -> Status:
        """A status created by a user instead of the App."""
        deployment = self.world.deployments[deployment_id]
        body = {"state": state, **fields}
        return self._deployments.create_status(self._caller(by), deployment, body)

    def report_status(
        self,
        repository: str,
        ref: str,
        context: str,
        state: str,
        *,
        by: User | None = None,
        **fields: Any,
    ) -> CommitStatus:
        """A commit status, with its event."""
        found = self.world.repository(repository)
        body = {"context": context, "state": state, **fields}
        return self.commit_statuses.create(self._caller(by).account, found, found.sha(ref), body)

    def report_check(
        self, repository: str, ref: str, name: str, *, app: CheckApp = ACTIONS, **fields: Any
    ) -> CheckRun:
        """A check run of an App, with its events; `conclusion` completes it. It changes the newest
        of that name, unless that one is completed: then it is a new one."""
        found = self.world.repository(repository)
        sha = found.sha(ref)
        newest = {run.name: run for run in self.checks.suite(app, found, sha).runs}.get(name)
        if newest is None or newest.status == "completed":
            return self.checks.create(app, found, {"name": name, "head_sha": sha, **fields})
        self.checks.update(found, newest, fields)
        return newest

    def delete_deployment(self, deployment_id: int) -> None:
        """As a user; what GitHub refuses is an `ErrorResponse`."""
        self._deployments.delete(self.world.deployments[deployment_id])

    def _caller(self, by: User | None) -> Caller:
        users = self.world.users.values()
        return Caller((by or next(iter(users), None) or self.add_user("octocat")).account)

    async def ping(self) -> str | None:
        return self.webhooks.deliver("ping", self.events.ping(HOOK_ID, self.webhook_url))

    async def deliver(self, event: str, body: Json) -> str | None:
        """Deliver any event, and return its GUID, or None without a webhook_url."""
        return self.webhooks.deliver(event, body)

    async def redeliver(self, guid: str) -> None:
        earlier = next((d for d in self.deliveries if d.guid == guid), None)
        if earlier is None:
            raise ErrorResponse(404, "Not Found")
        self.webhooks.redeliver(earlier)

    async def settled(self) -> None:
        """Wait until no delivery is in progress."""
        await self.webhooks.settled()

    # -- inspection ---------------------------------------------------------------------------

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
        return self.webhooks.url

    @webhook_url.setter
    def webhook_url(self, url: str) -> None:
        self.webhooks.url = url

    @property
    def deployments(self) -> dict[int, Deployment]:
        return self.world.deployments

    @property
    def deliveries(self) -> list[Delivery]:
        """All attempts that have ended, in that order."""
        return self.world.deliveries

    @property
    def on_status(self) -> list[OnStatus]:
        """Callbacks for each new status, `inactive` included."""
        return self._deployments.on_status

    @property
    def token_requests(self) -> int:
        return len(self.called("POST", "/access_tokens"))

    def statuses(self, deployment_id: int) -> list[Status]:
        """In order of creation."""
        return list(self.world.deployments[deployment_id].statuses)

    def states(self, deployment_id: int) -> list[str]:
        return [status.state for status in self.statuses(deployment_id)]

    async def wait_for(self, deployment_id: int, *states: str, within: float = 30) -> Status:
        """Wait for a status in one of those states, and return the first one."""
        async with asyncio.timeout(within):
            while True:
                created = self._status_created
                for status in self.statuses(deployment_id):
                    if status.state in states:
                        return status
                await created.wait()

    def delivery_headers(
        self, event: str, body: bytes, *, guid: str | None = None
    ) -> dict[str, str]:
        """The headers with which this App's webhook would send that body."""
        return delivery_headers(event, body, self.webhook_secret, guid=guid, app_id=self.app.id)

    def _wake_waiters(self, deployment: Deployment, status: Status) -> None:
        created, self._status_created = self._status_created, asyncio.Event()
        created.set()


_BY_NAME = "/repos/{owner}/{repo}"


def _by_id(route: web.RouteDef) -> web.RouteDef:
    """The address to which GitHub redirects after a rename."""
    path = route.path.replace(_BY_NAME, "/repositories/{repository_id:\\d+}", 1)
    return web.route(route.method, path, route.handler, **route.kwargs)


def _redirect(request: web.Request, repository: Repository) -> web.Response:
    """Source: docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api,
    "Follow redirects"."""
    names = request.match_info
    old = f"/repos/{names['owner']}/{names['repo']}"
    url = str(request.url).replace(old, f"/repositories/{repository.id}", 1)
    status, message = (301, "Moved Permanently")
    if request.method != "GET":
        status, message = (307, "Temporary Redirect")
    document = {"message": message, "url": url, "documentation_url": DOCS}
    return web.json_response(document, status=status, headers={"Location": url})


@cache
def _shared_key() -> str:
    """One for the whole process: a key takes 0.1 s, and tests start many stand-ins."""
    return new_private_key()


def new_private_key() -> str:
    """In PEM, as GitHub generates one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return pem.decode()


@web.middleware
async def _check_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """GitHub requires a User-Agent, and its errors are JSON."""
    if not request.headers.get("User-Agent"):
        return web.Response(status=403, text=NO_USER_AGENT)
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        response = ErrorResponse(404, "Not Found")
    except Renamed as renamed:
        return _redirect(request, renamed.repository)
    except ErrorResponse as error:
        response = error
    return web.json_response(response.document, status=response.status)

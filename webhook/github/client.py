"""GitHub's API as the App: the App itself, its installations, deployment statuses.

Source: docs.github.com/rest/deployments/statuses, "Rate limits for the REST API" and
"Troubleshooting the REST API". Units: seconds.
Errors: `RetryAt` (a rate limit), `UnknownOutcome` (no clear response), `Rejected`, `Forbidden`.
Nothing here sleeps: `RetryAt` says when a job is to be retried.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Self, TypeVar, cast

import aiohttp
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from gidgethub import BadRequest

from handlers import errors as tool_errors
from handlers.contract import Deployment
from webhook import __version__
from webhook.deployments.models import GitHubApp
from webhook.errors import BUSY, NOT_INSTALLED, Forbidden, Rejected, RetryAt, UnknownOutcome
from webhook.github.app_jwt import AppJwt
from webhook.github.responses import (
    UNCLEAR_RESPONSE,
    UNREACHABLE,
    bad_app_key,
    from_response,
    may_have_moved,
    no_token,
    unclear,
)
from webhook.github.tokens import AppTokens, Scope
from webhook.github.transport import Response, Transport
from webhook.setting_types import load_private_key
from webhook.settings import Settings
from webhook.timing import Clock, utc_now

log = structlog.get_logger()

# Calls at once in one process: a GitHub that hangs must not block all jobs of a worker.
MOST_CALLS = 8
# Pages of a hundred, which is the most that GitHub lists at once.
MOST_INSTALLATIONS, INSTALLATIONS_ON_A_PAGE = 1000, 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A deployment status as the relay writes it. `log_url` is unique, so that it can be found."""

    state: str
    description: str
    log_url: str
    environment_url: str

    def as_request(self) -> dict[str, Any]:
        request: dict[str, Any] = {
            "state": self.state,
            "description": self.description,
            "log_url": self.log_url,
        }
        if self.environment_url:
            request["environment_url"] = self.environment_url
        return request


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The App at one account. `permissions`: those that its owner has accepted."""

    id: int
    account: str
    page: str
    permissions: Mapping[str, str]
    suspended: bool

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        account = dict(document.get("account") or {})  # an enterprise has no login
        return cls(
            id=int(document["id"]),
            account=str(account.get("login") or account.get("slug") or document["id"]),
            page=str(document.get("html_url") or ""),
            permissions=dict(document["permissions"]),
            suspended=document.get("suspended_at") is not None,
        )


# Called with a repository's ID and the installation that it is in now.
OnMoved = Callable[[int, int], Awaitable[None]]


async def _forget(_repo_id: int, _installation_id: int) -> None:
    """Where nothing is kept, GitHub is asked again by the next process."""


def _ignore() -> None:
    """Where nobody wants to know."""


class GitHub:
    """`on_moved`: a repository is in another installation than a scope says: the App was installed
    again, or the repository has another owner. `on_unreachable`: no connection to GitHub, or no
    response in time."""

    def __init__(
        self,
        settings: Settings,
        session: aiohttp.ClientSession,
        clock: Clock = utc_now,
        on_moved: OnMoved = _forget,
        on_unreachable: Callable[[], None] = _ignore,
    ) -> None:
        self._clock = clock
        self._on_moved = on_moved
        self._on_unreachable = on_unreachable
        self._api = Transport(session, f"gitploy-relay/{__version__}", settings.github_base_url)
        # PyJWT takes it as text too, and would load it for every token.
        key = cast("RSAPrivateKey", load_private_key(settings.github_private_key))
        self._jwt = AppJwt(settings.github_issuer, key, clock)
        # The search has a rate limit of its own; statuses can be written when it is reached.
        self._retry_at: dict[tuple[int, str], datetime] = {}
        self._app_id: int | None = None
        self._names_of_app = {name for name in (settings.app_id, settings.client_id) if name}
        self._calls = asyncio.Semaphore(MOST_CALLS)
        # By the installation that a scope names and its repository.
        self._moved: dict[tuple[int, int], int] = {}
        self.tokens = AppTokens(self._fetch_token, self._jwt.now)

    async def app(self) -> dict[str, Any]:
        """GitHub's description of the App: id, client_id, permissions, events, ..."""
        app: dict[str, Any] = await self._as_app(lambda jwt: self._api.getitem("/app", jwt=jwt))
        return app

    async def as_app(self, method: str, path: str) -> Response:
        """A call as the App itself, which needs no installation."""
        return await self._as_app(lambda jwt: self._api.send(method, path, jwt=jwt))

    def now(self) -> datetime:
        """By GitHub's clock, as far as that is known."""
        return self._jwt.now()

    @property
    def api_url(self) -> str:
        """As it is configured."""
        return self._api.base_url

    @property
    def clock_error(self) -> str:
        """How wrong this machine's clock is, if GitHub has rejected the App's key for that."""
        return self._jwt.clock_error

    async def installations(self) -> list[Installation]:
        """At most `MOST_INSTALLATIONS`."""
        size = INSTALLATIONS_ON_A_PAGE
        found: list[Installation] = []
        for page in range(1, MOST_INSTALLATIONS // size + 1):
            some = await self._as_app(partial(self._installations, page))
            found += some
            if len(some) < size:
                break
        return found

    async def _installations(self, page: int, jwt: str) -> list[Installation]:
        url = f"/app/installations?per_page={INSTALLATIONS_ON_A_PAGE}&page={page}"
        return [Installation.read(one) for one in await self._api.getitem(url, jwt=jwt)]

    async def require_access(self, scope: Scope) -> None:
        """Raise `Forbidden` if statuses cannot be written."""
        self._check_limit(scope)
        async with self._slot():
            await self.tokens.get(scope)

    async def create_status(self, scope: Scope, deployment_id: int, status: Status) -> int:
        """Write a status and return its id."""
        path = f"/repos/{scope.repo}/deployments/{deployment_id}/statuses"
        return await self.request(scope, "POST", path, lambda a: int(a["id"]), status.as_request())

    async def find_status(self, scope: Scope, deployment_id: int, ending: str) -> int | None:
        """The id of the status whose log_url ends so, if it is among GitHub's newest hundred."""
        path = f"/repos/{scope.repo}/deployments/{deployment_id}/statuses?per_page=100"

        def found(statuses: Any) -> int | None:
            ours = (s for s in statuses if str(s.get("log_url") or "").endswith(ending))
            return next((int(s["id"]) for s in ours), None)

        return await self.request(scope, "GET", path, found)

    async def call(self, scope: Scope, method: str, path: str, body: Any) -> Any:
        """Any other call, for handlers of GitHub's own tools; None if the response has no JSON."""
        return await self.request(scope, method, path, lambda response: response, body)

    async def request(
        self, scope: Scope, method: str, path: str, read: Callable[[Any], T], body: Any = None
    ) -> T:
        """A call as the installation. `read` takes the result from the response; if it fails
        (KeyError, ValueError, ...) the response was unclear."""
        path = scope.address(path)

        async def one(token: str) -> T:
            if method == "GET":
                return read(await self._api.getitem(path, oauth_token=token))
            if method == "PATCH":
                return read(await self._api.patch(path, data=body, oauth_token=token))
            data = b"" if body is None else body
            return read(await self._api.post(path, data=data, oauth_token=token))

        limit = "search" if path.startswith("/search/") else "core"
        async with self._slot():
            return await self._as_installation(scope, one, limit, exists="/deployments" in path)

    async def get_if_changed(
        self, scope: Scope, path: str, etag: str, *, media: str | None = None
    ) -> tuple[Any, str]:
        """What is there and its ETag; `transport.NOT_MODIFIED` where it still is what had `etag`.
        `media`: GitHub's media type of the document; None: the usual one."""
        path = scope.address(path)

        async def one(token: str) -> tuple[Any, str]:
            return await self._api.get_if_changed(path, etag, oauth_token=token, media=media)

        async with self._slot():
            return await self._as_installation(scope, one, "core", exists=False)

    async def installation_of(self, scope: Scope) -> int:
        """The App's installation that has the repository now; `Forbidden` if there is none."""
        async with self._slot():
            return await self._installation_of(scope)

    async def installation_at(self, organization: str) -> int:
        """The App's installation in an organization; `Forbidden` if there is none."""
        try:
            async with self._slot():
                url = f"/orgs/{organization}/installation"
                return await self._as_app(partial(self._id_at, url))
        except Rejected as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            message = f"the App is not installed in {organization}"
            raise Forbidden(message, error.status, code=NOT_INSTALLED) from error

    async def app_id(self) -> int:
        """The App's ID, requested once; the settings may have its client ID only."""
        if self._app_id is None:
            async with self._slot():
                self._app_id = await self._as_app(partial(self._id_at, "/app"))
        return self._app_id

    def is_this_app(self, app: GitHubApp | None) -> bool:
        return app is not None and not self._names_of_app.isdisjoint((app.id, app.client_id))

    async def _fetch_token(self, scope: Scope) -> dict[str, Any]:
        """If GitHub does not know the repository in this installation, from the one it is in."""
        named = scope.installation_id, scope.repo_id
        known = replace(scope, installation_id=self._moved.get(named, scope.installation_id))
        try:
            return await self._token_of(known)
        except Rejected as error:
            if not may_have_moved(scope, error):
                raise no_token(known, error) from error
        current = known
        try:
            current = replace(scope, installation_id=await self._installation_of(scope))
            response = await self._token_of(current)
        except Forbidden:
            raise
        except Rejected as error:
            raise no_token(current, error) from error
        if current != known:
            await self._keep_moved(scope, current.installation_id)
        return response

    async def _token_of(self, scope: Scope) -> dict[str, Any]:
        url = f"/app/installations/{scope.installation_id}/access_tokens"
        response: dict[str, Any] = await self._as_app(
            lambda jwt: self._api.post(url, data=scope.as_request(), jwt=jwt)
        )
        return response

    async def _installation_of(self, scope: Scope) -> int:
        """GitHub documents only the address by name; by ID is where it redirects. The token is for
        that ID in any case."""
        named = f"/repos/{scope.repo}/installation"
        for url in dict.fromkeys((scope.address(named), named)):
            try:
                return await self._as_app(partial(self._id_at, url))
            except Rejected as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
        message = (
            f"GitHub does not know installation {scope.installation_id} of this App in"
            f" {scope.repo}, nor another one; install the App there"
        )
        raise Forbidden(message, HTTPStatus.NOT_FOUND, code=NOT_INSTALLED)

    async def _id_at(self, url: str, jwt: str) -> int:
        return int((await self._api.getitem(url, jwt=jwt))["id"])

    async def _keep_moved(self, scope: Scope, installation_id: int) -> None:
        log.info("in another installation", repo=scope.repo, installation=installation_id)
        await self._on_moved(scope.repo_id, installation_id)
        self._moved[scope.installation_id, scope.repo_id] = installation_id

    async def _as_app(self, call: Callable[[str], Awaitable[T]]) -> T:
        try:
            try:
                return await call(self._jwt.new())
            except BadRequest as error:
                if error.status_code != HTTPStatus.UNAUTHORIZED:
                    raise
                self._jwt.learn(error.headers.get("date", ""))
                log.warning(
                    "GitHub rejects the App's key", error=f"{error}", clock=self.clock_error
                )
                return await call(self._jwt.new())
        except BadRequest as error:
            if error.status_code == HTTPStatus.UNAUTHORIZED:
                raise bad_app_key(error, self.clock_error) from error
            raise from_response(error, self._clock()) from error
        except UNCLEAR_RESPONSE as error:
            raise self._unclear(error) from error

    async def _as_installation(
        self, scope: Scope, call: Callable[[str], Awaitable[T]], limit: str, *, exists: bool
    ) -> T:
        """`exists`: what is called about does; a 404 means that the token is of an installation
        that the repository has left."""
        self._check_limit(scope, limit)
        token = await self.tokens.get(scope)
        try:
            try:
                return await call(token)
            except BadRequest as error:
                moved = exists or self.tokens.is_old(scope, token)
                not_found = error.status_code == HTTPStatus.NOT_FOUND
                if error.status_code != HTTPStatus.UNAUTHORIZED and not (not_found and moved):
                    raise
                self.tokens.drop(scope, token)
                return await call(await self.tokens.get(scope))
        except BadRequest as error:
            if error.status_code == HTTPStatus.UNAUTHORIZED:
                # A new token takes a moment until all of GitHub's servers know it.
                message = "GitHub does not know the new token yet"
                raise RetryAt.in_seconds(message, 10, self._clock()) from error
            ours = from_response(error, self._clock())
            if isinstance(ours, RetryAt):
                self._retry_at[scope.installation_id, limit] = ours.at
            raise ours from error
        except UNCLEAR_RESPONSE as error:
            raise self._unclear(error) from error

    def _slot(self) -> asyncio.Semaphore:
        """One of the calls that may run at once; fetching its token is part of it."""
        if self._calls.locked():
            raise RetryAt.in_seconds(
                "too many calls to GitHub at once", 0.5, self._clock(), code=BUSY
            )
        return self._calls

    def _unclear(self, error: Exception) -> UnknownOutcome:
        if isinstance(error, UNREACHABLE):
            self._on_unreachable()
        return unclear(error)

    def _check_limit(self, scope: Scope, limit: str = "core") -> None:
        until = self._retry_at.get((scope.installation_id, limit))
        if until and until > self._clock():
            raise RetryAt("GitHub's rate limit", until)


class ToolsGitHub:
    """For handlers: with the App's token for one repository, and the handlers' errors."""

    def __init__(self, github: GitHub) -> None:
        self._github = github

    async def get(self, deployment: Deployment, permissions: Mapping[str, str], path: str) -> Any:
        return await self._call(deployment, permissions, "GET", path)

    async def post(
        self, deployment: Deployment, permissions: Mapping[str, str], path: str, body: Any
    ) -> Any:
        return await self._call(deployment, permissions, "POST", path, body)

    async def _call(
        self,
        deployment: Deployment,
        permissions: Mapping[str, str],
        method: str,
        path: str,
        body: Any = None,
    ) -> Any:
        scope = Scope(
            deployment.installation_id,
            deployment.repo,
            deployment.repo_id,
            tuple(sorted(permissions.items())),
        )
        try:
            return await self._github.call(scope, method, path, body)
        except RetryAt as error:
            raise tool_errors.Unavailable(str(error), retry_at=error.at) from error
        except UnknownOutcome as error:
            raise tool_errors.UnknownOutcome(str(error)) from error
        except Rejected as error:
            raise tool_errors.Rejected(
                str(error),
                code=error.code,
                # The App's access is no response to the call itself.
                status=None if isinstance(error, Forbidden) else error.status,
                reason=str(error.__cause__ or ""),
                certain=error.certain,
            ) from error

"""GitHub's API as the App: the App itself, its installations, deployment statuses.

Source: docs.github.com/rest/deployments/statuses, "Rate limits for the REST API" and
"Troubleshooting the REST API". Units: seconds.
Errors: `RetryAt` (a rate limit), `UnknownOutcome` (no clear response), `Rejected`, `Forbidden`.
GitHub has no codes for some of its errors, so its messages are read here, and nowhere else. Nothing
here sleeps: `RetryAt` says when a job is to be retried.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, Self, TypeVar, cast

import aiohttp
from gidgethub import (
    BadRequest,
    GitHubBroken,
    HTTPException,
    InvalidField,
    RedirectionException,
    ValidationError,
)
from gidgethub.aiohttp import GitHubAPI

from handlers import errors as tool_errors
from handlers.contract import Deployment
from webhook import __version__
from webhook.errors import (
    BAD_APP_KEY,
    INVALID,
    LACKS_PERMISSION,
    NOT_INSTALLED,
    SUSPENDED,
    Forbidden,
    Rejected,
    RetryAt,
    UnknownOutcome,
)
from webhook.github.tokens import AppTokens, Scope
from webhook.setting_types import load_private_key
from webhook.settings import Settings
from webhook.timing import Clock, utc_now

# GitHub: "wait for at least one minute" at a secondary limit without Retry-After.
SECONDARY_LIMIT = 60.0

# A 422 without a list of errors that is about the request itself nevertheless.
UNKNOWN_REF = "No ref found"

# The last four: a response that is not GitHub's, a proxy's page for example.
UNCLEAR_RESPONSE = (
    GitHubBroken,
    RedirectionException,
    aiohttp.ClientError,
    TimeoutError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


def from_response(error: HTTPException, now: datetime) -> RetryAt | Rejected:
    retry_at = _retry_at(error, now)
    if retry_at is not None:
        return RetryAt(f"GitHub's rate limit: {error}", retry_at)
    reason, status = str(error), error.status_code
    message = f"GitHub returned {status.value}: {reason}"
    match status:
        case HTTPStatus.FORBIDDEN if "suspended" in reason:
            return Forbidden(message, code=SUSPENDED)
        case HTTPStatus.FORBIDDEN if "not accessible" in reason:
            return Rejected(message, status, code=LACKS_PERMISSION)
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            listed = isinstance(error, InvalidField | ValidationError) and bool(error.errors)
            certain = listed or reason.startswith(UNKNOWN_REF)
            return Rejected(message, status, code=INVALID, certain=certain)
    return Rejected(message, status)


def _retry_at(error: HTTPException, now: datetime) -> datetime | None:
    """When to come back, if this response is one of GitHub's limits (403 or 429)."""
    if error.status_code not in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
        return None
    headers = error.headers
    if headers.get("retry-after", "").isdigit():
        return now + timedelta(seconds=int(headers["retry-after"]))
    if headers.get("x-ratelimit-remaining") == "0" and headers.get("x-ratelimit-reset"):
        return datetime.fromtimestamp(int(headers["x-ratelimit-reset"]), UTC)
    limited = error.status_code == HTTPStatus.TOO_MANY_REQUESTS
    if limited or "secondary rate limit" in str(error):
        return now + timedelta(seconds=SECONDARY_LIMIT)
    return None


def unclear(error: Exception) -> UnknownOutcome:
    reason = str(error) or type(error).__name__
    return UnknownOutcome(f"GitHub gave no clear response ({reason})")


def bad_app_key(error: HTTPException) -> Forbidden:
    return Forbidden(f"GitHub rejects the App's key: {error}", code=BAD_APP_KEY)


def no_token(scope: Scope, error: Rejected) -> Forbidden:
    """Why GitHub gives the App no token for `scope`."""
    if error.status == HTTPStatus.NOT_FOUND:
        message = f"GitHub does not know installation {scope.installation_id} of this App"
        return Forbidden(message, code=NOT_INSTALLED)
    if error.code == SUSPENDED:
        message = f"installation {scope.installation_id} of this App is suspended on GitHub"
        return Forbidden(message, code=SUSPENDED)
    if error.code == INVALID:
        missing = ", ".join(f"{name}: {level}" for name, level in scope.permissions)
        message = (
            f"the App lacks a permission for {scope.repo}: give it {missing}, accept that where it"
            " is installed, and install it there"
        )
        return Forbidden(message, code=LACKS_PERMISSION)
    return Forbidden(str(error), code=error.code)


# Seconds for a whole call. A call of a process that died is over after that, too.
TIMEOUT = aiohttp.ClientTimeout(total=10)
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

    account: str
    page: str
    permissions: Mapping[str, str]
    suspended: bool

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        account = dict(document["account"] or {})  # an enterprise has no login
        return cls(
            account=str(account.get("login") or account.get("slug") or document["id"]),
            page=str(document["html_url"]),
            permissions=dict(document["permissions"]),
            suspended=document.get("suspended_at") is not None,
        )


class GitHub:
    def __init__(
        self, settings: Settings, session: aiohttp.ClientSession, clock: Clock = utc_now
    ) -> None:
        self._clock = clock
        self._api = GitHubAPI(
            session,
            f"gitploy-relay/{__version__}",
            app_id=settings.github_issuer,
            # PyJWT takes it as text too, and would load it for every token.
            private_key=cast("Any", load_private_key(settings.github_private_key)),
            base_url=settings.github_base_url,
        )
        # The search has a rate limit of its own; statuses can be written when it is reached.
        self._retry_at: dict[tuple[int, str], datetime] = {}
        self._app_id: int | None = None
        self._calls = asyncio.Semaphore(MOST_CALLS)
        self.tokens = AppTokens(self._fetch_token, clock)

    async def app(self) -> dict[str, Any]:
        """GitHub's description of the App: id, client_id, permissions, events, ..."""
        app: dict[str, Any] = await self._as_app(lambda: self._api.getitem("/app"))
        return app

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

    async def _installations(self, page: int) -> list[Installation]:
        url = f"/app/installations?per_page={INSTALLATIONS_ON_A_PAGE}&page={page}"
        return [Installation.read(document) for document in await self._api.getitem(url)]

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
            return next((int(s["id"]) for s in statuses if s["log_url"].endswith(ending)), None)

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
            return read(await self._api.post(path, data=body, oauth_token=token))

        limit = "search" if path.startswith("/search/") else "core"
        async with self._slot():
            return await self._as_installation(scope, one, limit)

    async def request_as_app(self, path: str, read: Callable[[Any], T]) -> T:
        """A call with the App's own key, for what is needed before the installation is known."""

        async def one() -> T:
            return read(await self._api.getitem(path))

        async with self._slot():
            return await self._as_app(one)

    async def app_id(self) -> int:
        """The App's ID, requested once; the settings may have its client ID only."""
        if self._app_id is None:
            self._app_id = await self.request_as_app("/app", lambda app: int(app["id"]))
        return self._app_id

    async def _fetch_token(self, scope: Scope) -> dict[str, Any]:
        url = f"/app/installations/{scope.installation_id}/access_tokens"
        try:
            response: dict[str, Any] = await self._as_app(
                lambda: self._api.post(url, data=scope.as_request())
            )
        except Rejected as error:
            raise no_token(scope, error) from error
        return response

    async def _as_app(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except BadRequest as error:
            if error.status_code == HTTPStatus.UNAUTHORIZED:
                raise bad_app_key(error) from error
            raise from_response(error, self._clock()) from error
        except UNCLEAR_RESPONSE as error:
            raise unclear(error) from error

    async def _as_installation(
        self, scope: Scope, call: Callable[[str], Awaitable[T]], limit: str
    ) -> T:
        self._check_limit(scope, limit)
        token = await self.tokens.get(scope)
        try:
            try:
                return await call(token)
            except BadRequest as error:
                if error.status_code != HTTPStatus.UNAUTHORIZED:
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
            raise unclear(error) from error

    def _slot(self) -> asyncio.Semaphore:
        """One of the calls that may run at once; fetching its token is part of it."""
        if self._calls.locked():
            raise RetryAt.in_seconds("too many calls to GitHub at once", 0.5, self._clock())
        return self._calls

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
                status=error.status,
                reason=str(error.__cause__ or ""),
                certain=error.certain,
            ) from error

"""GitHub, as the App: who it is, deployment statuses.

Source: docs.github.com/rest/deployments/statuses and "Rate limits for the REST API".
Errors: `Later` (asked to wait), `Unsure` (no clear answer), `Refused`, `NoAccess`. Nothing here
sleeps: a job that has to wait is given a later time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, Self, TypeVar

import aiohttp
from gidgethub import BadRequest, GitHubBroken, HTTPException
from gidgethub.aiohttp import GitHubAPI

from webhook import __version__
from webhook.outbound.app_tokens import AppTokens, Scope
from webhook.outbound.trouble import Invalid, Later, NoAccess, Refused, Unsure
from webhook.settings import Settings

# Seconds for one call in all. A call that was begun by somebody who died is over after that.
TIMEOUT = aiohttp.ClientTimeout(total=10)
# Callers at once, in one process: a GitHub that hangs must not use up what a worker can do.
MOST_CALLS = 8
# Pages of a hundred, which is the most that GitHub lists at once.
MOST_INSTALLATIONS, INSTALLATIONS_ON_A_PAGE = 1000, 100
# GitHub: "wait for at least one minute" at a secondary limit without Retry-After.
SECONDARY_LIMIT = 60.0

# The last three: an answer that is not GitHub's, a proxy's page for example.
_NO_CLEAR_ANSWER = (
    GitHubBroken,
    aiohttp.ClientError,
    TimeoutError,
    ValueError,
    KeyError,
    TypeError,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A deployment status as we write it. `log_url` is unique, so that we know it again."""

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
    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        self._api = GitHubAPI(
            session,
            f"gitploy-relay/{__version__}",
            app_id=settings.github_issuer,
            private_key=settings.github_private_key,
            base_url=settings.github_base_url,
        )
        self._wait_until: dict[int, datetime] = {}
        self._calls = asyncio.Semaphore(MOST_CALLS)
        self.tokens = AppTokens(self._fetch_token)

    async def app(self) -> dict[str, Any]:
        """GitHub's description of the App: id, client_id, permissions, events, ..."""
        app: dict[str, Any] = await self._as_app(lambda: self._api.getitem("/app"))
        return app

    async def installations(self) -> list[Installation]:
        """Where the App is installed; at most `MOST_INSTALLATIONS`."""
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
        """Raise `NoAccess` where statuses could not be written."""
        self._heed_limit(scope)
        async with self._place():
            await self.tokens.get(scope)

    async def create_status(self, scope: Scope, deployment_id: int, status: Status) -> int:
        """Write a status and return its id."""
        url = f"/repos/{scope.repo}/deployments/{deployment_id}/statuses"

        async def write(token: str) -> int:
            answer = await self._api.post(url, data=status.as_request(), oauth_token=token)
            return int(answer["id"])

        async with self._place():
            return await self._as_installation(scope, write)

    async def find_status(self, scope: Scope, deployment_id: int, ending: str) -> int | None:
        """The id of the status whose log_url ends so, if it is among GitHub's newest hundred."""
        url = f"/repos/{scope.repo}/deployments/{deployment_id}/statuses?per_page=100"

        async def look(token: str) -> int | None:
            statuses = await self._api.getitem(url, oauth_token=token)
            return next((int(s["id"]) for s in statuses if s["log_url"].endswith(ending)), None)

        async with self._place():
            return await self._as_installation(scope, look)

    async def call(self, scope: Scope, method: str, path: str, body: Any) -> Any:
        """Any other call, for a tool that is GitHub's own; None where the answer has no JSON."""

        async def ask(token: str) -> Any:
            if method == "GET":
                return await self._api.getitem(path, oauth_token=token)
            return await self._api.post(path, data=body, oauth_token=token)

        async with self._place():
            return await self._as_installation(scope, ask)

    async def _fetch_token(self, scope: Scope) -> dict[str, Any]:
        url = f"/app/installations/{scope.installation_id}/access_tokens"
        try:
            answer: dict[str, Any] = await self._as_app(
                lambda: self._api.post(url, data=scope.as_request())
            )
        except Refused as refused:
            raise NoAccess(_no_access_words(scope, refused)) from refused
        return answer

    async def _as_app(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except BadRequest as error:
            if error.status_code == HTTPStatus.UNAUTHORIZED:
                raise NoAccess(f"GitHub refuses the App's key: {error}") from error
            raise _understood(error) from error
        except _NO_CLEAR_ANSWER as error:
            raise _unsure(error) from error

    async def _as_installation(self, scope: Scope, call: Callable[[str], Awaitable[T]]) -> T:
        self._heed_limit(scope)
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
                # A token so fresh is not known everywhere at once.
                raise Later.in_seconds("GitHub does not know the new token yet", 10) from error
            understood = _understood(error)
            if isinstance(understood, Later):
                self._wait_until[scope.installation_id] = understood.at
            raise understood from error
        except _NO_CLEAR_ANSWER as error:
            raise _unsure(error) from error

    def _place(self) -> asyncio.Semaphore:
        """One of the calls that may be under way, with the token that it waits for."""
        if self._calls.locked():
            raise Later.in_seconds("enough calls to GitHub are under way", 0.5)
        return self._calls

    def _heed_limit(self, scope: Scope) -> None:
        until = self._wait_until.get(scope.installation_id)
        if until and until > datetime.now(UTC):
            raise Later("GitHub's rate limit", until)


def _understood(error: HTTPException) -> Later | Refused:
    wait = _asked_to_wait(error)
    if wait is not None:
        return Later(f"GitHub's rate limit: {error}", wait)
    words = f"GitHub answered {error.status_code.value}: {error}"
    if error.status_code == HTTPStatus.FORBIDDEN and "suspended" in words:
        return NoAccess(words)
    if error.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        return Invalid(words, error.status_code)
    return Refused(words, error.status_code)


def _asked_to_wait(error: HTTPException) -> datetime | None:
    """When to come back, if this answer is one of GitHub's limits (403 or 429)."""
    if error.status_code not in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
        return None
    now = datetime.now(UTC)
    headers = error.headers
    if headers.get("retry-after", "").isdigit():
        return now + timedelta(seconds=int(headers["retry-after"]))
    if headers.get("x-ratelimit-remaining") == "0" and headers.get("x-ratelimit-reset"):
        return datetime.fromtimestamp(int(headers["x-ratelimit-reset"]), UTC)
    limited = error.status_code == HTTPStatus.TOO_MANY_REQUESTS
    if limited or "secondary rate limit" in str(error):
        return now + timedelta(seconds=SECONDARY_LIMIT)
    return None


def _unsure(error: Exception) -> Unsure:
    words = str(error) or type(error).__name__
    return Unsure(f"GitHub gave no clear answer ({words})")


def _no_access_words(scope: Scope, refused: Refused) -> str:
    reason = str(refused)
    if "404" in reason:
        return f"GitHub does not know installation {scope.installation_id} of this App"
    if "suspended" in reason:
        return f"installation {scope.installation_id} of this App is suspended on GitHub"
    if "422" in reason:
        wanted = ", ".join(f"{name}: {level}" for name, level in scope.permissions)
        return (
            f"the App lacks a permission for {scope.repo}: give it {wanted}, accept that where it"
            " is installed, and install it there"
        )
    return reason

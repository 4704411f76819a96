"""Who somebody is on GitHub: the App's user authorization.

Source: docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app, "Generating a
user access token for a GitHub App"; docs.github.com/rest/apps/oauth-applications, "Delete an app
token". PKCE: RFC 7636. Units: seconds.
Errors: `Rejected` with GitHub's own code, `UnknownOutcome`, `RetryAt`. GitHub returns errors of the
exchange with HTTP 200. No token of a person is kept: it says who that is, and is revoked.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import aiohttp
import structlog

from webhook import __version__
from webhook.errors import RATE_LIMITED, Rejected, RetryAt, UnknownOutcome
from webhook.github.addresses import web_url_of
from webhook.github.manifest import SIGNIN_PATH
from webhook.github.transport import API_VERSION
from webhook.settings import Settings
from webhook.timing import Clock

log = structlog.get_logger()

_AGENT = {"User-Agent": f"gitploy-relay/{__version__}"}
_JSON = {**_AGENT, "Accept": "application/json"}
_API = {
    **_AGENT,
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": API_VERSION,
}
_WAIT = 60
# GitHub's error codes of the exchange.
BAD_CODE = "bad_verification_code"
BAD_CLIENT = "incorrect_client_credentials"
BAD_REDIRECT = "redirect_uri_mismatch"
_UNCLEAR = (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError)


@dataclass(frozen=True, slots=True)
class Person:
    """`id`: the number of the account, which stays when its login changes."""

    id: int
    login: str


def authorization_of(settings: Settings, clock: Clock) -> "UserAuthorization | None":
    """None: nobody can sign in."""
    if not settings.sign_in:
        return None
    return UserAuthorization(
        client_id=settings.client_id or "",
        client_secret=settings.client_secret or "",
        api_url=settings.github_base_url.rstrip("/"),
        redirect_uri=f"{settings.server_url}{SIGNIN_PATH}",
        clock=clock,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAuthorization:
    """The App as people authorize it. `redirect_uri` is one of its callback URLs."""

    client_id: str
    client_secret: str = field(repr=False)
    api_url: str
    redirect_uri: str
    clock: Clock

    def authorize_url(self, state: str, verifier: str, *, select_account: bool = False) -> str:
        """GitHub's page; where the person has authorized the App before, it redirects at once.
        `select_account`: GitHub asks which account it is."""
        query = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        if select_account:
            query["prompt"] = "select_account"
        return f"{web_url_of(self.api_url)}/login/oauth/authorize?{urlencode(query)}"

    async def person(self, session: aiohttp.ClientSession, code: str, verifier: str) -> Person:
        """Who has authorized the App with that code, which is valid once."""
        token = await self._exchange(session, code, verifier)
        try:
            return await self._read_person(session, token)
        finally:
            await self._revoke(session, token)

    async def verify(self, session: aiohttp.ClientSession) -> str:
        """GitHub's error code for a code that nobody has: `BAD_CODE` where all else is right."""
        try:
            await self._exchange(session, "0" * 20, "0" * 43)
        except Rejected as error:
            return error.code
        raise UnknownOutcome("GitHub takes any code")

    async def _exchange(self, session: aiohttp.ClientSession, code: str, verifier: str) -> str:
        url = f"{web_url_of(self.api_url)}/login/oauth/access_token"
        form = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        document = await self._call(session, "POST", url, _JSON, data=form)
        if "error" in document:
            raise _rejected(str(document["error"]))
        token = document.get("access_token")
        if not isinstance(token, str) or not token:
            raise UnknownOutcome("GitHub gave no clear response (no token)")
        return token

    async def _read_person(self, session: aiohttp.ClientSession, token: str) -> Person:
        headers = {**_API, "Authorization": f"Bearer {token}"}
        document = await self._call(session, "GET", f"{self.api_url}/user", headers)
        try:
            return Person(int(document["id"]), str(document["login"]))
        except (LookupError, TypeError, ValueError):
            raise UnknownOutcome("GitHub gave no clear response (no account)") from None

    async def _revoke(self, session: aiohttp.ClientSession, token: str) -> None:
        """A token that stays is valid for eight hours, and nobody has it."""
        url = f"{self.api_url}/applications/{self.client_id}/token"
        basic = aiohttp.encode_basic_auth(self.client_id, self.client_secret)
        headers = {**_API, "Authorization": basic}
        try:
            async with session.delete(
                url, json={"access_token": token}, headers=headers
            ) as response:
                if response.status != HTTPStatus.NO_CONTENT:
                    log.info("a person's token was not revoked", status=response.status)
        except _UNCLEAR as error:
            log.info("a person's token was not revoked", error=type(error).__name__)

    async def _call(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            async with session.request(
                method, url, headers=headers, data=data, allow_redirects=False
            ) as response:
                if response.status == HTTPStatus.TOO_MANY_REQUESTS:
                    raise _limited(response.headers, self.clock())
                if response.status != HTTPStatus.OK:
                    raise _unexpected(response.status)
                document = await response.json(content_type=None)
        except _UNCLEAR as error:
            # None: what GitHub has sent may be in the error.
            raise UnknownOutcome(
                f"GitHub gave no clear response ({type(error).__name__})"
            ) from None
        if not isinstance(document, dict):
            raise UnknownOutcome("GitHub gave no clear response (no object)")
        return document


def challenge_of(verifier: str) -> str:
    """By the method S256."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _rejected(code: str) -> Rejected:
    known = code if code.isascii() and code.replace("_", "").isalnum() and len(code) < 64 else ""
    return Rejected(f"GitHub returned {known or 'an error without a name'}", code=known)


def _limited(headers: Mapping[str, str], now: datetime) -> RetryAt:
    wait = headers.get("Retry-After", "")
    seconds = int(wait) if wait.isdecimal() else _WAIT
    return RetryAt.in_seconds("GitHub limits the calls", seconds, now, code=RATE_LIMITED)


def _unexpected(status: int) -> Rejected | UnknownOutcome:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnknownOutcome(f"GitHub gave no clear response (HTTP {status})")
    return Rejected(f"GitHub returned HTTP {status}", status, code=f"http_{status}")

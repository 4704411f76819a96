"""Signing in through the App: the page that asks the person, codes, and the tokens of users.

Source: https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app
        https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors
        https://docs.github.com/rest/apps/oauth-applications
Errors of the exchange are HTTP 200, by their names. Stricter than GitHub: the redirect URL equals a
callback URL, and its host and port are as registered.
"""

import base64
import binascii
import hashlib
import html
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import NoReturn
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from sandbox.github.documents import Documents, iso
from sandbox.github.model import ErrorResponse, Json, User, UserToken, World
from sandbox.github.request import body_of, required
from sandbox.pages import Pages

# Which of the people a browser is; the name differs from what other servers of this host set.
COOKIE = "sandbox_github_login"
AUTHORIZE = "/login/oauth/authorize"
DECIDE = f"{AUTHORIZE}/decide"
ACCESS_TOKEN = "/login/oauth/access_token"
CODE_LIFE = timedelta(minutes=10)
TOKEN_LIFE = timedelta(seconds=28800)
REFRESH_LIFE = timedelta(seconds=15811200)
# For each person; one more ends the oldest.
MOST_TOKENS = 10
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
PARAMETERS = ("client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method")
DOCS = "https://docs.github.com/apps/managing-oauth-apps/troubleshooting"
DESCRIPTIONS = {
    "bad_verification_code": "The code passed is incorrect or expired.",
    "incorrect_client_credentials": "The client_id and/or client_secret passed are incorrect.",
    "redirect_uri_mismatch": "The redirect_uri MUST match the registered callback URL for this"
    " application.",
    "unsupported_grant_type": "The grant type is not supported here.",
}


class AuthorizationError(Exception):
    """What the page shows instead of its form."""


class ExchangeError(Exception):
    """The argument is GitHub's name of the error."""


@dataclass(slots=True)
class Code:
    user_id: int
    redirect_uri: str
    challenge: str
    created: datetime
    used: bool = False


class Authorization:
    def __init__(self, world: World, documents: Documents, pages: Pages) -> None:
        self.codes: dict[str, Code] = {}
        self._world = world
        self._documents = documents
        self._pages = pages

    def routes(self) -> list[web.RouteDef]:
        one = "/applications/{client_id}"
        return [
            web.post(f"{one}/token", self._check_token),
            web.delete(f"{one}/token", self._delete_token),
            web.delete(f"{one}/grant", self._delete_grant),
        ]

    def pages(self) -> list[web.RouteDef]:
        return [
            web.get(AUTHORIZE, self._show),
            web.post(DECIDE, self._decide),
            web.post(ACCESS_TOKEN, self._access_token),
        ]

    def revoke(self, user_id: int) -> None:
        """All that the App has of that person."""
        tokens = self._world.user_tokens
        for value in [value for value, token in tokens.items() if token.user_id == user_id]:
            del tokens[value]

    # -- the page ---------------------------------------------------------------------------------

    async def _show(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            target = self._target(query)
        except AuthorizationError as error:
            return self._error_page(request, error)
        if refused := _challenge_error(query):
            raise web.HTTPFound(_redirect(target, query, error="invalid_request", **refused))
        suggested = query.get("login", "").lower()
        people = [u for u in self._world.users.values() if u.account.type == "User"]
        people.sort(key=lambda user: user.account.login.lower() != suggested)
        return self._pages.respond(
            request,
            "authorize.html",
            action=DECIDE,
            hidden={name: query[name] for name in PARAMETERS if name in query},
            people=[(user, self._rights(user)) for user in people],
            host=urlsplit(target).netloc,
        )

    async def _decide(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        try:
            target = self._target(form)
            if "cancel" in form:
                _deny(target, form)
            user = self._person(form.get("login", ""))
        except AuthorizationError as error:
            return self._error_page(request, error)
        # What the browser shows of GitHub from now on is what this person sees.
        response = web.HTTPFound(_redirect(target, form, code=self._new_code(user, target, form)))
        response.set_cookie(COOKIE, user.account.login, httponly=True, samesite="Lax")
        raise response

    def _new_code(self, user: User, target: str, form: Mapping[str, str]) -> str:
        code = secrets.token_hex(10)
        challenge, at = form.get("code_challenge", ""), self._world.now()
        self.codes[code] = Code(user.account.id, target, challenge, at)
        return code

    def _person(self, login: str) -> User:
        user = self._world.user(login)
        if user is None:
            raise AuthorizationError("There is no such person here.")
        return user

    def _target(self, query: Mapping[str, str]) -> str:
        """Where the browser goes; never to an address that is not registered."""
        app = self._world.app
        if query.get("client_id") != app.client_id:
            raise AuthorizationError("There is no App with this client_id.")
        first = app.callback_urls[0] if app.callback_urls else ""
        target = query.get("redirect_uri", first)
        if not target or target not in app.callback_urls:
            raise AuthorizationError(
                "Be careful! The redirect_uri is not associated with this application. The"
                " application might be misconfigured or could be trying to redirect you to a"
                " website you weren't expecting."
            )
        return target

    def _error_page(self, request: web.Request, error: AuthorizationError) -> web.Response:
        return self._pages.respond(request, "refused.html", status=404, message=str(error))

    def _rights(self, user: User) -> list[tuple[str, str]]:
        """The repositories that set a role of that person, each with it."""
        login = user.account.login.lower()
        every = self._world.repositories.values()
        return [(one.full_name, one.roles[login].name) for one in every if login in one.roles]

    # -- the exchange of a code -----------------------------------------------------------------

    async def _access_token(self, request: web.Request) -> web.Response:
        try:
            document = self._exchange(await _arguments(request))
        except ExchangeError as error:
            name = str(error)
            document = {
                "error": name,
                "error_description": DESCRIPTIONS[name],
                "error_uri": f"{DOCS}-oauth-app-access-token-request-errors/#{name}",
            }
        if "json" in request.headers.get("Accept", ""):
            return web.json_response(document)
        form = "application/x-www-form-urlencoded"
        return web.Response(text=urlencode(document), content_type=form)

    def _exchange(self, given: Mapping[str, str]) -> Json:
        app = self._world.app
        if not (
            compare_digest(given.get("client_id", "").encode(), app.client_id.encode())
            and compare_digest(given.get("client_secret", "").encode(), app.client_secret.encode())
        ):
            raise ExchangeError("incorrect_client_credentials")
        if given.get("grant_type", "authorization_code") != "authorization_code":
            raise ExchangeError("unsupported_grant_type")
        code = self.codes.get(given.get("code", ""))
        if code is None or code.used or self._world.now() >= code.created + CODE_LIFE:
            raise ExchangeError("bad_verification_code")
        if given.get("redirect_uri", code.redirect_uri) != code.redirect_uri:
            raise ExchangeError("redirect_uri_mismatch")
        code.used = True
        if code.challenge and not _verifies(given.get("code_verifier", ""), code.challenge):
            raise ExchangeError("bad_verification_code")
        return self._new_token(code.user_id)

    def _new_token(self, user_id: int) -> Json:
        tokens, at = self._world.user_tokens, self._world.now()
        theirs = [value for value, token in tokens.items() if token.user_id == user_id]
        for oldest in theirs[: max(0, len(theirs) - MOST_TOKENS + 1)]:
            del tokens[oldest]
        value = "ghu_" + secrets.token_hex(18)
        document: Json = {"access_token": value, "scope": "", "token_type": "bearer"}
        if not self._world.app.user_tokens_expire:
            tokens[value] = UserToken(user_id, None)
            return document
        tokens[value] = UserToken(user_id, at + TOKEN_LIFE)
        return document | {
            "expires_in": int(TOKEN_LIFE.total_seconds()),
            "refresh_token": "ghr_" + secrets.token_hex(38),
            "refresh_token_expires_in": int(REFRESH_LIFE.total_seconds()),
        }

    # -- what the App does with a token ---------------------------------------------------------

    async def _check_token(self, request: web.Request) -> web.Response:
        value, token = await self._given(request)
        user = self._world.user_by_id(token.user_id)
        return web.json_response(
            {
                "id": token.user_id,
                "url": f"{self._documents.api}/authorizations/{token.user_id}",
                "token": value,
                "scopes": None,
                "expires_at": iso(token.expires_at) if token.expires_at else None,
                "user": self._documents.account(user.account) if user else None,
            }
        )

    async def _delete_token(self, request: web.Request) -> web.Response:
        value, _ = await self._given(request)
        del self._world.user_tokens[value]
        return web.Response(status=204)

    async def _delete_grant(self, request: web.Request) -> web.Response:
        _, token = await self._given(request)
        self.revoke(token.user_id)
        return web.Response(status=204)

    async def _given(self, request: web.Request) -> tuple[str, UserToken]:
        self._check_client(request)
        value = required(await body_of(request), "access_token")
        token = self._world.user_tokens.get(value)
        if token is None or (token.expires_at and token.expires_at <= self._world.now()):
            raise ErrorResponse(404, "Not Found")
        return value, token

    def _check_client(self, request: web.Request) -> None:
        app = self._world.app
        if request.match_info["client_id"] != app.client_id:
            raise ErrorResponse(404, "Not Found")
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(credentials, validate=True)
        except binascii.Error:
            given = b""
        expected = f"{app.client_id}:{app.client_secret}".encode()
        if scheme.lower() != "basic" or not compare_digest(given, expected):
            raise ErrorResponse(401, "Bad credentials")


def _challenge_error(query: Mapping[str, str]) -> dict[str, str]:
    challenge, method = query.get("code_challenge"), query.get("code_challenge_method")
    if challenge is None and method is None:
        return {}
    if method != "S256":
        return {"error_description": "Only the code_challenge_method S256 is supported."}
    if not CHALLENGE.fullmatch(challenge or ""):
        return {"error_description": "The code_challenge is not of 43 characters."}
    return {}


def _verifies(verifier: str, challenge: str) -> bool:
    digest = hashlib.sha256(verifier.encode()).digest()
    expected = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return bool(VERIFIER.fullmatch(verifier)) and compare_digest(expected, challenge.encode())


def _deny(target: str, form: Mapping[str, str]) -> NoReturn:
    description = "The user has denied your application access."
    uri = f"{DOCS}-authorization-request-errors/#access-denied"
    parameters = {"error_description": description, "error_uri": uri}
    raise web.HTTPFound(_redirect(target, form, error="access_denied", **parameters))


def _redirect(target: str, query: Mapping[str, str], **parameters: str) -> str:
    if state := query.get("state"):
        parameters["state"] = state
    return f"{target}{'&' if urlsplit(target).query else '?'}{urlencode(parameters)}"


async def _arguments(request: web.Request) -> Mapping[str, str]:
    """Of a form or a JSON object."""
    if request.content_type == "application/json":
        return {name: str(value) for name, value in (await body_of(request)).items()}
    return {name: str(value) for name, value in (await request.post()).items()}


def form_in(page: str, login: str | None) -> dict[str, str]:
    """What a browser sends where that person's button is pressed, or Cancel. Errors: `LookupError`
    with the page, which does not have the button."""
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    hidden = {name: html.unescape(value) for name, value in fields.items()}
    buttons = re.findall(r'<button name="(\w+)" value="([^"]*)"', page)
    pressed = ("cancel", "1") if login is None else ("login", html.escape(login))
    if pressed not in buttons:
        raise LookupError(page)
    return hidden | {pressed[0]: html.unescape(pressed[1])}

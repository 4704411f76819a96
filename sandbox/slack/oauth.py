"""OAuth: the page on which a person installs the App, its codes, and token rotation.

Source: https://docs.slack.dev/authentication/installing-with-oauth
        https://docs.slack.dev/reference/methods/oauth.v2.access
        https://docs.slack.dev/authentication/using-token-rotation
Errors: SlackError with Slack's own names; on the page, its text, and the browser is not redirected.
code_already_used is not in Slack's documents, yet Slack sends it
(https://github.com/kmrshntr/omniauth-slack/issues/54).
"""

import base64
import binascii
import hmac
import html
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web

from sandbox.slack.model import Json, SlackError
from sandbox.slack.request import Arguments
from sandbox.slack.workspace import App, Site, Token, Workspace


@dataclass(slots=True)
class _Code:
    workspace: Workspace
    user: str
    scopes: Sequence[str]
    redirect_uri: str
    created: float = field(default_factory=time.time)
    used: bool = False


@dataclass(slots=True)
class _RefreshToken:
    token: Token
    used: bool = False


class Codes:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._codes: dict[str, _Code] = {}
        self._refresh_tokens: dict[str, _RefreshToken] = {}

    def make(
        self, workspace: Workspace, user: str, scopes: Sequence[str], redirect_uri: str
    ) -> str:
        code = f"1000.{len(self._codes) + 1}.{secrets.token_hex(16)}"
        self._codes[code] = _Code(workspace, user, scopes, redirect_uri)
        return code

    def exchange(self, request: web.Request, arguments: Arguments) -> Json:
        """oauth.v2.access."""
        _check_client(self._site.app, request, arguments)
        kind = arguments.text("grant_type") or "authorization_code"
        if kind == "authorization_code":
            return self._exchange_code(arguments)
        if kind == "refresh_token":
            return self._exchange_refresh_token(arguments)
        raise SlackError("invalid_grant_type")

    def _exchange_code(self, arguments: Arguments) -> Json:
        code = self._codes.get(arguments.text("code"))
        if code is None or time.time() >= code.created + self._site.code_lifetime:
            raise SlackError("invalid_code")
        if code.used:
            raise SlackError("code_already_used")
        if arguments.text("redirect_uri") != code.redirect_uri:
            raise SlackError("bad_redirect_uri")
        code.used = True
        token = self._install(code.workspace, code.scopes)
        return self._token_response(token) | {"authed_user": {"id": code.user}}

    def _exchange_refresh_token(self, arguments: Arguments) -> Json:
        refresh = self._refresh_tokens.get(arguments.text("refresh_token"))
        if refresh is None or refresh.used or refresh.token.auth_error:
            raise SlackError("invalid_refresh_token")
        if refresh.token.workspace.auth_error:
            raise SlackError(refresh.token.workspace.auth_error)
        refresh.used = True
        return self._token_response(self._install(refresh.token.workspace, refresh.token.scopes))

    def _install(self, workspace: Workspace, scopes: Sequence[str] | set[str]) -> Token:
        if self._site.app.rotates:
            value = f"xoxe.xoxb-1-{secrets.token_hex(24)}"
            return workspace.add_token(value, scopes, time.time() + self._site.token_lifetime)
        for token in workspace.tokens:
            if not token.auth_error and token.expires is None:
                token.scopes |= set(scopes)
                return token
        return workspace.add_token(f"xoxb-{workspace.id[1:]}-{secrets.token_hex(12)}", scopes)

    def _token_response(self, token: Token) -> Json:
        workspace = token.workspace
        return {
            "access_token": token.value,
            "token_type": "bot",
            "scope": ",".join(sorted(token.scopes)),
            "bot_user_id": workspace.bot.user,
            "app_id": self._site.app.id,
            "team": {"id": workspace.id, "name": workspace.name},
            "enterprise": None,
            "is_enterprise_install": False,
            **self._refresh_fields(token),
        }

    def _refresh_fields(self, token: Token) -> Json:
        if token.expires is None:
            return {}
        refresh = f"xoxe-1-{secrets.token_hex(24)}"
        self._refresh_tokens[refresh] = _RefreshToken(token)
        return {"refresh_token": refresh, "expires_in": round(token.expires - time.time())}


def _check_client(app: App, request: web.Request, arguments: Arguments) -> None:
    """By Basic authentication or by arguments; Slack checks the ID first."""
    client_id, secret = arguments.text("client_id"), arguments.text("client_secret")
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(credentials).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise SlackError("invalid_client_id") from None
    if client_id != app.client_id:
        raise SlackError("invalid_client_id")
    if not hmac.compare_digest(secret.encode(), app.client_secret.encode()):
        raise SlackError("bad_client_secret")


BOT_SCOPES = (
    "app_mentions:read channels:history channels:join channels:manage channels:read chat:write "
    "chat:write.customize chat:write.public commands emoji:read files:read files:write "
    "groups:history groups:read groups:write im:history im:read im:write incoming-webhook "
    "links:read links:write metadata.message:read mpim:history mpim:read mpim:write pins:read "
    "pins:write reactions:read reactions:write team:read usergroups:read usergroups:write "
    "users.profile:read users:read users:read.email users:write"
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PATH = "/oauth/v2/authorize"


class AuthorizationError(Exception):
    """What the page shows instead of the consent form."""


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What the App requests. `redirect_uri` is the parameter, maybe empty; `target` is the URL to
    which the browser is redirected."""

    scopes: tuple[str, ...]
    redirect_uri: str
    target: str
    state: str

    @classmethod
    def parse(cls, app: App, query: dict[str, str]) -> "AuthorizationRequest":
        if query.get("client_id") != app.client_id:
            raise AuthorizationError("Invalid client_id parameter")
        redirect_uri = query.get("redirect_uri", "")
        target = redirect_uri or (app.redirect_urls[0] if app.redirect_urls else "")
        if not any(_is_allowed(target, known) for known in app.redirect_urls):
            raise AuthorizationError(
                f"redirect_uri did not match any configured URIs. Passed URI: {redirect_uri}"
            )
        scopes = tuple(query.get("scope", "").replace(",", " ").split())
        if not scopes:
            raise AuthorizationError("No scopes requested")
        if unknown := [scope for scope in scopes if scope not in BOT_SCOPES.split()]:
            raise AuthorizationError(f"Invalid permissions requested: {', '.join(unknown)}")
        return cls(scopes, redirect_uri, target, query.get("state", ""))

    def redirect(self, **parameters: str) -> str:
        """The redirect URL with these parameters and its own."""
        if self.state:
            parameters["state"] = self.state
        sign = "&" if urlsplit(self.target).query else "?"
        return f"{self.target}{sign}{urlencode(parameters)}"


def _is_allowed(url: str, registered: str) -> bool:
    """Slack accepts a redirect URL that is registered, or is below a registered one."""
    requested, allowed = urlsplit(url), urlsplit(registered)
    if requested.scheme != "https" and requested.hostname not in LOOPBACK:
        return False
    if requested.fragment or (requested.scheme, requested.netloc) != (
        allowed.scheme,
        allowed.netloc,
    ):
        return False
    base = allowed.path.rstrip("/")
    return requested.path == allowed.path or requested.path.startswith(base + "/") or not base


class ConsentPage:
    """The page on which a user allows the App or cancels, and the route of its buttons."""

    def __init__(self, site: Site, codes: Codes) -> None:
        self._site = site
        self._codes = codes

    async def show(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        try:
            authorization = AuthorizationRequest.parse(self._site.app, query)
            teams = (
                [self._site.workspace_of(query["team"])]
                if "team" in query
                else self._site.workspaces
            )
        except AuthorizationError as error:
            return _page(f"<p>{html.escape(str(error))}</p>", status=400)
        except SlackError:
            return _page("<p>That workspace is not known here</p>", status=400)
        scopes = html.escape(", ".join(authorization.scopes))
        parts = [f"<p>The app requests: {scopes}</p>"]
        for team in teams:
            links = " ".join(_link(query, team.id, decision) for decision in ("allow", "cancel"))
            parts.append(f"<h2>{html.escape(team.name)}</h2><p>{links}</p>")
        return _page("".join(parts))

    async def decide(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        try:
            authorization = AuthorizationRequest.parse(self._site.app, query)
            workspace = self._site.workspace_of(query.get("team", ""))
        except (AuthorizationError, SlackError) as error:
            return _page(f"<p>{html.escape(str(error))}</p>", status=400)
        if query.get("decision") != "allow":
            raise web.HTTPFound(authorization.redirect(error="access_denied"))
        user = query.get("user") or next(iter(workspace.users), "U0ADMIN")
        code = self._codes.make(workspace, user, authorization.scopes, authorization.redirect_uri)
        raise web.HTTPFound(authorization.redirect(code=code))


def _link(query: dict[str, str], team: str, decision: str) -> str:
    address = f"{PATH}/decide?{urlencode(query | {'team': team, 'decision': decision})}"
    return f'<a href="{html.escape(address)}">{decision.capitalize()}</a>'


def link_in(page: str, decision: str, team: str) -> str:
    """The URL of that button on the page."""
    for found in re.findall(r'href="([^"]+)"', page):
        address = html.unescape(found)
        query = parse_qs(urlsplit(address).query)
        if query["team"] == [team] and query["decision"] == [decision]:
            return address
    raise LookupError(f"the page does not offer {decision} for {team}")


def _page(body: str, status: int = 200) -> web.Response:
    text = f'<!doctype html><html lang="en"><title>Slack</title>{body}</html>\n'
    return web.Response(text=text, content_type="text/html", status=status)

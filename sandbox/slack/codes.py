"""OAuth's codes and refresh tokens: what was given, and for what it is exchanged.

Source: https://docs.slack.dev/reference/methods/oauth.v2.access
        https://docs.slack.dev/authentication/using-token-rotation
Errors: SlackError with Slack's own names. code_already_used is not in its documents, yet it is
what Slack says (https://github.com/kmrshntr/omniauth-slack/issues/54).
"""

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

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
    made: float = field(default_factory=time.time)
    used: bool = False


@dataclass(slots=True)
class _Refresh:
    token: Token
    used: bool = False


class Codes:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._codes: dict[str, _Code] = {}
        self._refreshes: dict[str, _Refresh] = {}

    def make(
        self, workspace: Workspace, user: str, scopes: Sequence[str], redirect_uri: str
    ) -> str:
        code = f"1000.{len(self._codes) + 1}.{secrets.token_hex(16)}"
        self._codes[code] = _Code(workspace, user, scopes, redirect_uri)
        return code

    def exchange(self, request: web.Request, arguments: Arguments) -> Json:
        """oauth.v2.access."""
        _identify(self._site.app, request, arguments)
        kind = arguments.text("grant_type") or "authorization_code"
        if kind == "authorization_code":
            return self._by_code(arguments)
        if kind == "refresh_token":
            return self._by_refresh(arguments)
        raise SlackError("invalid_grant_type")

    def _by_code(self, arguments: Arguments) -> Json:
        code = self._codes.get(arguments.text("code"))
        if code is None or time.time() >= code.made + self._site.code_life:
            raise SlackError("invalid_code")
        if code.used:
            raise SlackError("code_already_used")
        if arguments.text("redirect_uri") != code.redirect_uri:
            raise SlackError("bad_redirect_uri")
        code.used = True
        token = self._install(code.workspace, code.scopes)
        return self._answer(token) | {"authed_user": {"id": code.user}}

    def _by_refresh(self, arguments: Arguments) -> Json:
        refresh = self._refreshes.get(arguments.text("refresh_token"))
        if refresh is None or refresh.used or refresh.token.trouble:
            raise SlackError("invalid_refresh_token")
        if refresh.token.workspace.trouble:
            raise SlackError(refresh.token.workspace.trouble)
        refresh.used = True
        return self._answer(self._install(refresh.token.workspace, refresh.token.scopes))

    def _install(self, workspace: Workspace, scopes: Sequence[str] | set[str]) -> Token:
        if self._site.app.rotates:
            value = f"xoxe.xoxb-1-{secrets.token_hex(24)}"
            return workspace.give(value, scopes, time.time() + self._site.token_life)
        for token in workspace.tokens:
            if not token.trouble and token.expires is None:
                token.scopes |= set(scopes)
                return token
        return workspace.give(f"xoxb-{workspace.id[1:]}-{secrets.token_hex(12)}", scopes)

    def _answer(self, token: Token) -> Json:
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
            **self._rotation(token),
        }

    def _rotation(self, token: Token) -> Json:
        if token.expires is None:
            return {}
        refresh = f"xoxe-1-{secrets.token_hex(24)}"
        self._refreshes[refresh] = _Refresh(token)
        return {"refresh_token": refresh, "expires_in": round(token.expires - time.time())}


def _identify(app: App, request: web.Request, arguments: Arguments) -> None:
    """By Basic authentication or by fields; Slack looks at the ID first."""
    client_id, secret = arguments.text("client_id"), arguments.text("client_secret")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(given).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise SlackError("invalid_client_id") from None
    if client_id != app.client_id:
        raise SlackError("invalid_client_id")
    if not hmac.compare_digest(secret.encode(), app.client_secret.encode()):
        raise SlackError("bad_client_secret")

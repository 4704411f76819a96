"""A call of a method: who calls, and with what."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from sandbox.slack.model import Json, SlackError
from sandbox.slack.request import Arguments
from sandbox.slack.workspace import App, Site, Token, Workspace


@dataclass(frozen=True, slots=True)
class Asked:
    """One call with a good token."""

    token: Token
    arguments: Arguments

    @property
    def workspace(self) -> Workspace:
        return self.token.workspace

    def need(self, scope: str) -> None:
        if scope and scope not in self.token.scopes:
            provided = ",".join(sorted(self.token.scopes))
            raise SlackError("missing_scope", needed=scope, provided=provided)


# Each method with the scope that it always needs.
Methods = dict[str, tuple[str, Callable[[Asked], Json]]]


def given_token(request: web.Request, arguments: Arguments) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = token if scheme.lower() == "bearer" and token else arguments.text("token")
    if not given:
        raise SlackError("not_authed")
    return given


def admit(site: Site, request: web.Request, arguments: Arguments) -> Asked:
    value = given_token(request, arguments)
    if value == site.app.app_token:
        raise SlackError("not_allowed_token_type")
    token = site.tokens.get(value)
    if token is None:
        raise SlackError("invalid_auth")
    if token.error:
        raise SlackError(token.error)
    return Asked(token, arguments)


def admit_app(app: App, request: web.Request, arguments: Arguments, known: set[str]) -> None:
    """A call with the App's own token, which no workspace gave."""
    value = given_token(request, arguments)
    if value in known:
        raise SlackError("not_allowed_token_type")
    if value != app.app_token:
        raise SlackError("invalid_auth")
    if "connections:write" not in app.app_token_scopes:
        provided = ",".join(sorted(app.app_token_scopes))
        raise SlackError("missing_scope", needed="connections:write", provided=provided)

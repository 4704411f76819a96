"""The page on which a person lets the App into a workspace, or does not.

Source: https://docs.slack.dev/authentication/installing-with-oauth
Errors: a page with Slack's words; the browser is not sent back.
"""

import html
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web

from sandbox.slack.codes import Codes
from sandbox.slack.model import SlackError
from sandbox.slack.workspace import App, Site

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


class Refused(Exception):
    """What the person reads instead of the page."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the App asks of the person. `redirect_uri` is as it was given, maybe empty."""

    scopes: tuple[str, ...]
    redirect_uri: str
    back_to: str
    state: str

    @classmethod
    def of(cls, app: App, query: dict[str, str]) -> "Wish":
        if query.get("client_id") != app.client_id:
            raise Refused("Invalid client_id parameter")
        redirect_uri = query.get("redirect_uri", "")
        back_to = redirect_uri or (app.redirect_urls[0] if app.redirect_urls else "")
        if not any(_begins(back_to, known) for known in app.redirect_urls):
            words = f"redirect_uri did not match any configured URIs. Passed URI: {redirect_uri}"
            raise Refused(words)
        scopes = tuple(query.get("scope", "").replace(",", " ").split())
        if not scopes:
            raise Refused("No scopes requested")
        if unknown := [scope for scope in scopes if scope not in BOT_SCOPES.split()]:
            raise Refused(f"Invalid permissions requested: {', '.join(unknown)}")
        return cls(scopes, redirect_uri, back_to, query.get("state", ""))

    def back(self, **answer: str) -> str:
        """Where the browser goes then; what the redirect URL has in its query stays."""
        if self.state:
            answer["state"] = self.state
        sign = "&" if urlsplit(self.back_to).query else "?"
        return f"{self.back_to}{sign}{urlencode(answer)}"


def _begins(url: str, known: str) -> bool:
    """Slack takes a redirect URL that is a registered one, or lies below it."""
    given, allowed = urlsplit(url), urlsplit(known)
    if given.scheme != "https" and given.hostname not in LOOPBACK:
        return False
    if given.fragment or (given.scheme, given.netloc) != (allowed.scheme, allowed.netloc):
        return False
    base = allowed.path.rstrip("/")
    return given.path == allowed.path or given.path.startswith(base + "/") or not base


class Consent:
    """The two addresses that a browser meets."""

    def __init__(self, site: Site, codes: Codes) -> None:
        self._site = site
        self._codes = codes

    async def ask(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        try:
            wish = Wish.of(self._site.app, query)
            teams = (
                [self._site.workspace_of(query["team"])]
                if "team" in query
                else self._site.workspaces
            )
        except Refused as refused:
            return _page(f"<p>{html.escape(str(refused))}</p>", status=400)
        except SlackError:
            return _page("<p>That workspace is not known here</p>", status=400)
        asks = html.escape(", ".join(wish.scopes))
        parts = [f"<p>The app wants: {asks}</p>"]
        for team in teams:
            links = " ".join(_link(query, team.id, answer) for answer in ("allow", "cancel"))
            parts.append(f"<h2>{html.escape(team.name)}</h2><p>{links}</p>")
        return _page("".join(parts))

    async def decide(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        try:
            wish = Wish.of(self._site.app, query)
            workspace = self._site.workspace_of(query.get("team", ""))
        except (Refused, SlackError) as refused:
            return _page(f"<p>{html.escape(str(refused))}</p>", status=400)
        if query.get("answer") != "allow":
            raise web.HTTPFound(wish.back(error="access_denied"))
        user = query.get("user") or next(iter(workspace.users), "U0ADMIN")
        code = self._codes.make(workspace, user, wish.scopes, wish.redirect_uri)
        raise web.HTTPFound(wish.back(code=code))


def _link(query: dict[str, str], team: str, answer: str) -> str:
    address = f"{PATH}/decide?{urlencode(query | {'team': team, 'answer': answer})}"
    return f'<a href="{html.escape(address)}">{answer.capitalize()}</a>'


def link_in(page: str, answer: str, team: str) -> str:
    """The address behind that button of the page."""
    for found in re.findall(r'href="([^"]+)"', page):
        address = html.unescape(found)
        query = parse_qs(urlsplit(address).query)
        if query["team"] == [team] and query["answer"] == [answer]:
            return address
    raise LookupError(f"the page does not offer {answer} for {team}")


def _page(body: str, status: int = 200) -> web.Response:
    text = f'<!doctype html><html lang="en"><title>Slack</title>{body}</html>\n'
    return web.Response(text=text, content_type="text/html", status=status)

"""The stand-in for Slack: workspaces with one App in them, over HTTP and Socket Mode.

Source: https://docs.slack.dev/reference/methods
Units: timestamps are Slack's strings; intervals, lifetimes and `response_timeout` are seconds.
Errors: HTTP 200 with `{"ok": false, "error": ...}`, as Slack has it; 429 over a rate limit.
"""

from collections.abc import Iterable, Sequence
from typing import Literal
from urllib.parse import urljoin

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sandbox.server import Server
from sandbox.slack.interactions import Interactions
from sandbox.slack.methods import METHODS
from sandbox.slack.model import Bot, Channel, Json, Message, SlackError, User
from sandbox.slack.oauth import PATH as AUTHORIZE
from sandbox.slack.oauth import Codes, ConsentPage, link_in
from sandbox.slack.request import arguments_of, authenticate
from sandbox.slack.screen import page_of
from sandbox.slack.website import Website
from sandbox.slack.workspace import Site, Token, Workspace

SCOPES = ("chat:write", "chat:write.public", "channels:history", "groups:history")
SCOPES_OF = web.RequestKey("scopes", set[str])


class Slack(Site, Server):
    """`workspace` is the first one, to which most methods refer. The App is installed in it with
    `token`, which never expires, unless `installed` is False."""

    def __init__(
        self,
        *,
        token: str = "xoxb-1000-2000-sandbox",
        scopes: Iterable[str] = SCOPES,
        team: str = "Acme",
        bot: Bot | None = None,
        post_interval: float | None = None,
        installed: bool = True,
        port: int = 0,
    ) -> None:
        Server.__init__(self, port=port)
        bot = bot or Bot()
        Site.__init__(self, bot.app_id)
        self.post_interval = post_interval
        self.workspace = Workspace(self, team, bot, 0)
        self.workspaces.append(self.workspace)
        # Without an installation the token is not valid.
        self._first_token = Token(token, self.workspace, set(scopes))
        if installed:
            self._first_token = self.workspace.add_token(token, scopes)
        self._codes = Codes(self)
        self._consent = ConsentPage(self, self._codes)
        self._interactions = Interactions(self)
        self._website = Website(self, self._interactions)
        self.sockets, self.views = self._interactions.sockets, self._interactions.views
        self.press, self.command = self._interactions.press, self._interactions.command
        self.submit, self.button = self._interactions.submit, self._interactions.button
        self.event, self.redeliver = self._interactions.event, self._interactions.redeliver
        self.verify_events_url = self._interactions.verify_events_url
        self._methods = METHODS | self.views.methods()

    # -- the first workspace --------------------------------------------------------------------

    @property
    def token(self) -> str:
        return self._first_token.value

    @property
    def scopes(self) -> set[str]:
        return self._first_token.scopes

    @scopes.setter
    def scopes(self, scopes: set[str]) -> None:
        self._first_token.scopes = scopes

    @property
    def auth_error(self) -> str:
        """The error of every call in the first workspace: account_inactive, token_revoked, ..."""
        return self.workspace.auth_error

    @auth_error.setter
    def auth_error(self, auth_error: str) -> None:
        self.workspace.auth_error = auth_error

    @property
    def team(self) -> str:
        return self.workspace.name

    @property
    def bot(self) -> Bot:
        return self.workspace.bot

    @property
    def channels(self) -> dict[str, Channel]:
        return self.workspace.channels

    def add_channel(
        self, name: str, *, member: bool = True, archived: bool = False, private: bool = False
    ) -> Channel:
        return self.workspace.add_channel(name, member=member, archived=archived, private=private)

    def add_user(self, name: str, email: str = "", confirmed: bool = True) -> User:
        return self.workspace.add_user(name, email, confirmed)

    def channel(self, name: str) -> Channel:
        return self.workspace.channel(name)

    def messages(self, channel: str) -> list[Message]:
        return self.workspace.messages(channel)

    def add_message(
        self, channel: str, text: str, *, user: str = "U0HUMAN", thread_ts: str | None = None
    ) -> Message:
        return self.workspace.add_message(channel, text, user=user, thread_ts=thread_ts)

    def delete(self, channel: str, message: Message) -> None:
        self.workspace.delete(channel, message)

    def add_workspace(self, name: str) -> Workspace:
        """One more workspace, in which the App is not installed yet."""
        number = len(self.workspaces)
        bot = Bot(f"U0RELAY{number}", f"B0RELAY{number}", self.app.id, f"T{number:08d}")
        self.workspaces.append(Workspace(self, name, bot, number))
        return self.workspaces[-1]

    # -- the server ---------------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        """The base_url of slack_sdk."""
        return f"{self.url}/api/"

    def routes(self) -> Sequence[web.RouteDef]:
        path = "/api/{method}"
        return [
            web.get("/", self._page),
            *self._website.routes(),
            web.get(AUTHORIZE, self._consent.show),
            web.get(f"{AUTHORIZE}/decide", self._consent.decide),
            web.post("/api/oauth.v2.access", self._access),
            web.post("/api/apps.connections.open", self._connection),
            web.get("/link/", self.sockets.connect),
            web.post("/response/{name}", self._interactions.response_urls.respond),
            web.post(path, self._call),
            web.get(path, self._call),
        ]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware, self._errors]

    async def stop(self) -> None:
        await self._interactions.close()
        await super().stop()

    async def _page(self, request: web.Request) -> web.Response:
        parts = (page_of(w.name, w.channels.values(), w.names) for w in self.workspaces)
        return web.Response(text="".join(parts), content_type="text/html")

    async def _access(self, request: web.Request) -> web.Response:
        arguments = await arguments_of(request)
        return self._respond({"ok": True, **self._codes.exchange(request, arguments)})

    async def _connection(self, request: web.Request) -> web.Response:
        return self._respond({"ok": True, **await self.sockets.open(request)})

    async def _call(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        scope, function = self._methods.get(method, (None, None))
        if scope is None or function is None:
            raise SlackError("unknown_method", req_method=method)
        call = authenticate(self, request, await arguments_of(request))
        request[SCOPES_OF] = call.token.scopes
        call.require_scope(scope)
        self.count_call((method, call.workspace.id), self.method_intervals.get(method))
        return self._respond({"ok": True, **function(call)}, scopes=call.token.scopes)

    def _respond(
        self, document: Json, status: int = 200, scopes: Iterable[str] = (), wait: int = 0
    ) -> web.Response:
        headers = {"x-oauth-scopes": ",".join(sorted(scopes))} if scopes else {}
        if wait:
            headers["Retry-After"] = str(wait)
        return web.json_response(document, status=status, headers=headers)

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except SlackError as error:
            scopes = request.get(SCOPES_OF, set())
            return self._respond(error.document, error.status, scopes, error.retry_after)

    # -- events and installation ----------------------------------------------------------------

    async def send_event(self, event: Json, workspace: Workspace) -> None:
        receives_events = self.sockets.connections if self.socket_mode else self.events_url
        if receives_events:
            await self.event(event, workspace)

    async def authorize_app(
        self,
        url: str,
        decision: Literal["allow", "cancel"],
        *,
        workspace: Workspace | None = None,
        user: User | None = None,
    ) -> str:
        """Press a button on the page at `url`, and return the URL of the redirect. Errors:
        LookupError with the page, if it shows an error."""
        async with aiohttp.ClientSession() as browser:
            async with browser.get(url) as response:
                page = await response.text()
            if response.status != 200:
                raise LookupError(page)
            link = link_in(page, decision, (workspace or self.workspace).id)
            link += f"&user={user.id}" if user else ""
            address = urljoin(str(response.url), link)
            async with browser.get(address, allow_redirects=False) as response:
                return response.headers["Location"]

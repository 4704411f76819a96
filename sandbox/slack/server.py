"""A stand-in for Slack: workspaces with one App in them, over HTTP and Socket Mode.

Source: https://docs.slack.dev/reference/methods
Units: timestamps are Slack's strings; paces, life spans and `patience` are seconds.
Errors: HTTP 200 with `{"ok": false, "error": ...}`, as Slack answers; 429 when too fast.
"""

from collections.abc import Iterable, Sequence
from typing import Literal
from urllib.parse import urljoin

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sandbox.demo.screen import page_of
from sandbox.server import Server
from sandbox.slack import chat, reading
from sandbox.slack.call import admit
from sandbox.slack.codes import Codes
from sandbox.slack.consent import PATH as AUTHORIZE
from sandbox.slack.consent import Consent, link_in
from sandbox.slack.model import Bot, Channel, Json, Message, SlackError, User
from sandbox.slack.request import arguments_of
from sandbox.slack.response_urls import Answers
from sandbox.slack.workspace import Site, Token, Workspace

SCOPES = ("chat:write", "chat:write.public", "channels:history", "groups:history")
SCOPES_OF = web.RequestKey("scopes", set[str])


class Slack(Site, Server):
    """`workspace` is the first one; what a test asks without naming one is asked of it. There the
    App is installed with `token`, which never expires, unless `installed` is False."""

    def __init__(
        self,
        *,
        token: str = "xoxb-1000-2000-sandbox",
        scopes: Iterable[str] = SCOPES,
        team: str = "Acme",
        bot: Bot | None = None,
        pace: float | None = None,
        installed: bool = True,
        port: int = 0,
    ) -> None:
        Server.__init__(self, port=port)
        bot = bot or Bot()
        Site.__init__(self, bot.app_id)
        self.pace = pace
        self.workspace = Workspace(self, team, bot, 0)
        self.workspaces.append(self.workspace)
        # Where it is not installed the token is nobody's.
        self._first = Token(token, self.workspace, set(scopes))
        if installed:
            self._first = self.workspace.give(token, scopes)
        self._codes = Codes(self)
        self._consent = Consent(self, self._codes)
        self._answers = Answers(self)
        self.sockets, self.views = self._answers.sockets, self._answers.views
        self.press, self.command = self._answers.press, self._answers.command
        self.submit, self.button = self._answers.submit, self._answers.button
        self.event, self.redeliver = self._answers.event, self._answers.redeliver
        self.verify_events_url = self._answers.verify_events_url
        self._methods = chat.METHODS | reading.METHODS | self.views.methods()

    # -- the first workspace --------------------------------------------------------------------

    @property
    def token(self) -> str:
        return self._first.value

    @property
    def scopes(self) -> set[str]:
        return self._first.scopes

    @scopes.setter
    def scopes(self, scopes: set[str]) -> None:
        self._first.scopes = scopes

    @property
    def trouble(self) -> str:
        """What every call is told there: account_inactive, token_revoked, ..."""
        return self.workspace.trouble

    @trouble.setter
    def trouble(self, trouble: str) -> None:
        self.workspace.trouble = trouble

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

    def say(
        self, channel: str, text: str, *, user: str = "U0HUMAN", thread_ts: str | None = None
    ) -> Message:
        return self.workspace.say(channel, text, user=user, thread_ts=thread_ts)

    def delete(self, channel: str, message: Message) -> None:
        self.workspace.delete(channel, message)

    def add_workspace(self, name: str) -> Workspace:
        """One more, where the App is not installed yet."""
        number = len(self.workspaces)
        bot = Bot(f"U0RELAY{number}", f"B0RELAY{number}", self.app.id, f"T{number:08d}")
        self.workspaces.append(Workspace(self, name, bot, number))
        return self.workspaces[-1]

    # -- the server ---------------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        """What slack_sdk takes as base_url."""
        return f"{self.url}/api/"

    def routes(self) -> Sequence[web.RouteDef]:
        path = "/api/{method}"
        return [
            web.get("/", self._page),
            web.get(AUTHORIZE, self._consent.ask),
            web.get(f"{AUTHORIZE}/decide", self._consent.decide),
            web.post("/api/oauth.v2.access", self._access),
            web.post("/api/apps.connections.open", self._connection),
            web.get("/link/", self.sockets.connect),
            web.post("/response/{name}", self._answers.responses.take),
            web.post(path, self._call),
            web.get(path, self._call),
        ]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware, self._refusals]

    async def stop(self) -> None:
        await self._answers.close()
        await super().stop()

    async def _page(self, request: web.Request) -> web.Response:
        parts = (page_of(w.name, w.channels.values(), w.names) for w in self.workspaces)
        return web.Response(text="".join(parts), content_type="text/html")

    async def _access(self, request: web.Request) -> web.Response:
        arguments = await arguments_of(request)
        return self._answer({"ok": True, **self._codes.exchange(request, arguments)})

    async def _connection(self, request: web.Request) -> web.Response:
        return self._answer({"ok": True, **await self.sockets.open(request)})

    async def _call(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        scope, act = self._methods.get(method, (None, None))
        if scope is None or act is None:
            raise SlackError("unknown_method", req_method=method)
        asked = admit(self, request, await arguments_of(request))
        request[SCOPES_OF] = asked.token.scopes
        asked.need(scope)
        self.keep_pace((method, asked.workspace.id), self.method_paces.get(method))
        return self._answer({"ok": True, **act(asked)}, scopes=asked.token.scopes)

    def _answer(
        self, document: Json, status: int = 200, scopes: Iterable[str] = (), wait: int = 0
    ) -> web.Response:
        headers = {"x-oauth-scopes": ",".join(sorted(scopes))} if scopes else {}
        if wait:
            headers["Retry-After"] = str(wait)
        return web.json_response(document, status=status, headers=headers)

    @web.middleware
    async def _refusals(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except SlackError as error:
            scopes = request.get(SCOPES_OF, set())
            return self._answer(error.document, error.status, scopes, error.retry_after)

    # -- people -------------------------------------------------------------------------------

    async def announce(self, event: Json, workspace: Workspace) -> None:
        listens = self.sockets.links if self.socket_mode else self.events_url
        if listens:
            await self.event(event, workspace)

    async def person_says(
        self,
        url: str,
        says: Literal["allow", "cancel"],
        *,
        workspace: Workspace | None = None,
        user: User | None = None,
    ) -> str:
        """What a person's browser does with Slack's page: where it is sent back to. LookupError
        with the page's words where Slack shows an error."""
        async with aiohttp.ClientSession() as browser:
            async with browser.get(url) as response:
                page = await response.text()
            if response.status != 200:
                raise LookupError(page)
            link = link_in(page, says, (workspace or self.workspace).id)
            link += f"&user={user.id}" if user else ""
            address = urljoin(str(response.url), link)
            async with browser.get(address, allow_redirects=False) as response:
                return response.headers["Location"]

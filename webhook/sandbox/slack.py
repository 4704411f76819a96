"""A stand-in for Slack: one workspace with one bot, over HTTP.

Source: https://docs.slack.dev/reference/methods
Units: timestamps are Slack's strings; `pace` is seconds between two messages to a channel.
Errors: HTTP 200 with `{"ok": false, "error": ...}`, as Slack answers; 429 when too fast.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from webhook.sandbox.screen import page_of
from webhook.sandbox.server import Server
from webhook.sandbox.slack_documents import document
from webhook.sandbox.slack_model import (
    Bot,
    Channel,
    Clock,
    Json,
    Message,
    SlackError,
    Version,
)
from webhook.sandbox.slack_request import Arguments, arguments_of, between, content_of, metadata_of

SCOPES = ("chat:write", "chat:write.public", "channels:history", "groups:history")
LONGEST_POST, LONGEST_UPDATE = 40_000, 4_000
OnChange = Callable[[Channel, Message], None]


class Slack(Server):
    """`trouble` is what every call with the token is told: account_inactive, token_revoked, ..."""

    def __init__(
        self,
        *,
        token: str = "xoxb-1000-2000-sandbox",
        scopes: Iterable[str] = SCOPES,
        team: str = "Acme",
        bot: Bot | None = None,
        pace: float | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.token = token
        self.scopes = set(scopes)
        self.team = team
        self.bot = bot or Bot()
        self.pace = pace
        self.trouble = ""
        self.channels: dict[str, Channel] = {}
        self.on_change: list[OnChange] = []
        self._clock = Clock()
        self._methods: dict[str, tuple[str, Callable[[Arguments], Json]]] = {
            "auth.test": ("", self._auth_test),
            "chat.postMessage": ("chat:write", self._post),
            "chat.update": ("chat:write", self._update),
            "chat.getPermalink": ("", self._permalink),
            "conversations.history": ("channels:history", self._history),
            "conversations.replies": ("channels:history", self._replies),
        }

    # -- the server ---------------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        """What slack_sdk takes as base_url."""
        return f"{self.url}/api/"

    def routes(self) -> Sequence[web.RouteDef]:
        path = "/api/{method}"
        return [web.get("/", self._page), web.post(path, self._call), web.get(path, self._call)]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware, self._refusals]

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(
            text=page_of(self.team, self.channels.values()), content_type="text/html"
        )

    async def _call(self, request: web.Request) -> web.Response:
        scope, act = self._methods.get(request.match_info["method"], (None, None))
        if scope is None or act is None:
            raise SlackError("unknown_method", req_method=request.match_info["method"])
        arguments = await arguments_of(request)
        self._admit(request, arguments)
        self._need(scope)
        return self._answer({"ok": True, **act(arguments)})

    def _answer(self, document: Json, status: int = 200) -> web.Response:
        headers = {"x-oauth-scopes": ",".join(sorted(self.scopes))}
        if status == 429:
            headers["Retry-After"] = "1"
        return web.json_response(document, status=status, headers=headers)

    @web.middleware
    async def _refusals(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except SlackError as error:
            return self._answer(error.document, error.status)

    def _admit(self, request: web.Request, arguments: Arguments) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token if scheme.lower() == "bearer" and token else arguments.text("token")
        if not given:
            raise SlackError("not_authed")
        if given != self.token:
            raise SlackError("invalid_auth")
        if self.trouble:
            raise SlackError(self.trouble)

    def _need(self, scope: str) -> None:
        if scope and scope not in self.scopes:
            provided = ",".join(sorted(self.scopes))
            raise SlackError("missing_scope", needed=scope, provided=provided)

    # -- what there is, and what a person sees or does -------------------------------------------

    def add_channel(
        self, name: str, *, member: bool = True, archived: bool = False, private: bool = False
    ) -> Channel:
        channel = Channel(f"C{len(self.channels) + 1:08d}", name, member, archived, private)
        self.channels[channel.id] = channel
        return channel

    def channel(self, name: str) -> Channel:
        """By `#name`, `name` or id."""
        plain = name.removeprefix("#")
        for channel in self.channels.values():
            if plain in (channel.id, channel.name):
                return channel
        raise SlackError("channel_not_found")

    def messages(self, channel: str) -> list[Message]:
        """All that stands there, replies included, oldest first."""
        return list(self.channel(channel).messages.values())

    def say(
        self, channel: str, text: str, *, user: str = "U0HUMAN", thread_ts: str | None = None
    ) -> Message:
        """Somebody else's message."""
        return self._put(
            self.channel(channel), Message(self._clock.ts(), user, text, [], thread_ts)
        )

    def _put(self, channel: Channel, message: Message) -> Message:
        channel.messages[message.ts] = message
        self._tell(channel, message)
        return message

    def _tell(self, channel: Channel, message: Message) -> None:
        for told in self.on_change:
            told(channel, message)

    # -- methods ------------------------------------------------------------------------------

    def _auth_test(self, arguments: Arguments) -> Json:
        return {
            "url": f"{self.url}/",
            "team": self.team,
            "user": "relay",
            "team_id": self.bot.team_id,
            "user_id": self.bot.user,
            "bot_id": self.bot.id,
            "is_enterprise_install": False,
        }

    def _post(self, arguments: Arguments) -> Json:
        channel = self._open(arguments)
        text, blocks = content_of(arguments, LONGEST_POST)
        thread_ts = arguments.text("thread_ts") or None
        if thread_ts:
            channel.parent(thread_ts)
        message = Message(
            ts=self._clock.ts(),
            user=self.bot.user,
            text=text,
            blocks=blocks or [],
            thread_ts=thread_ts,
            broadcast=bool(thread_ts) and arguments.flag("reply_broadcast"),
            metadata=metadata_of(arguments),
        )
        self._keep_pace(channel)
        self._put(channel, message)
        return {
            "channel": channel.id,
            "ts": message.ts,
            "message": document(self.bot, message, channel),
        }

    def _update(self, arguments: Arguments) -> Json:
        channel = self._by_id(arguments)
        message = channel.messages.get(arguments.required("ts"))
        if message is None:
            raise SlackError("message_not_found")
        if message.user != self.bot.user:
            raise SlackError("cant_update_message")
        if channel.archived:
            raise SlackError("is_archived")
        text, blocks = content_of(arguments, LONGEST_UPDATE)
        message.versions.append(Version(message.text, message.blocks))
        # Text without blocks takes the blocks away: Slack shows what it was given.
        message.text, message.blocks = text, blocks or []
        message.metadata = metadata_of(arguments) or message.metadata
        message.broadcast = message.broadcast or (
            message.is_reply and arguments.flag("reply_broadcast")
        )
        message.edited_ts = self._clock.ts()
        self._tell(channel, message)
        shown = document(self.bot, message, channel)
        return {"channel": channel.id, "ts": message.ts, "text": text, "message": shown}

    def _permalink(self, arguments: Arguments) -> Json:
        channel = self._by_id(arguments)
        ts = arguments.required("message_ts")
        if ts not in channel.messages:
            raise SlackError("message_not_found")
        link = f"{self.url}/archives/{channel.id}/p{ts.replace('.', '')}"
        return {"channel": channel.id, "permalink": link}

    def _history(self, arguments: Arguments) -> Json:
        channel = self._readable(arguments)
        shown = [m for m in channel.messages.values() if m.broadcast or not m.is_reply]
        return self._listing(arguments, channel, between(arguments, shown)[::-1], 100)

    def _replies(self, arguments: Arguments) -> Json:
        channel = self._readable(arguments)
        parent = channel.parent(arguments.required("ts"))
        replies = between(arguments, channel.replies(parent.ts))
        return self._listing(arguments, channel, [parent, *replies], 999)

    # -- their parts --------------------------------------------------------------------------

    def _by_id(self, arguments: Arguments) -> Channel:
        """Most methods know a channel by its id only; chat.postMessage takes a name too."""
        channel = self.channels.get(arguments.required("channel"))
        if channel is None or (channel.private and not channel.member):
            raise SlackError("channel_not_found")
        return channel

    def _open(self, arguments: Arguments) -> Channel:
        """The channel to post to."""
        channel = self.channel(arguments.required("channel"))
        if channel.private and not channel.member:
            raise SlackError("channel_not_found")
        if not channel.member and "chat:write.public" not in self.scopes:
            raise SlackError("not_in_channel")
        if channel.archived:
            raise SlackError("is_archived")
        return channel

    def _readable(self, arguments: Arguments) -> Channel:
        channel = self._by_id(arguments)
        if channel.private:
            self._need("groups:history")
        if not channel.member:
            raise SlackError("not_in_channel")
        return channel

    def _keep_pace(self, channel: Channel) -> None:
        if self.pace is not None and time.monotonic() < channel.last_post + self.pace:
            raise SlackError("ratelimited", 429)
        channel.last_post = time.monotonic()

    def _listing(
        self, arguments: Arguments, channel: Channel, found: Sequence[Message], default: int
    ) -> Json:
        some, cursor = arguments.page(found, default)
        with_metadata = arguments.flag("include_all_metadata")
        shown = [document(self.bot, m, channel, with_metadata=with_metadata) for m in some]
        more = {"response_metadata": {"next_cursor": cursor}} if cursor else {}
        return {"messages": shown, "has_more": bool(cursor), **more}

"""Workspaces, what all of them share, and the App's tokens in them."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sandbox.slack.model import (
    Bot,
    Channel,
    Clock,
    EphemeralMessage,
    Json,
    Message,
    SlackError,
    User,
)
from sandbox.slack.rate_limits import RateLimits

OnChange = Callable[[Channel, Message], None]


@dataclass(slots=True)
class App:
    """The App's settings at api.slack.com. A redirect URL also allows those below it."""

    id: str = "A0RELAY"
    client_id: str = "1000.2000"
    client_secret: str = field(default="sandbox-client-secret", repr=False)
    signing_secret: str = field(default="sandbox-signing-secret", repr=False)
    app_token: str = field(default="xapp-1-A0RELAY-3000-sandbox", repr=False)
    app_token_scopes: set[str] = field(default_factory=lambda: {"connections:write"})
    redirect_urls: list[str] = field(default_factory=list)
    # Token rotation: access tokens expire, and a refresh token comes with each.
    rotates: bool = False


@dataclass(slots=True, eq=False)
class Token:
    """`expires` is a time.time(). If `auth_error` is set, every call with the token gets it."""

    value: str = field(repr=False)
    workspace: "Workspace" = field(repr=False)
    scopes: set[str]
    expires: float | None = None
    auth_error: str = ""

    @property
    def error(self) -> str:
        if self.auth_error or self.workspace.auth_error:
            return self.auth_error or self.workspace.auth_error
        return "token_expired" if self.expires and time.time() >= self.expires else ""


class Site(RateLimits):
    """What all parts of the stand-in share. Lifetimes and `response_timeout` are seconds."""

    url: str

    def __init__(self, app_id: str) -> None:
        super().__init__()
        self.app = App(id=app_id)
        self.clock = Clock()
        self.workspaces: list[Workspace] = []
        self.tokens: dict[str, Token] = {}
        self.ephemeral_messages: list[EphemeralMessage] = []
        self.on_change: list[OnChange] = []
        # Types of blocks that Slack accepts no more.
        self.unsupported_blocks: set[str] = set()
        self.interactions_url = ""
        self.commands_url = ""
        self.events_url = ""
        self.socket_mode = False
        self.response_timeout = 3.0
        self.code_lifetime = 600.0
        self.token_lifetime = 43_200.0
        self.trigger_lifetime = 3.0
        self.response_url_lifetime = 1800.0

    def workspace_of(self, team_id: str) -> "Workspace":
        for workspace in self.workspaces:
            if workspace.id == team_id:
                return workspace
        raise SlackError("team_not_found")

    async def send_event(self, event: Json, workspace: "Workspace") -> None:
        """Send it to the App by the Events API, if the App receives events."""
        raise NotImplementedError


class Workspace:
    """If `auth_error` is set, every call with any of its tokens gets it."""

    def __init__(self, site: Site, name: str, bot: Bot, number: int) -> None:
        self.site = site
        self.name = name
        self.bot = bot
        self.channels: dict[str, Channel] = {}
        self.users: dict[str, User] = {}
        self.auth_error = ""
        self._number = number

    @property
    def id(self) -> str:
        return self.bot.team_id

    @property
    def domain(self) -> str:
        return self.name.lower().replace(" ", "-")

    @property
    def tokens(self) -> list[Token]:
        """All tokens that were ever issued, oldest first."""
        return [token for token in self.site.tokens.values() if token.workspace is self]

    @property
    def names(self) -> dict[str, str]:
        """User id -> name."""
        return {user.id: user.name for user in self.users.values()}

    # -- users and channels ---------------------------------------------------------------------

    def add_user(self, name: str, email: str = "", confirmed: bool = True) -> User:
        number = len(self.users) + 1
        user = User(f"U{self._number:02d}{number:06d}", self.id, name, email, confirmed)
        self.users[user.id] = user
        return user

    def add_channel(
        self, name: str, *, member: bool = True, archived: bool = False, private: bool = False
    ) -> Channel:
        channel_id = f"C{self._number:02d}{len(self.channels) + 1:06d}"
        channel = Channel(channel_id, name, member, archived, private)
        self.channels[channel.id] = channel
        return channel

    def channel(self, name: str) -> Channel:
        """By `#name`, `name` or id."""
        plain = name.removeprefix("#")
        for channel in self.channels.values():
            if plain in (channel.id, channel.name):
                return channel
        raise SlackError("channel_not_found")

    # -- messages ---------------------------------------------------------------------------------

    def messages(self, channel: str) -> list[Message]:
        """All messages, replies included, oldest first."""
        return list(self.channel(channel).messages.values())

    def add_message(
        self, channel: str, text: str, *, user: str = "U0HUMAN", thread_ts: str | None = None
    ) -> Message:
        """A message that is not the App's."""
        message = Message(self.site.clock.ts(), user, text, [], thread_ts)
        return self.publish(self.channel(channel), message)

    def delete(self, channel: str, message: Message) -> None:
        """As a user deletes a message."""
        del self.channel(channel).messages[message.ts]

    def publish(self, channel: Channel, message: Message) -> Message:
        channel.messages[message.ts] = message
        self.notify(channel, message)
        return message

    def notify(self, channel: Channel, message: Message) -> None:
        for callback in self.site.on_change:
            callback(channel, message)

    def add_ephemeral(self, message: EphemeralMessage) -> EphemeralMessage:
        message.ts = self.site.clock.ts()
        self.channels[message.channel].ephemeral_messages.append(message)
        self.site.ephemeral_messages.append(message)
        return message

    # -- the App ----------------------------------------------------------------------------------

    def add_token(self, value: str, scopes: Iterable[str], expires: float | None = None) -> Token:
        """As in Slack, the token has all scopes that the App was ever granted in this workspace."""
        granted = {s for t in self.tokens if not t.auth_error for s in t.scopes}
        token = Token(value, self, granted | set(scopes), expires)
        self.site.tokens[value] = token
        return token

    async def uninstall(self) -> None:
        """As a user removes the App."""
        self._invalidate_tokens("account_inactive")
        await self._send_tokens_revoked()
        await self.site.send_event({"type": "app_uninstalled"}, self)

    async def revoke(self) -> None:
        """As a user revokes the App's tokens."""
        self._invalidate_tokens("token_revoked")
        await self._send_tokens_revoked()

    def _invalidate_tokens(self, error: str) -> None:
        for token in self.tokens:
            token.auth_error = token.auth_error or error

    async def _send_tokens_revoked(self) -> None:
        tokens: Json = {"oauth": [], "bot": [self.bot.user]}
        await self.site.send_event({"type": "tokens_revoked", "tokens": tokens}, self)

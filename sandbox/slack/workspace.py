"""A workspace of the stand-in, what all of them share, and the tokens of the App in them."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sandbox.slack.model import Bot, Channel, Clock, Json, Message, SlackError, User, Whisper
from sandbox.slack.pace import Paces

OnChange = Callable[[Channel, Message], None]


@dataclass(slots=True)
class App:
    """The App as its owner set it up at api.slack.com. A redirect URL may be a beginning."""

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
    """`expires` is a time.time(); `trouble` is what every call with it is told."""

    value: str = field(repr=False)
    workspace: "Workspace" = field(repr=False)
    scopes: set[str]
    expires: float | None = None
    trouble: str = ""

    @property
    def error(self) -> str:
        if self.trouble or self.workspace.trouble:
            return self.trouble or self.workspace.trouble
        return "token_expired" if self.expires and time.time() >= self.expires else ""


class Site(Paces):
    """What all parts of the stand-in share. Life spans and `patience` are seconds."""

    url: str

    def __init__(self, app_id: str) -> None:
        super().__init__()
        self.app = App(id=app_id)
        self.clock = Clock()
        self.workspaces: list[Workspace] = []
        self.tokens: dict[str, Token] = {}
        self.whispers: list[Whisper] = []
        self.on_change: list[OnChange] = []
        self.interactions_url = ""
        self.commands_url = ""
        self.events_url = ""
        self.socket_mode = False
        self.patience = 3.0
        self.code_life = 600.0
        self.token_life = 43_200.0
        self.trigger_life = 3.0
        self.response_url_life = 1800.0

    def workspace_of(self, team_id: str) -> "Workspace":
        for workspace in self.workspaces:
            if workspace.id == team_id:
                return workspace
        raise SlackError("team_not_found")

    async def announce(self, event: Json, workspace: "Workspace") -> None:
        """Tell the App by the Events API, where it listens."""
        raise NotImplementedError


class Workspace:
    """`trouble` is what every call with any of its tokens is told."""

    def __init__(self, site: Site, name: str, bot: Bot, number: int) -> None:
        self.site = site
        self.name = name
        self.bot = bot
        self.channels: dict[str, Channel] = {}
        self.users: dict[str, User] = {}
        self.trouble = ""
        self._number = number

    @property
    def id(self) -> str:
        return self.bot.team_id

    @property
    def domain(self) -> str:
        return self.name.lower().replace(" ", "-")

    @property
    def tokens(self) -> list[Token]:
        """All that were ever given, oldest first."""
        return [token for token in self.site.tokens.values() if token.workspace is self]

    @property
    def names(self) -> dict[str, str]:
        """How mentions of its people read."""
        return {user.id: user.name for user in self.users.values()}

    # -- people and channels --------------------------------------------------------------------

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

    # -- what is said -----------------------------------------------------------------------------

    def messages(self, channel: str) -> list[Message]:
        """All that stands there, replies included, oldest first."""
        return list(self.channel(channel).messages.values())

    def say(
        self, channel: str, text: str, *, user: str = "U0HUMAN", thread_ts: str | None = None
    ) -> Message:
        """Somebody else's message."""
        message = Message(self.site.clock.ts(), user, text, [], thread_ts)
        return self.put(self.channel(channel), message)

    def delete(self, channel: str, message: Message) -> None:
        """A person takes it away."""
        del self.channel(channel).messages[message.ts]

    def put(self, channel: Channel, message: Message) -> Message:
        channel.messages[message.ts] = message
        self.tell(channel, message)
        return message

    def tell(self, channel: Channel, message: Message) -> None:
        for told in self.site.on_change:
            told(channel, message)

    def whisper(self, whisper: Whisper) -> Whisper:
        whisper.ts = self.site.clock.ts()
        self.channels[whisper.channel].ephemerals.append(whisper)
        self.site.whispers.append(whisper)
        return whisper

    # -- the App in it ----------------------------------------------------------------------------

    def give(self, value: str, scopes: Iterable[str], expires: float | None = None) -> Token:
        """A token with all scopes that the App was ever granted here, as Slack does it."""
        granted = {s for t in self.tokens if not t.trouble for s in t.scopes}
        token = Token(value, self, granted | set(scopes), expires)
        self.site.tokens[value] = token
        return token

    async def uninstall(self) -> None:
        """Somebody removes the App."""
        self._end("account_inactive")
        await self._tokens_revoked()
        await self.site.announce({"type": "app_uninstalled"}, self)

    async def revoke(self) -> None:
        """Somebody revokes its tokens."""
        self._end("token_revoked")
        await self._tokens_revoked()

    def _end(self, trouble: str) -> None:
        for token in self.tokens:
            token.trouble = token.trouble or trouble

    async def _tokens_revoked(self) -> None:
        tokens: Json = {"oauth": [], "bot": [self.bot.user]}
        await self.site.announce({"type": "tokens_revoked", "tokens": tokens}, self)

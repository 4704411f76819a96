"""The contract of notifiers: send a message once, and keep that of a deployment up to date.

A notifier posts to one kind of destination (Slack, Discord, an endpoint of your own). It holds
no state: the relay keeps the `Ref` of each message and hands it back, possibly in another process.
It does not sleep, retry, touch the store or decide what is sent.

Errors: `RetryAt` (nothing was done; retried at that time), `UnknownOutcome` (it may have been done:
`find` is called before it is sent again), `Rejected` (it would be rejected again; with the remedy;
with status 410 it is not retried at all), `Gone` (the message, or the one whose thread it is in,
was deleted). A `Rejected` with the code `INVALID` is about the message's form: it is sent `plain`.
One with `THREAD_CLOSED` is about its thread: what is urgent is sent outside of it.
The text of errors is shown to people and stored: no secrets, and no address that is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import aiohttp

from webhook.config.destinations import Destination
from webhook.deployments.announcement import Announcement
from webhook.deployments.notice import DeploymentNotice, NoticeEntry
from webhook.errors import INVALID, THREAD_CLOSED, Gone, Rejected, RetryAt, UnknownOutcome
from webhook.timing import Clock, utc_now

__all__ = ["INVALID", "THREAD_CLOSED", "Gone", "Rejected", "RetryAt", "UnknownOutcome"]

# main: the one message of a deployment, kept up to date; reply: what has happened since, in its
# thread; alert: a failure, at the destination for failures; announcement: of no deployment.
Purpose = Literal["main", "reply", "alert", "announcement"]


@dataclass(frozen=True, slots=True)
class Ref:
    """Where a message is, in the notifier's own fields: all that it needs to edit it, or to reply.
    Stored as JSON; no secrets."""

    fields: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.fields[name]

    def to_json(self) -> dict[str, str]:
        return dict(self.fields)

    @classmethod
    def from_json(cls, document: Mapping[str, str]) -> Self:
        return cls(dict(document))


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be sent. `about`: an announcement, or a deployment. `entries`: what has happened,
    of a reply. `parent`: the main message, of a reply; an urgent one is also sent without, outside
    of its thread. `urgent`: somebody has to act now. `plain`: in the simplest form that says what
    happened."""

    purpose: Purpose
    about: DeploymentNotice | Announcement
    entries: tuple[NoticeEntry, ...] = ()
    parent: Ref | None = None
    urgent: bool = False
    plain: bool = False

    @property
    def notice(self) -> DeploymentNotice:
        """Of the deployment that it is about."""
        assert isinstance(self.about, DeploymentNotice)
        return self.about


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierContext:
    """What the relay hands to its notifiers. `server_url` is the relay's own address. `rooms`:
    what a notifier with a room of its own brings, by its name; Slack's workspaces for example."""

    http: aiohttp.ClientSession
    server_url: str
    clock: Clock = utc_now
    # Seconds for one call.
    timeout: float = 10
    rooms: Mapping[str, Any] = field(default_factory=dict)


class Notifier(Protocol):
    """One destination. No two calls are made at once for the same message."""

    title: ClassVar[str]
    # Whether a message can be edited; else each change of state is a message of its own.
    edits: ClassVar[bool]
    # Whether there are replies; else the main message is all there is.
    threads: ClassVar[bool]
    # Its keys in deploy.yml.
    Destination: ClassVar[type[Destination]]

    def __init__(self, destination: Any, context: NotifierContext) -> None: ...

    async def prepare(self, message: Message, key: str, ref: Ref | None) -> None:
        """All that may wait or fail before a `send`, or before an `edit` where there is a `ref`: a
        turn under a rate limit, a token. Errors: `RetryAt`, `Rejected`, `UnknownOutcome`."""
        ...

    def digest(self, message: Message) -> str:
        """Equal for messages that read the same."""
        ...

    async def find(self, message: Message, key: str, since: datetime) -> Ref | None:
        """The message of an earlier `send` with this key that got through, though nobody recorded
        it; None where there is none, or where it cannot be known: then it is sent again."""
        ...

    async def findable(self, message: Message) -> bool:
        """Whether `find` can search at all. If not, a message whose response got lost is sent again
        more and more rarely, because it may be there each time."""
        ...

    async def send(self, message: Message, key: str) -> Ref:
        """Send it. `key` is unique to the message and the same whenever it is sent again."""
        ...

    async def edit(self, ref: Ref, message: Message, key: str) -> None:
        """Only of a notifier that `edits`."""
        ...


@runtime_checkable
class Shows(Protocol):
    """A notifier that can show a message without sending it."""

    def shown(self, message: Message) -> str:
        """As text for a terminal, of what `send` would send; no secrets, and no address that is
        one. Nobody is asked: whom it would mention is as deploy.yml says it."""
        ...


@runtime_checkable
class Reads(Protocol):
    """A kind of notifier of whose messages the text can be shown without a destination."""

    @staticmethod
    def text_of(message: Message) -> str:
        """As `Shows.shown`, but for whom it would mention."""
        ...

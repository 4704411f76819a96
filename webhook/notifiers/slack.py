"""Slack as a notifier: blocks in a channel, replies in a thread, edits in place.

Each call waits for the rate limit of its channel. A post is found again by the key in its metadata,
if the bot may read the channel's history.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TypeVar

from webhook.config import destinations
from webhook.deployments.announcement import Announcement
from webhook.errors import RATE_LIMITED, Gone, Rejected, RetryAt
from webhook.notifiers.contract import Message, NotifierContext, Ref
from webhook.slack.blocks import announcement as announcements
from webhook.slack.blocks import message as blocks
from webhook.slack.blocks.mrkdwn import BlockMessage
from webhook.slack.blocks.terminal import mentioned, plain_text
from webhook.slack.client import Posted, Slack, is_channel_id
from webhook.slack.destination import Destination as SlackDestination
from webhook.slack.identity import Mention, People, mention, mentions
from webhook.slack.rate_limit import Call, RateLimit
from webhook.slack.workspaces import Workspaces
from webhook.store import outbox
from webhook.store.database import AsyncPool

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackRoom:
    """What Slack's notifier needs beside the context."""

    workspaces: Workspaces
    people: People
    pool: AsyncPool
    rate_limit: RateLimit


class SlackNotifier:
    title: ClassVar[str] = "Slack"
    edits: ClassVar[bool] = True
    threads: ClassVar[bool] = True
    Destination: ClassVar[type[destinations.Destination]] = SlackDestination

    def __init__(self, destination: SlackDestination, context: NotifierContext) -> None:
        self._destination = destination
        self._room: SlackRoom = context.rooms["slack"]
        self._mention = Mention()
        # The last content that was built, and of what: most are needed several times.
        self._built: tuple[Message, str, BlockMessage] | None = None

    async def prepare(self, message: Message, key: str, ref: Ref | None) -> None:
        self._mention = await self._mention_for(message)
        at = ref or message.parent
        call: Call = "edit" if ref else "post"
        await self._using(message, at, call, lambda slack: slack.bot())
        await self._room.rate_limit.acquire(self._channel(message), call, key)

    def digest(self, message: Message) -> str:
        return blocks.digest(self._blocks(message, ""))

    async def findable(self, message: Message) -> bool:
        """Not where the bot may not read the history, or the channel's id is not known yet."""
        if message.plain or not await self._channel_id(message):
            return False
        return await self._using(message, message.parent, "post", lambda slack: slack.may_search())

    async def find(self, message: Message, key: str, since: datetime) -> Ref | None:
        channel_id = await self._channel_id(message)

        async def search(slack: Slack) -> Posted | None:
            thread = message.parent["ts"] if message.parent else ""
            found = await slack.find(channel_id, key, since, thread)
            if found is None and thread and message.urgent:  # the thread may have been closed
                found = await slack.find(channel_id, key, since)
            return found

        posted = await self._using(message, message.parent, "post", search)
        if posted is None:
            return None
        await self._room.rate_limit.release(self._channel(message), "post", key)
        return _ref(posted)

    async def send(self, message: Message, key: str) -> Ref:
        parent = message.parent
        posted = await self._using(
            message,
            parent,
            "post",
            lambda slack: slack.post(
                parent["channel_id"] if parent else self._address(message),
                self._blocks(message, self._mention.text),
                key=key,
                thread_ts=parent["ts"] if parent else "",
                broadcast=message.urgent,
                link_names=self._mention.by_name,
            ),
        )
        return _ref(posted)

    async def edit(self, ref: Ref, message: Message, key: str) -> None:
        posted = Posted(ref["team"], ref["channel_id"], ref["ts"])
        content = self._blocks(message, "")
        await self._using(message, ref, "edit", lambda slack: slack.edit(posted, content, key=key))

    def shown(self, message: Message) -> str:
        mentions = message.purpose == "alert" or message.urgent
        mention = mentioned(self._destination, message.notice) if mentions else ""
        return plain_text(_content(message, mention).blocks)

    @staticmethod
    def text_of(message: Message) -> str:
        return plain_text(_content(message, "").blocks)

    async def _mention_for(self, message: Message) -> Mention:
        room, about = self._room, message.about
        args = (room.people, room.workspaces, room.pool, self._destination)
        if isinstance(about, Announcement):
            return await mentions(*args, about)
        if message.purpose == "alert" or message.urgent:
            return await mention(*args, about, asks=any(one.asks for one in message.entries))
        return Mention()

    async def _using(
        self,
        message: Message,
        at: Ref | None,
        call: Call,
        act: Callable[[Slack], Awaitable[T]],
    ) -> T:
        """In the workspace of that message, else of deploy.yml, by whose names errors call it."""
        team = at["team"] if at else self._destination.workspace or ""
        try:
            return await self._room.workspaces.using(team, act)
        except RetryAt as limited:
            if limited.code != RATE_LIMITED:
                raise
            channel = self._channel(message)
            raise await self._room.rate_limit.hold(channel, call, limited) from limited
        except Gone:
            raise
        except Rejected as error:
            if at is None:
                raise
            named = str(error).replace(at["channel_id"], self._address(message))
            raise Rejected(named, error.status, code=error.code) from error

    def _blocks(self, message: Message, mention: str) -> BlockMessage:
        if self._built is None or self._built[:2] != (message, mention):
            self._built = message, mention, _content(message, mention)
        return self._built[2]

    def _address(self, message: Message) -> str:
        """The channel, as deploy.yml names it."""
        return self._destination.address(main=message.purpose != "alert") or ""

    def _channel(self, message: Message) -> str:
        """The same, unique among all workspaces."""
        return self._destination.name(self._address(message))

    async def _channel_id(self, message: Message) -> str:
        """Empty where only its name is known, by which nothing can be searched."""
        if message.parent:
            return message.parent["channel_id"]
        async with self._room.pool.connection() as connection:
            found = await outbox.newest_ref(connection, f"slack:{self._channel(message)}")
        named = self._address(message)
        return found["channel_id"] if found else named if is_channel_id(named) else ""


def _content(message: Message, mention: str) -> BlockMessage:
    if isinstance(message.about, Announcement):
        announced = announcements.announcement(message.about, mention)
        return announcements.plain(announced) if message.plain else announced
    return _content_of_deployment(message, mention)


def _content_of_deployment(message: Message, mention: str) -> BlockMessage:
    match message.purpose:
        case "main":
            full = blocks.main_message(message.notice)
        case "alert":
            full = blocks.alert(message.notice, mention)
        case "reply":
            full = blocks.thread_reply(
                message.notice, message.entries, broadcast=message.urgent, mention=mention
            )
    return blocks.plain(full, message.notice) if message.plain else full


def _ref(posted: Posted) -> Ref:
    return Ref({"team": posted.team, "channel_id": posted.channel_id, "ts": posted.ts})

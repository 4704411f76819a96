"""Slack's Web API, as far as the relay needs it.

Source: docs.slack.dev/reference/methods (chat.postMessage, chat.update, conversations.history,
auth.test). Errors: those of `webhook.slack.errors`, and `RetryAt` and `UnknownOutcome` where there
was no response. Nothing here sleeps.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.models.metadata import Metadata
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.slack.blocks.mrkdwn import BlockMessage
from webhook.slack.errors import Names, as_error, token_is_invalid
from webhook.slack.manifest import HISTORY
from webhook.timing import Clock, utc_now

# Seconds for one call.
TIMEOUT = 10
METADATA_EVENT = "gitploy_relay_deployment"

# At once, in one process: a Slack that hangs must not use up the jobs that a worker can do.
MOST_CALLS = 8
MOST_IN_A_CHANNEL = 3
# Of a channel's history that is searched for a post.
MOST_PAGES, ON_A_PAGE = 20, 200
_CHANNEL_ID = re.compile(r"[CG][A-Z0-9]{6,}")
# AttributeError: slack_sdk raises it for a 200 whose body is not JSON, a proxy's page for example.
_UNCLEAR_RESPONSE = (
    SlackClientError,
    aiohttp.ClientError,
    TimeoutError,
    ValueError,
    AttributeError,
)


def is_channel_id(channel: str) -> bool:
    return bool(_CHANNEL_ID.fullmatch(channel))


@dataclass(frozen=True, slots=True)
class Posted:
    team: str
    channel_id: str
    ts: str


@dataclass(frozen=True, slots=True)
class Bot:
    """The workspace and user of the token, and its scopes; None where Slack, or a proxy in between,
    does not name them."""

    team: str
    team_name: str
    name: str
    scopes: frozenset[str] | None


class Calls:
    """Limits the calls under way in one process, to all workspaces."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self.clock = clock
        self._all = asyncio.Semaphore(MOST_CALLS)
        self._in_channel: Counter[str] = Counter()

    @asynccontextmanager
    async def slot(self, channel: str) -> AsyncIterator[None]:
        """For one call. A channel that hangs leaves slots for others. Errors: `RetryAt` if none is
        free."""
        if self._all.locked() or (channel and self._in_channel[channel] >= MOST_IN_A_CHANNEL):
            raise RetryAt.in_seconds("too many calls to Slack are under way", 0.5, self.clock())
        self._in_channel[channel] += 1
        try:
            async with self._all:
                yield
        finally:
            self._in_channel[channel] -= 1
            if not self._in_channel[channel]:
                del self._in_channel[channel]


class Slack:
    """One workspace, seen with one token."""

    def __init__(
        self,
        token: str,
        base_url: str,
        session: aiohttp.ClientSession,
        calls: Calls | None = None,
    ) -> None:
        # slack_sdk would send a post again after a connection error, which may post twice.
        self.client = AsyncWebClient(
            token=token, base_url=base_url, timeout=TIMEOUT, session=session, retry_handlers=[]
        )
        # It would use HTTPS_PROXY for every address; our session heeds NO_PROXY too.
        self.client.proxy = None
        self._bot: Bot | None = None
        self._calls = calls or Calls()
        # When Slack last accepted the token.
        self.accepted_at: datetime | None = None

    async def bot(self) -> Bot:
        if self._bot is None:
            response = await self.call(self.client.auth_test)
            headers = {name.lower(): value for name, value in response.headers.items()}
            scopes = headers.get("x-oauth-scopes")
            self._bot = Bot(
                team=response["team_id"],
                team_name=response["team"],
                name=response["user"],
                scopes=None if scopes is None else frozenset(scopes.replace(",", " ").split()),
            )
        return self._bot

    async def post(
        self,
        channel: str,
        message: BlockMessage,
        *,
        key: str,
        thread_ts: str = "",
        broadcast: bool = False,
        link_names: bool = False,
    ) -> Posted:
        """`key` finds the message again, unless it is text alone: then there is nothing else that
        Slack could reject. `link_names` makes a mention of a plain @group."""
        bot = await self.bot()
        response = await self.call(
            lambda: self.client.chat_postMessage(
                channel=channel,
                text=message.text,
                blocks=message.documents or None,
                metadata=_metadata(message, key),
                thread_ts=thread_ts or None,
                reply_broadcast=broadcast or None,
                link_names=link_names or None,
                unfurl_links=False,
                unfurl_media=False,
            ),
            channel,
        )
        return Posted(bot.team, response["channel"], response["ts"])

    async def edit(self, posted: Posted, message: BlockMessage, *, key: str) -> None:
        await self.call(
            lambda: self.client.chat_update(
                channel=posted.channel_id,
                ts=posted.ts,
                text=message.text,
                blocks=message.documents,  # an empty list removes those that are there
                metadata=_metadata(message, key),
            ),
            posted.channel_id,
        )

    async def may_search(self) -> bool:
        """Whether the token has a scope by which `find` can search."""
        return bool(((await self.bot()).scopes or frozenset()) & HISTORY)

    async def find(
        self, channel_id: str, key: str, since: datetime, thread_ts: str = ""
    ) -> Posted | None:
        """A message of ours that was posted although it was not recorded.

        Needs a history scope; without one it returns None, and the message may be posted twice.
        """
        bot = await self.bot()
        if not channel_id or not await self.may_search():
            return None
        cursor = ""
        for _ in range(MOST_PAGES):
            page = partial(self._history, channel_id, since, thread_ts, cursor)
            try:
                response = await self.call(page, channel_id)
            except Rejected as error:
                if token_is_invalid(error):
                    raise
                return None  # the bot may not read there
            for found in response["messages"]:
                if found.get("metadata", {}).get("event_payload", {}).get("key") == key:
                    return Posted(bot.team, channel_id, found["ts"])
            cursor = (response.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                break
        return None

    def _history(
        self, channel_id: str, since: datetime, thread_ts: str, cursor: str
    ) -> Awaitable[AsyncSlackResponse]:
        arguments: dict[str, Any] = {
            "channel": channel_id,
            "oldest": str((since - timedelta(minutes=1)).timestamp()),
            "include_all_metadata": True,
            "limit": ON_A_PAGE,
            "cursor": cursor or None,
        }
        if thread_ts:
            return self.client.conversations_replies(ts=thread_ts, **arguments)
        return self.client.conversations_history(**arguments)

    async def call(
        self, call: Callable[[], Awaitable[AsyncSlackResponse]], channel: str = ""
    ) -> AsyncSlackResponse:
        """One call; raises the errors named above."""
        team = self._bot.team if self._bot else ""
        try:
            async with self._calls.slot(f"{team}/{channel}" if channel else ""):
                response = await call()
            self.accepted_at = self._calls.clock()
        except SlackApiError as error:
            names = Names(self._bot.name if self._bot else "the bot", channel or "the channel")
            raise as_error(error, names, self._calls.clock()) from error
        except aiohttp.ClientConnectorError as error:  # it never got there
            message = f"Slack cannot be reached ({error.strerror})"
            raise RetryAt.in_seconds(message, 5, self._calls.clock()) from error
        except _UNCLEAR_RESPONSE as error:
            raise UnknownOutcome(
                f"Slack gave no clear response ({type(error).__name__})"
            ) from error
        return response


def _metadata(message: BlockMessage, key: str) -> Metadata | None:
    return Metadata(METADATA_EVENT, {"key": key}) if message.blocks else None

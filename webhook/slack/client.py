"""Slack's Web API, as far as the relay needs it.

Source: docs.slack.dev/reference/methods (chat.postMessage, chat.update, conversations.history,
auth.test). Errors: `RetryAt` (429 and the like: not done), `UnknownOutcome` (may have been done),
`Gone` (the message is no more), `Rejected` (with words that say what to change). Nothing here
sleeps.
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

from webhook.errors import RATE_LIMITED, Gone, Rejected, RetryAt, UnknownOutcome
from webhook.slack.blocks.mrkdwn import BlockMessage
from webhook.slack.manifest import HISTORY
from webhook.timing import Clock, utc_now

# Seconds for one call.
TIMEOUT = 10
METADATA_EVENT = "gitploy_relay_deployment"

AGAIN = (
    "install the Slack app again (python -m webhook slack install-link),"
    " or set GITPLOY_SLACK_BOT_TOKEN anew"
)

_LATER = {"ratelimited", "rate_limited", "service_unavailable", "request_timeout"}
_UNSURE = {"internal_error", "fatal_error"}
_GONE = {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"}
# `RetryAt`: Slack asks to wait for another reason than its rate limits.
SLACK_UNAVAILABLE = "slack_unavailable"
# The token is used no more.
EXPIRED = "token_expired"
_DEAD = {"invalid_auth", "not_authed", "account_inactive", "token_revoked", EXPIRED}
_REMEDIES = {
    "not_in_channel": "type /invite @{bot} in {channel}",
    "channel_not_found": "there is no channel {channel} that the bot can see; if it is private,"
    " type /invite @{bot} in it",
    "is_archived": "{channel} is archived; unarchive it, or choose another one in deploy.yml and"
    " restart the relay",
    "restricted_action": "the workspace does not let the bot post in {channel}",
    "invalid_auth": f"the bot token is not valid; {AGAIN}",
    "not_authed": f"the bot token is not valid; {AGAIN}",
    "account_inactive": f"the bot's account or workspace is gone; {AGAIN}",
    "token_revoked": f"the bot token was revoked; {AGAIN}",
    "token_expired": f"the bot token has expired; {AGAIN}",
    "missing_scope": "the Slack app lacks the scope {needed}; add it and install the app again",
}
# At once, in one process: a Slack that hangs must not use up the jobs that a worker can do.
MOST_CALLS = 8
MOST_IN_A_CHANNEL = 3
# Of a channel's history: in a rush much has been said since a post that is looked for.
MOST_PAGES, ON_A_PAGE = 20, 200
_CHANNEL_ID = re.compile(r"[CG][A-Z0-9]{6,}")
# Seconds to wait where Slack limits without saying for how long.
WAIT_WITHOUT_A_WORD = 30
# AttributeError: slack_sdk stumbles over a 200 whose body is not JSON, a proxy's page for example.
_NO_CLEAR_ANSWER = (
    SlackClientError,
    aiohttp.ClientError,
    TimeoutError,
    ValueError,
    AttributeError,
)


def is_channel_id(channel: str) -> bool:
    return bool(_CHANNEL_ID.fullmatch(channel))


def token_is_dead(error: Rejected) -> bool:
    """The token cannot be used any more; where its code is `EXPIRED`, it can be refreshed."""
    return error.code in _DEAD


@dataclass(frozen=True, slots=True)
class Posted:
    team: str
    channel_id: str
    ts: str


@dataclass(frozen=True, slots=True)
class Bot:
    """Whose token it is, and what it may do."""

    team: str
    team_name: str
    name: str
    scopes: frozenset[str]


class Calls:
    """Those under way in one process, to whatever workspace."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self.clock = clock
        self._all = asyncio.Semaphore(MOST_CALLS)
        self._in_channel: Counter[str] = Counter()

    @asynccontextmanager
    async def place(self, channel: str) -> AsyncIterator[None]:
        """A channel that hangs leaves calls for others. Errors: `RetryAt` where none is left."""
        if self._all.locked() or (channel and self._in_channel[channel] >= MOST_IN_A_CHANNEL):
            raise RetryAt.in_seconds("enough calls to Slack are under way", 0.5, self.clock())
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
        # It would take HTTPS_PROXY for every address; our session heeds NO_PROXY too.
        self.client.proxy = None
        self._bot: Bot | None = None
        self._calls = calls or Calls()

    async def bot(self) -> Bot:
        if self._bot is None:
            answer = await self.call(self.client.auth_test)
            scopes = {k.lower(): v for k, v in answer.headers.items()}.get("x-oauth-scopes", "")
            self._bot = Bot(
                team=answer["team_id"],
                team_name=answer["team"],
                name=answer["user"],
                scopes=frozenset(s.strip() for s in scopes.split(",") if s.strip()),
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
        """`key` finds the message again. `link_names` makes a mention of a plain @group."""
        bot = await self.bot()
        answer = await self.call(
            lambda: self.client.chat_postMessage(
                channel=channel,
                text=message.text,
                blocks=message.blocks,
                metadata=Metadata(METADATA_EVENT, {"key": key}),
                thread_ts=thread_ts or None,
                reply_broadcast=broadcast or None,
                link_names=link_names or None,
                unfurl_links=False,
                unfurl_media=False,
            ),
            channel,
        )
        return Posted(bot.team, answer["channel"], answer["ts"])

    async def edit(self, posted: Posted, message: BlockMessage, *, key: str) -> None:
        await self.call(
            lambda: self.client.chat_update(
                channel=posted.channel_id,
                ts=posted.ts,
                text=message.text,
                blocks=message.blocks,
                metadata=Metadata(METADATA_EVENT, {"key": key}),
            ),
            posted.channel_id,
        )

    async def may_search(self) -> bool:
        """Whether a message could be found again."""
        return bool((await self.bot()).scopes & HISTORY)

    async def find(
        self, channel_id: str, key: str, since: datetime, thread_ts: str = ""
    ) -> Posted | None:
        """A message of ours that was posted although nobody recorded it.

        Needs a history scope; without one the answer is None and a second one may be posted.
        """
        bot = await self.bot()
        if not channel_id or not await self.may_search():
            return None
        cursor = ""
        for _ in range(MOST_PAGES):
            page = partial(self._history, channel_id, since, thread_ts, cursor)
            try:
                answer = await self.call(page, channel_id)
            except Rejected as error:
                if token_is_dead(error):
                    raise
                return None  # the bot may not read there
            for found in answer["messages"]:
                if found.get("metadata", {}).get("event_payload", {}).get("key") == key:
                    return Posted(bot.team, channel_id, found["ts"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                break
        return None

    def _history(
        self, channel_id: str, since: datetime, thread_ts: str, cursor: str
    ) -> Awaitable[AsyncSlackResponse]:
        asked: dict[str, Any] = {
            "channel": channel_id,
            "oldest": str((since - timedelta(minutes=1)).timestamp()),
            "include_all_metadata": True,
            "limit": ON_A_PAGE,
            "cursor": cursor or None,
        }
        if thread_ts:
            return self.client.conversations_replies(ts=thread_ts, **asked)
        return self.client.conversations_history(**asked)

    async def call(
        self, call: Callable[[], Awaitable[AsyncSlackResponse]], channel: str = ""
    ) -> AsyncSlackResponse:
        """One call, its errors in our kinds."""
        team = self._bot.team if self._bot else ""
        try:
            async with self._calls.place(f"{team}/{channel}" if channel else ""):
                return await call()
        except SlackApiError as error:
            raise self._understood(channel, error) from error
        except aiohttp.ClientConnectorError as error:  # it never got there
            words = f"Slack cannot be reached ({error.strerror})"
            raise RetryAt.in_seconds(words, 5, self._calls.clock()) from error
        except _NO_CLEAR_ANSWER as error:
            raise UnknownOutcome(f"Slack gave no clear answer ({type(error).__name__})") from error

    def _understood(
        self, channel: str, error: SlackApiError
    ) -> RetryAt | UnknownOutcome | Rejected:
        response = error.response
        document = response.data if isinstance(getattr(response, "data", None), dict) else {}
        code = str(document.get("error", ""))
        status = getattr(response, "status_code", 200)
        if status == 429 or code in _LATER:
            wait = response.headers.get("Retry-After", "")
            seconds = int(wait) if wait.isdigit() else WAIT_WITHOUT_A_WORD
            words = f"Slack: {code or 'rate limited'}"
            limited = RATE_LIMITED if status == 429 else SLACK_UNAVAILABLE
            return RetryAt.in_seconds(words, seconds, self._calls.clock(), code=limited)
        if status >= 500 or code in _UNSURE or not code:
            return UnknownOutcome(f"Slack gave no clear answer (HTTP {status})")
        if code in _GONE:
            return Gone(code)
        remedy = _REMEDIES.get(code, "see docs.slack.dev for this error").format(
            bot=self._bot.name if self._bot else "the bot",
            channel=channel or "the channel",
            needed=document.get("needed", "chat:write"),
        )
        return Rejected(f"Slack says {code}: {remedy}", code=code)

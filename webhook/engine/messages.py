"""A message to people: its write, and the form in which the other side accepts it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TypeVar

import structlog

from webhook.engine.outages import Destination
from webhook.engine.outbox import Policy, Write
from webhook.engine.services import Services
from webhook.errors import INVALID, THREAD_CLOSED, Gone, Rejected
from webhook.notifiers.contract import Message, Notifier, Ref
from webhook.rejections import RejectionPolicy
from webhook.store import outbox
from webhook.store.database import Async
from webhook.store.outbox import Entry, State
from webhook.timing import Timing

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rejections:
    """Of the messages of what has been so since then: no longer than it may be news."""

    timing: Timing
    news_since: datetime

    def retry_at(self, error: Rejected, since: datetime, now: datetime) -> datetime | None:
        """None: it counts. The bot may be invited, or its address be back."""
        late = now - self.news_since > self.timing.rejected_given_up_after
        if late or isinstance(error, Gone):
            return None
        ended = error.status == HTTPStatus.GONE
        policy = RejectionPolicy.doubtful if ended else RejectionPolicy.message
        return policy(self.timing).retry_at(max(since, self.news_since), now)


def message_policy(timing: Timing) -> Policy:
    after = timing.message_lookups_after
    return Policy(call=timing.claim_lasts, lookups=after[:1], unfindable=after)


@dataclass(slots=True)
class Form:
    """`message`: as it is sent; a simpler one, once a fuller one was rejected. `error`: why."""

    message: Message
    error: str = ""

    async def accepted(self, send: Callable[[Message], Awaitable[T]]) -> T:
        """What people must see is not lost because of how it looks, or of its thread."""
        while True:
            try:
                return await send(self.message)
            except Rejected as error:
                simpler = _simpler(self.message, error)
                if simpler is None:
                    raise
                log.error("message rejected; a simpler one is sent", error=str(error))
                self.message, self.error = simpler, self.error or str(error)


def _simpler(message: Message, error: Rejected) -> Message | None:
    if error.code == INVALID and not message.plain:
        return replace(message, plain=True)
    if error.code == THREAD_CLOSED and message.parent and message.urgent:
        return replace(message, parent=None)
    return None


@dataclass(slots=True)
class MessageWrite(Write):
    """`key`: by which it is found again. `entry`: its last claim, once it has one."""

    services: Services
    entry: Entry
    notifier: Notifier
    form: Form
    key: str
    rejections: Rejections

    async def prepare(self) -> bool:
        await self.notifier.prepare(self.form.message, self.key, None)
        return True

    async def find(self, entry: Entry) -> outbox.Ref | None:
        assert entry.first_claimed_at is not None
        found = await self.notifier.find(self.form.message, self.key, entry.first_claimed_at)
        return None if found is None else found.to_json()

    async def findable(self) -> bool:
        return await self.notifier.findable(self.form.message)

    async def claim(self, connection: Async, entry: Entry, lasts: timedelta) -> Entry | None:
        claimed = await outbox.claim(connection, entry, lasts)
        self.entry = claimed or entry
        return claimed

    async def send(self) -> outbox.Ref:
        return (await self.form.accepted(self._send)).to_json()

    async def _send(self, message: Message) -> Ref:
        if self.form.error:
            async with self.services.pool.connection() as connection:
                await outbox.extend(connection, self.entry.id, self.services.timing.claim_lasts)
        return await self.notifier.send(message, self.key)

    async def record(self, connection: Async, entry: Entry, ref: outbox.Ref, digest: str) -> Entry:
        return await outbox.sent(connection, entry, ref, digest, error=self.form.error)

    @property
    def digest(self) -> str:
        """Of the full form: what is sent in a simpler one is not sent again until it changes."""
        return self.notifier.digest(replace(self.form.message, plain=False))

    async def probed_at(self, entry: Entry, again: datetime) -> datetime:
        party = Destination(entry.destination)
        return await self.services.outages.probed_at(party, entry.id, again)

    def retry_rejected_at(self, error: Rejected, since: datetime, now: datetime) -> datetime | None:
        return self.rejections.retry_at(error, since, now)

    def state_after(self, error: Rejected, *, in_doubt: bool, retried: bool) -> State:
        if in_doubt:
            return "claimed"
        # The parent of its thread is gone: that is sent again, and this one after it.
        return "waiting" if isinstance(error, Gone) else "rejected"

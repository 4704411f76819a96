"""A message to people as a write of the outbox."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from webhook.engine.outbox import Write
from webhook.engine.rejections import RejectionPolicy
from webhook.errors import Gone, Rejected
from webhook.notifiers.contract import Message, Notifier
from webhook.store import outbox
from webhook.store.outbox import Entry, State
from webhook.timing import Timing


@dataclass(frozen=True, slots=True)
class Rejections:
    """Of the messages of one deployment: no longer than its phase may be news."""

    timing: Timing
    phase_at: datetime

    def retry_at(self, error: Rejected, since: datetime, now: datetime) -> datetime | None:
        """None: it counts. The bot may be invited, or its address be back."""
        late = now - self.phase_at > self.timing.rejected_given_up_after
        if late or isinstance(error, Gone):
            return None
        ended = error.status == HTTPStatus.GONE
        policy = RejectionPolicy.doubtful if ended else RejectionPolicy.message
        return policy(self.timing).retry_at(max(since, self.phase_at), now)


@dataclass(frozen=True, slots=True)
class MessageWrite(Write):
    """`key`: by which it is found again."""

    notifier: Notifier
    message: Message
    key: str
    rejections: Rejections

    async def prepare(self) -> bool:
        await self.notifier.prepare(self.message, self.key, None)
        return True

    async def find(self, entry: Entry) -> outbox.Ref | None:
        assert entry.first_claimed_at is not None
        found = await self.notifier.find(self.message, self.key, entry.first_claimed_at)
        return None if found is None else found.to_json()

    async def findable(self) -> bool:
        return await self.notifier.findable(self.message)

    async def send(self) -> outbox.Ref:
        return (await self.notifier.send(self.message, self.key)).to_json()

    @property
    def digest(self) -> str:
        return self.notifier.digest(self.message)

    def retry_rejected_at(self, error: Rejected, since: datetime, now: datetime) -> datetime | None:
        return self.rejections.retry_at(error, since, now)

    def state_after(self, error: Rejected, *, in_doubt: bool, retried: bool) -> State:
        if in_doubt:
            return "claimed"
        # The parent of its thread is gone: that is sent again, and this one after it.
        return "waiting" if isinstance(error, Gone) else "rejected"

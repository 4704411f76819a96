"""A message to people as a write of the outbox."""

from dataclasses import dataclass

from webhook.engine.outbox import Write
from webhook.errors import Gone, Rejected
from webhook.notifiers.contract import Message, Notifier
from webhook.store import outbox
from webhook.store.outbox import Entry, State


@dataclass(frozen=True, slots=True)
class MessageWrite(Write):
    """`key`: by which it is found again."""

    notifier: Notifier
    message: Message
    key: str

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

    def state_after(self, error: Rejected, *, in_doubt: bool) -> State:
        if in_doubt:
            return "claimed"
        # The parent of its thread is gone: that is sent again, and this one after it.
        return "waiting" if isinstance(error, Gone) else "rejected"

"""Each outward write happens once: claim and commit, call, record.

An entry of the outbox is claimed before its call. Where it is found so, an earlier call has no
known end (a crash, a time-out), and its result is searched on the other side before anything is
sent again. Killing a worker at any line is harmless.

Errors: `RetryAt` says when to try again. `Rejected` comes through once it counts, and so does
`UnknownOutcome` from what precedes the call. The error stays with the entry until an attempt
succeeds.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NoReturn

import structlog

from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.rejections import rejected_since
from webhook.store import outbox
from webhook.store.database import Async, AsyncPool
from webhook.store.outbox import Entry, Ref, State
from webhook.timing import Clock

log = structlog.get_logger()


Call = Literal["prepare", "find", "send"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`call`: how long a call may be under way, in whatever process. `lookups`: when, after a call
    without a clear response, its result is searched; after the last it is sent again. `unfindable`:
    the same by the number of attempts, where nothing can be searched: each further attempt may
    write it once more, so they become rare."""

    call: timedelta
    lookups: Sequence[timedelta]
    unfindable: Sequence[timedelta] = ()


class Write(ABC):
    """One outward write, and how it is recognised afterwards."""

    async def prepare(self) -> bool:
        """All that may fail or wait before the claim, so that the claim covers one call only.
        False: there is no need for the write any more."""
        return True

    @abstractmethod
    async def find(self, entry: Entry) -> Ref | None:
        """What an earlier call has written."""

    async def findable(self) -> bool:
        """Whether `find` can search at all."""
        return True

    async def claim(self, connection: Async, entry: Entry, lasts: timedelta) -> Entry | None:
        """Claim it, and record with it what else must be known before the call. None where somebody
        else was quicker; `skipped` where there is no need for the write any more."""
        return await outbox.claim(connection, entry, lasts)

    @abstractmethod
    async def send(self) -> Ref: ...

    async def record(self, connection: Async, entry: Entry, ref: Ref, digest: str) -> Entry:
        """The result, and what else is to be recorded with it."""
        return await outbox.sent(connection, entry, ref, digest)

    @property
    def digest(self) -> str:
        """Of what is sent, where that may be changed later."""
        return ""

    def retry_rejected_at(self, error: Rejected, since: datetime, now: datetime) -> datetime | None:
        """When to try again what has been rejected since then; None: the rejection counts."""
        return None

    async def probed_at(self, entry: Entry, again: datetime) -> datetime:
        """Sooner than `again` where this one shows whether an outage is over."""
        return again

    def state_after(self, error: Rejected, *, in_doubt: bool, retried: bool) -> State:
        """`in_doubt`: an earlier call may have got through. `retried`: it does not count yet."""
        if in_doubt:
            return "claimed"
        return "waiting" if retried else "rejected"


@dataclass(frozen=True, slots=True)
class Outbox:
    pool: AsyncPool
    clock: Clock

    async def deliver(self, entry: Entry, write: Write, policy: Policy) -> Entry:
        """The entry as it is then: `sent`, or `skipped`. One that is new is stored with its claim,
        or with the reason why there is none yet."""
        if entry.over:
            return entry
        if entry.state == "claimed":
            found = await self._found(entry, write, policy)
            if found is not None:
                # Its content is not known, so that it is edited next time.
                return await self._record(entry, write, found, digest="")
        if not await self._prepared(entry, write):
            async with self.pool.connection() as connection:
                return await outbox.skip(connection, await outbox.keep(connection, entry))
        claimed = await self._claimed(entry, write, policy)
        if claimed.over:
            return claimed
        ref = await self._sent(claimed, write, policy)
        return await self._record(claimed, write, ref, digest=write.digest)

    async def _found(self, entry: Entry, write: Write, policy: Policy) -> Ref | None:
        if entry.claimed_until is not None and entry.claimed_until > self.clock():
            raise RetryAt("a call may be under way", entry.claimed_until)
        try:
            found = await write.find(entry)
        except UnknownOutcome as error:
            await self._keep_error(entry, error)
            raise
        except Rejected as error:
            await self._rejected("find", entry, write, error, in_doubt=True)
        if found is None and entry.lookups < len(policy.lookups):
            await self._search_again(entry, policy)
        return found

    async def _search_again(self, entry: Entry, policy: Policy) -> None:
        """Raise `RetryAt` until it was searched often enough: the other side may finish a call
        late."""
        lookups = entry.lookups + 1
        if lookups == len(policy.lookups):
            await self._search_later(entry, timedelta(0), lookups)
            return
        rest = policy.lookups[lookups] - policy.lookups[lookups - 1]
        await self._search_later(entry, rest, lookups)
        raise RetryAt("an earlier call gave no clear response", self.clock() + rest)

    async def _prepared(self, entry: Entry, write: Write) -> bool:
        try:
            return await write.prepare()
        except RetryAt:
            await self._keep(entry)
            raise
        except UnknownOutcome as error:
            await self._keep_error(await self._keep(entry), error)
            raise
        except Rejected as error:
            entry = await self._keep(entry)
            in_doubt = entry.state == "claimed"
            await self._rejected("prepare", entry, write, error, in_doubt=in_doubt)

    async def _claimed(self, entry: Entry, write: Write, policy: Policy) -> Entry:
        """It is committed then: connections are in autocommit mode."""
        async with self.pool.connection() as connection:
            claimed = await write.claim(connection, entry, policy.call)
        if claimed is None:
            raise RetryAt("a call is under way", self.clock() + policy.call)
        return claimed

    async def _sent(self, entry: Entry, write: Write, policy: Policy) -> Ref:
        try:
            return await write.send()
        except UnknownOutcome as error:
            rest = await self._rest(entry, write, policy)
            await self._search_later(entry, rest, 0, str(error))
            raise RetryAt(str(error), self.clock() + rest) from error
        except RetryAt as error:
            await self._release(entry, "waiting", error)
            raise
        except Rejected as error:
            await self._rejected("send", entry, write, error, in_doubt=False)

    async def _rejected(
        self, call: Call, entry: Entry, write: Write, error: Rejected, *, in_doubt: bool
    ) -> NoReturn:
        """Raise `RetryAt` until the rejection counts, then the rejection itself."""
        if entry.error != str(error):
            where = entry.destination
            log.error("rejected", kind=entry.kind, destination=where, call=call, error=str(error))
        now = self.clock()
        since = rejected_since(entry, call, now)
        again = write.retry_rejected_at(error, since, now)
        state = write.state_after(error, in_doubt=in_doubt, retried=again is not None)
        async with self.pool.connection() as connection, connection.transaction():
            await outbox.release(connection, entry, state, str(error))
            await outbox.keep_rejection(connection, entry, call, since, now)
        if again is None:
            raise error
        raise RetryAt(str(error), await write.probed_at(entry, again)) from error

    async def _rest(self, entry: Entry, write: Write, policy: Policy) -> timedelta:
        if not policy.unfindable or await write.findable():
            return policy.lookups[0]
        return policy.unfindable[min(entry.attempts, len(policy.unfindable)) - 1]

    async def _record(self, entry: Entry, write: Write, ref: Ref, *, digest: str) -> Entry:
        async with self.pool.connection() as connection:
            return await write.record(connection, entry, ref, digest)

    async def _search_later(
        self, entry: Entry, rest: timedelta, lookups: int, error: str = ""
    ) -> None:
        async with self.pool.connection() as connection:
            await outbox.search_later(connection, entry, rest, lookups=lookups, error=error)

    async def _release(self, entry: Entry, state: State, error: Exception) -> None:
        async with self.pool.connection() as connection:
            await outbox.release(connection, entry, state, str(error))

    async def _keep(self, entry: Entry) -> Entry:
        async with self.pool.connection() as connection:
            return await outbox.keep(connection, entry)

    async def _keep_error(self, entry: Entry, error: Exception) -> None:
        async with self.pool.connection() as connection:
            await outbox.keep_error(connection, entry, str(error))

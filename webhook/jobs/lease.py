"""Until when a job is this worker's: known here, without asking the store.

A worker that was stopped, suspended or cut off from the store may come back after another one has
taken over what it had claimed. So each job has a lease, which ends before its claim does; whoever
acts on the outside calls `require` immediately before. The store's clock does not matter: the claim
began later than the statement that made it was sent.
"""

import asyncio
import math
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeVar

from handlers.uptime import uptime
from webhook.errors import CLAIM_LOST, Conflict

# Of a claim's time. The rest is for what has just been checked to leave this machine.
SHARE = 0.8

T = TypeVar("T")


@dataclass(slots=True)
class Lease:
    """`until`: by `handlers.uptime`. One that is over stays so, even if the claim is renewed in the
    store: somebody else may have had it in between, and what the job knows may be outdated."""

    until: float

    @classmethod
    def of_claim(cls, sent_at: float, lasts: timedelta) -> Self:
        """`sent_at`: when the statement was sent that claims it for so long."""
        return cls(sent_at + SHARE * lasts.total_seconds())

    @property
    def over_for(self) -> float:
        """Seconds; negative while it is not over."""
        return uptime() - self.until

    @property
    def is_over(self) -> bool:
        return self.over_for >= 0

    def extend(self, sent_at: float, lasts: timedelta) -> None:
        """`sent_at`: when the statement was sent that has just extended the claim."""
        if not self.is_over:
            self.until = max(self.until, sent_at + SHARE * lasts.total_seconds())

    def end(self) -> None:
        self.until = min(self.until, uptime())


_held: ContextVar[Lease | None] = ContextVar("lease", default=None)


def hold(lease: Lease) -> None:
    """What this task does from now on, and the tasks and threads that it begins, is under it."""
    _held.set(lease)


def require() -> float:
    """Until when the caller may act, by `handlers.uptime`; infinite outside of jobs. Raises
    `Conflict` where the job may be another worker's by now."""
    lease = _held.get()
    if lease is None:
        return math.inf
    if lease.is_over:
        raise Conflict("the claim of this job has ended, it is left to others", code=CLAIM_LOST)
    return lease.until


def shared(work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """A task for which several jobs wait: under no lease, or the end of one would fail all."""
    context = copy_context()
    context.run(_held.set, None)
    return asyncio.create_task(work, context=context)

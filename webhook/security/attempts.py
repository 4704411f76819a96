"""How often an address has sent wrong credentials lately: a signature, a key or a token.

What is right is never limited: it is verified in any case, and behind a proxy all addresses may be
the same. So this keeps whoever tries from filling the log, and says so to who only misconfigured.
"""

from collections.abc import Callable
from threading import Lock
from time import monotonic

from cachetools import TTLCache

# Of an address, in one process; whoever goes on is limited until a minute without a further one.
MOST = 60
WITHIN = 60.0  # seconds
# Of very many addresses the oldest are forgotten.
_MOST_ADDRESSES = 10_000


class FailedAttempts:
    """Of one kind of credentials. `timer`: seconds."""

    def __init__(self, timer: Callable[[], float] = monotonic) -> None:
        self._counts: TTLCache[str, int, float] = TTLCache(_MOST_ADDRESSES, WITHIN, timer)
        self._lock = Lock()

    def add(self, address: str) -> int:
        """How many there are, with this one."""
        with self._lock:
            count = self._counts.get(address, 0) + 1
            self._counts[address] = count
            return count

    def take_back(self, address: str) -> None:
        """One of them was right."""
        with self._lock:
            if count := self._counts.get(address, 0):
                self._counts[address] = count - 1

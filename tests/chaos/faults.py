"""What GitHub and Slack do wrong in a storm, and how often each was done."""

from collections import Counter
from dataclasses import dataclass, field

from sandbox.faults import Fault
from sandbox.server import Server

# A client waits for ten seconds.
HANGS = 11.0

# One of them is picked as often as it stands there: a call that hangs keeps its caller for long.
_COMMON = {
    "429": (Fault.rate_limited(1), 3),
    "5xx, did nothing": (Fault.status(502), 8),
    "5xx, acted": (Fault.status(502, acts=True), 8),
    "dropped before": (Fault.drop_before(), 8),
    "dropped after acting": (Fault.drop_after(), 8),
    "hung, then acted": (Fault.hang(HANGS), 1),
    "acted, then hung": (Fault.hang_after(HANGS), 1),
}
_ODD = {
    "404": (Fault.status(404, {"message": "Not Found"}), 3),
    "403": (Fault.status(403, {"message": "Forbidden"}), 3),
}
KINDS = _COMMON | _ODD
_NAMES = {id(fault): name for name, (fault, _) in KINDS.items()}


@dataclass
class Failing:
    """A stand-in that fails a share of all calls. `counts` by kind; `calls`: of all."""

    server: Server
    counts: Counter[str] = field(default_factory=Counter)
    calls: int = 0

    def begin(self, share: float, seed: int) -> None:
        mix = [fault for fault, weight in KINDS.values() for _ in range(weight)]
        self.server.faults.add_random("*", mix, share, seed)

    def end(self) -> None:
        self.server.faults.clear()

    def count(self) -> None:
        """What has come since the last time. The stand-in forgets it, or it would grow."""
        fired, calls = self.server.faults.fired, self.server.calls
        self.counts.update(_NAMES[id(fault)] for _, fault in fired)
        fired.clear()
        self.calls += len(calls)
        calls.clear()

"""When a tool that sends events is polled: only where they are late.

An event may be lost, since GitHub does not send again what the relay did not take. So the tool is
polled where it was silent, at growing intervals, and once by each new worker.
"""

from dataclasses import dataclass
from datetime import datetime

from webhook.timing import Timing, growing_pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """`worker_since`: what came before may have been lost while no worker was there."""

    started_at: datetime
    worker_since: datetime
    last_event: datetime | None
    polled_at: datetime | None
    timing: Timing

    @property
    def due(self) -> datetime:
        if self.last_event is None:
            return self.started_at + self.timing.first_event_within
        heard = max(self.last_event, self.polled_at or self.last_event)
        if heard < self.worker_since:
            return heard
        silence = heard - self.last_event
        least, most = self.timing.event_polls_at_least, self.timing.event_polls_at_most
        return heard + growing_pause(2 * silence, least, most)

"""What a tool that sends events has said, and when it is polled: only where they are late.

An event may be lost, since GitHub does not send again what the relay did not take. So the tool is
polled where it was silent, at growing intervals, and once by each new worker.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from handlers.contract import ToolEvent
from webhook.engine.services import Services
from webhook.store import tool_events
from webhook.store.deployments import DeploymentRow
from webhook.timing import Timing, growing_pause


@dataclass(frozen=True, slots=True)
class Again:
    """When to check again. `is_deadline`: to end it then, however many others are checked."""

    at: datetime
    is_deadline: bool


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """`is_news`: a poll says more than the events that came before it."""

    events: Sequence[ToolEvent]
    digest: str
    is_news: bool
    poll_due: datetime


async def hear(services: Services, row: DeploymentRow) -> Heard:
    async with services.pool.connection() as connection:
        received = await tool_events.received(connection, row)
    polling = Polling(
        started_at=row.started_at or services.clock(),
        worker_since=services.opened_at,
        last_event=received.last_at,
        polled_at=row.polled_at,
        timing=services.timing,
    )
    return Heard(
        events=received.events,
        digest=received.digest,
        is_news=bool(received.events) and received.digest != row.polled_events,
        poll_due=polling.due,
    )

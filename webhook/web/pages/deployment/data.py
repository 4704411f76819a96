"""All that the page of a deployment shows of it, as the store has it at one moment."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from webhook.store import actions, deployments, outbox, timeline, waits
from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow
from webhook.store.lineage import Lineage, lineage_of
from webhook.store.outbox import Entry
from webhook.store.timeline import TimelineEntry
from webhook.store.waits import Waits

# How long after the end the page still waits for what is on its way to GitHub and the notifiers.
LINGER = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class PageData:
    """All that the store knows of a deployment but its output; equal while nothing changes."""

    row: DeploymentRow
    lineage: Lineage
    timeline: list[TimelineEntry]
    messages: list[Entry]
    waits: Waits
    # Something was requested on it that is not done yet.
    acting: bool

    @property
    def over(self) -> bool:
        """Nothing is printed any more: it has ended, and so has its run."""
        run = self.row.run
        return self.row.ended_at is not None and (run is None or run.state.final)

    @property
    def held(self) -> bool:
        """It waits for a person now."""
        counted = [entry for entry in self.timeline if entry.counted]
        return bool(counted) and self.row.ended_at is None and counted[-1].held

    @property
    def current_entry(self) -> int:
        """The id of the entry that says what happens now; 0 where all of them are history."""
        counted = [entry.id for entry in self.timeline if entry.counted]
        return counted[-1] if counted and self.row.ended_at is None else 0

    def settled(self, now: datetime) -> bool:
        """Over, and nothing is on its way to GitHub or a notifier, or it takes too long."""
        if not self.over or self.row.ended_at is None or self.acting:
            return False
        return not self._pending or now > self.row.ended_at + LINGER

    @property
    def _pending(self) -> bool:
        return any(
            not entry.judged or entry.outbox in ("waiting", "claimed") for entry in self.timeline
        ) or any(message.state in ("waiting", "claimed") for message in self.messages)


def read_page(
    connection: Sync, deployment_id: int, now: datetime, known: PageData | None = None
) -> PageData | None:
    """`known`: what was read before."""
    row = deployments.read_sync(connection, deployment_id)
    if row is None:
        return None
    if known is not None and known.row.version == row.version:
        lineage = known.lineage
    else:
        lineage = lineage_of(connection, deployment_id)
    return PageData(
        row,
        lineage,
        timeline.of_deployment(connection, deployment_id),
        outbox.messages_of(connection, deployment_id),
        waits.of_deployment(connection, row, now),
        actions.under_way(connection, deployment_id),
    )

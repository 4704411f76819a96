"""What a tool reported to us (webhook.inbound.tools) becomes the deployment's: in order, each once.

Whether a report counts is judged here, not when it comes in: the tool gets its answer at once, and
one deployment is moved by one job at a time.
"""

from typing import Any

from handlers import HANDLERS
from webhook.deployments.states import Phase, phase_of
from webhook.store import deployments, timeline
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.timeline import TimelineEntry
from webhook.work import moves
from webhook.work.clock import now
from webhook.work.moves import Move
from webhook.work.relay import Relay, log_about


async def take_reports(relay: Relay, deployment_id: int) -> None:
    row = await relay.read(deployment_id)
    if row is None:
        return
    log_about(row)
    async with relay.pool.connection() as connection, connection.transaction():
        waiting = await timeline.not_judged(connection, row.id)
        for entry in waiting:
            row = await _take(relay, connection, row, entry)
        if waiting:
            await relay.queue.tell_github(connection, row.id)


async def _take(
    relay: Relay, connection: Async, row: DeploymentRow, entry: TimelineEntry
) -> DeploymentRow:
    phase = phase_of(entry.state)
    counted = phase is not None and moves.counts(row, phase, entry.description)
    if phase is None or not counted:
        await timeline.judge(connection, entry.id, description=entry.description, counted=False)
        return row
    move = Move(phase, entry.description, entry.environment_url)
    row = await moves.apply(relay, connection, row, move)
    row = await deployments.change(connection, row, **_known_now(row, phase))
    words = row.words or moves.plain_words(row)
    await timeline.judge(connection, entry.id, description=words, counted=True)
    return row


def _known_now(row: DeploymentRow, phase: Phase) -> dict[str, Any]:
    """It need not be asked meanwhile; after its end, not at all. A command is followed anyway."""
    columns: dict[str, Any] = {"reported_at": now(), "tool_trouble": "", "tool_trouble_since": None}
    remote = row.handler in HANDLERS and not HANDLERS[row.handler].local
    if remote and phase.final and row.run is not None:
        ended = phase if phase is not Phase.INACTIVE else Phase.ERROR
        columns["run"] = {**row.run, "state": ended.value}
    return columns

"""What a tool reported to us (webhook.status_api.views) becomes the deployment's: in order, each
once.

Whether a report counts is judged here, not when it comes in: the tool gets its answer at once, and
one deployment is moved by one job at a time.
"""

from dataclasses import replace
from datetime import datetime

from handlers import HANDLERS
from handlers.contract import State
from webhook.deployments.phases import Phase, phase_of
from webhook.engine import transitions
from webhook.engine.services import Services, log_about
from webhook.engine.transitions import Transition
from webhook.store import deployments, timeline
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.timeline import TimelineEntry


async def take_reports(services: Services, deployment_id: int) -> None:
    row = await services.read(deployment_id)
    if row is None:
        return
    log_about(row)
    async with services.pool.connection() as connection, connection.transaction():
        waiting = await timeline.not_judged(connection, row.id)
        for entry in waiting:
            row = await _take(services, connection, row, entry)
        if waiting:
            await services.queue.send_statuses(connection, row.id)


async def _take(
    services: Services, connection: Async, row: DeploymentRow, entry: TimelineEntry
) -> DeploymentRow:
    phase = phase_of(entry.state)
    counted = phase is not None and transitions.counts(row, phase, entry.description)
    if phase is None or not counted:
        await timeline.judge(connection, entry.id, description=entry.description, counted=False)
        return row
    move = Transition(phase, entry.description, entry.environment_url)
    row = await transitions.apply(services, connection, row, move)
    row = await deployments.change(connection, row, **_known_now(row, phase, services.clock()))
    words = row.status_description or transitions.plain_words(row)
    await timeline.judge(connection, entry.id, description=words, counted=True)
    return row


def _known_now(row: DeploymentRow, phase: Phase, at: datetime) -> deployments.Columns:
    """It need not be asked meanwhile; after its end, not at all. A command is followed anyway."""
    columns: deployments.Columns = {
        "reported_at": at,
        "tool_error": "",
        "tool_error_since": None,
    }
    remote = row.handler in HANDLERS and not HANDLERS[row.handler].local
    if remote and phase.final and row.run is not None:
        ended = State(phase) if phase is not Phase.INACTIVE else State.ERROR
        columns["run"] = replace(row.run, state=ended)
    return columns

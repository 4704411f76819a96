"""What tools report of their runs (`webhook.status_api.views`). Whether it counts is decided here,
not when it comes in: the tool gets its response at once, and one job at a time changes a
deployment.
"""

from dataclasses import replace
from datetime import datetime

from handlers import HANDLERS
from handlers.contract import State
from webhook.deployments.phases import Phase, phase_of
from webhook.engine import transitions
from webhook.engine.services import Services, log_about
from webhook.engine.transitions import Transition
from webhook.store import deployments, schedule, timeline
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.schedule import Key
from webhook.store.timeline import TimelineEntry


async def take_reports(services: Services, row: DeploymentRow) -> DeploymentRow:
    """What a tool reported to us (webhook.status_api.views) counts: in order, each once."""
    log_about(row)
    async with services.pool.connection() as connection, connection.transaction():
        for report in await timeline.not_judged(connection, row.id):
            row = await _take_report(services, connection, row, report)
        await schedule.request(connection, [Key("send_statuses", row.id)])
    return row


async def _take_report(
    services: Services, connection: Async, row: DeploymentRow, report: TimelineEntry
) -> DeploymentRow:
    phase = phase_of(report.state)
    # One that its gates hold back has no run of which somebody could say anything.
    if phase is None or row.blockers or not transitions.counts(row, phase, report.description):
        await timeline.judge(connection, report.id, description=report.description, counted=False)
        return row
    transition = Transition(phase, report.description, report.environment_url)
    reported = _reported(row, phase, services.clock())
    row = await transitions.apply(services, connection, row, transition, columns=reported)
    description = row.status_description or transitions.default_description(row)
    await timeline.judge(connection, report.id, description=description, counted=True)
    return row


def _reported(row: DeploymentRow, phase: Phase, at: datetime) -> deployments.Columns:
    """After a report the tool is not polled for a while, after its end not at all. A command is
    followed anyway."""
    columns: deployments.Columns = {**transitions.TOOL_RESPONDS, "reported_at": at}
    remote = row.handler in HANDLERS and not HANDLERS[row.handler].local
    if remote and phase.final and row.run is not None:
        ended = State(phase) if phase is not Phase.INACTIVE else State.ERROR
        columns["run"] = replace(row.run, state=ended)
    return columns

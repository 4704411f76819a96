"""After a restore from a backup: what happened since is learnt where it is known.

Deployments that were open at the backup may have gone on. GitHub is asked about each once, before
anything else is done with it; their tools are asked before each start (`Runner`); and what neither
knows waits for a person (`webhook.gates.restore`).
"""

import structlog

from webhook.deployments.phases import follows, phase_of
from webhook.engine import transitions
from webhook.engine.services import Services, scope
from webhook.engine.transitions import Transition
from webhook.github.deployment_history import statuses_of
from webhook.github.events import DeploymentStatus
from webhook.store import restores, timeline
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.text import one_line

log = structlog.get_logger()


async def learn_from_github(services: Services, row: DeploymentRow) -> DeploymentRow:
    """Statuses that were written since the backup, by the relay too, count as they did then."""
    restore = services.restored
    if restore is None or restore.precedes(row.created_at):
        return row
    async with services.pool.connection() as connection:
        if await restores.is_asked(connection, restore.id, row.id):
            return row
    reported = await statuses_of(services.github, scope(row), row.id)
    before = row.phase
    async with services.pool.connection() as connection, connection.transaction():
        for status in reversed(reported):
            row = await _learn(services, connection, row, status)
        await restores.asked(connection, restore.id, row.id)
    if row.phase is not before:
        log.info("GitHub knows more than the backup", phase=row.phase, known=before)
    return row


async def _learn(
    services: Services, connection: Async, row: DeploymentRow, status: DeploymentStatus
) -> DeploymentRow:
    phase = phase_of(status.state)
    follows_on = phase is not None and follows(row.phase, phase)
    ours = services.links.is_entry_url(status.log_url, row.id)
    entry = timeline.NewEntry(
        actor="relay" if ours else status.creator or "somebody",
        state=one_line(status.state, 40),
        description=one_line(status.description),
        log_url="" if ours else status.log_url,
        environment_url=status.environment_url,
        counted=False,  # people were notified then
        github_id=status.id,
    )
    known = await timeline.add(connection, row.id, entry) is None
    if known or phase is None or not follows_on:
        return row
    transition = Transition(phase, entry.description, status.environment_url)
    return await transitions.apply(services, connection, row, transition)

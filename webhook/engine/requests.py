"""What people request, in the timeline of the deployment that it is about."""

from webhook.engine.services import Services
from webhook.store import actions, deployments, timeline
from webhook.store.actions import ActionRow
from webhook.store.database import Async


async def add_to_timeline(
    services: Services,
    connection: Async,
    action: ActionRow,
    message: str,
    created: int = 0,
    *,
    state: str = timeline.REQUESTED,
) -> None:
    """Who requested what and when, in the thread and on the page of the deployment that it is
    about; in the caller's transaction. `created`: the deployment that came of it."""
    known = await actions.read(connection, action.id)
    row = await deployments.read(connection, known.deployment_id or 0) if known else None
    if row is None or known is None:
        return
    entry = timeline.NewEntry(
        actor=known.login,
        state=state,
        description=message,
        log_url=services.links.page(row.repo, created) if created else "",
        counted=False,
    )
    await timeline.add(connection, row.id, entry)
    await services.notify(connection, row)

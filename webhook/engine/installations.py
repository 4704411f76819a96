"""What waited for an installation of the App goes on once GitHub reports that it is back."""

import structlog

from webhook.engine.services import Services
from webhook.store import open_deployments, outbox, schedule
from webhook.store.schedule import Key

log = structlog.get_logger()


async def resume_installation(services: Services, installation_id: int, account: str) -> None:
    """Send the statuses that GitHub does not have, and check what has not ended."""
    async with services.pool.connection() as connection, connection.transaction():
        pending = await outbox.deployments_with_pending(connection, installation_id, account)
        waiting = await open_deployments.of_installation(connection, installation_id, account)
        keys = [Key("send_statuses", deployment_id) for deployment_id in pending]
        keys += [Key("advance", deployment_id) for deployment_id in waiting]
        await schedule.request(connection, keys)
    log.info("installation is back", installation=installation_id, unsent=len(pending))

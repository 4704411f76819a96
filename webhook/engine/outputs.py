"""Keep what a run prints in the store, where every web process can show it."""

import structlog

from handlers.contract import Deployment, Handler, KeepsOutput
from webhook.store import output
from webhook.store.database import AsyncPool

log = structlog.get_logger()


async def keep_output(pool: AsyncPool, handler: Handler, deployment: Deployment) -> None:
    """All that it has printed since the last time."""
    if not isinstance(handler, KeepsOutput):
        return
    async with pool.connection() as connection:
        at_byte = await output.length(connection, deployment.id)
        try:
            while chunk := await handler.read_output(deployment, at_byte):
                at_byte = await output.append(connection, deployment.id, at_byte, chunk)
        except OSError:  # how the run ended matters more than what it printed
            log.exception("the output cannot be read")

"""Keep what a run prints in the store, where every web process can show it."""

import structlog

from handlers.contract import Deployment, Handler, KeepsOutput
from webhook.store import output
from webhook.store.database import AsyncPool

log = structlog.get_logger()


async def keep_output(pool: AsyncPool, handler: Handler, deployment: Deployment) -> None:
    """All that it has printed since the last time. One that printed nothing costs no statement,
    and no connection waits for a disk."""
    if not isinstance(handler, KeepsOutput):
        return
    try:
        if first := await handler.read_output(deployment, 0):
            await _append_rest(pool, handler, deployment, first)
    except OSError:  # how the run ended matters more than what it printed
        log.exception("the output cannot be read")


async def _append_rest(
    pool: AsyncPool, handler: KeepsOutput, deployment: Deployment, first: bytes
) -> None:
    async with pool.connection() as connection:
        at_byte = await output.length(connection, deployment.id)
    # Most output is read at once.
    chunk = first[at_byte:] or await handler.read_output(deployment, at_byte)
    while chunk:
        async with pool.connection() as connection:
            at_byte = await output.append(connection, deployment.id, at_byte, chunk)
        chunk = await handler.read_output(deployment, at_byte)

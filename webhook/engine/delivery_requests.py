"""What people requested on the pages of the deliveries, one step at a time: a worker may be killed
at each line of this.

Deliveries are processed once more a batch at a time, each after the one before has been processed,
so that what arrives meanwhile does not wait. GitHub is asked once at most to send one again: where
nobody knows whether it was, a person decides.
"""

from datetime import timedelta

import structlog

from webhook.engine.redelivery import find_delivery, redeliver
from webhook.engine.services import Services
from webhook.errors import RetryAt, UserError
from webhook.github.deliveries import kept_for
from webhook.store import audit, delivery_requests, recovery
from webhook.store.audit import NewAct
from webhook.store.delivery_requests import DeliveryRequest, State
from webhook.store.replays import process_again_async

log = structlog.get_logger()

BATCH = 100
# Until it is seen again how far a batch is.
_PAUSE = timedelta(milliseconds=500)
_NOT_KNOWN = (
    "a worker ended while GitHub was asked: it may send it, or not; ask again if it does not arrive"
)


async def replay(services: Services, request_id: int) -> None:
    """Raises `RetryAt` as long as there is something to do."""
    while True:
        async with services.pool.connection() as connection, connection.transaction():
            request = await delivery_requests.begin(connection, request_id)
            if request is None or request.ended_at is not None:
                return
            if await delivery_requests.unprocessed(connection, request_id, BATCH):
                break
            batch: list[int] = []
            if request.open:
                batch = await delivery_requests.next_batch(connection, request_id, BATCH)
            if not batch:
                state: State = "done" if request.open else request.state
                await delivery_requests.end(connection, request_id, state)
                log.info("deliveries processed again", request=request_id, count=request.position)
                return
            again = await process_again_async(connection, batch)
            skipped = len(batch) - len(again)
            await delivery_requests.taken(connection, request_id, len(batch), skipped)
        if skipped < len(batch):
            break
    raise RetryAt("deliveries are being processed", services.clock() + _PAUSE, urgent=True)


async def redeliver_requested(services: Services, request_id: int) -> None:
    async with services.pool.connection() as connection, connection.transaction():
        request = await delivery_requests.begin(connection, request_id)
    if request is None or not request.open:
        return
    if request.state == "running":
        await _end(services, request, "failed", _NOT_KNOWN)
        return
    try:
        attempt = await _find(services, request)
    except UserError as error:
        await _end(services, request, "failed", str(error))
        return
    async with services.pool.connection() as connection:
        await delivery_requests.set_running(connection, request_id)
    try:
        await redeliver(services.github, request.guid, attempt)
    except UserError as error:
        await _end(services, request, "failed", str(error))
        return
    await _end(services, request, "done", "GitHub sends it")


async def _find(services: Services, request: DeliveryRequest) -> int:
    """GitHub's id of an attempt: known of what was missed, else looked for in its list."""
    async with services.pool.connection() as connection:
        if known := await recovery.attempt_of(connection, request.guid):
            return known
    found = await find_delivery(services.github, request.guid)
    if found is None:
        days = kept_for(services.github).days
        raise UserError(
            f"GitHub keeps deliveries for {days} days, and does not have {request.guid} any more;"
            " replay what is stored here"
        )
    return found.id


async def _end(services: Services, request: DeliveryRequest, state: State, message: str) -> None:
    act = NewAct(
        actor=request.login,
        source="page",
        action="redeliver",
        outcome="done" if state == "done" else "failed",
        repo_id=request.repo_id,
        repo=request.repo,
        reason="" if state == "done" else message,
        details={"delivery": request.guid},
    )
    async with services.pool.connection() as connection, connection.transaction():
        await audit.add(connection, act)
        await delivery_requests.end(connection, request.id, state, message)
    log.info("redelivery", delivery=request.guid, state=state, message=message)

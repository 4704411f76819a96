"""Receives what people do in Slack by Socket Mode, where an app token is set."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from webhook.slack.actions.contract import Actions
from webhook.slack.actions.http import ActionIntake, Document
from webhook.slack.socket_mode import listen
from webhook.startup import Setup
from webhook.store.database import sync_pool
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now

CONNECTIONS = 2


@asynccontextmanager
async def listening(
    setup: Setup,
    url: str,
    actions: Actions,
    timing: Timing = DEFAULT_TIMING,
    clock: Clock = utc_now,
) -> AsyncIterator[None]:
    """As long as the block lasts; each worker has a connection of its own, which Slack allows."""
    if not setup.settings.slack.app_token:
        yield
        return
    pool = sync_pool(url, CONNECTIONS, timing)
    intake = ActionIntake(pool, setup.config, actions, timing, clock)

    async def keep(kind: str, payload: Mapping[str, Any]) -> Document:
        return await asyncio.to_thread(intake.envelope, kind, payload)

    hearing = asyncio.create_task(listen(setup.settings.slack, keep, timing))
    try:
        yield
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        await asyncio.to_thread(pool.close)

"""Runs that announce their end (`handlers.contract.Announces`) are checked at once."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from typing import TypeAlias

import psycopg
import structlog

from handlers.contract import Announces
from webhook.engine.services import Services
from webhook.store.schedule import Key

log = structlog.get_logger()

Request: TypeAlias = Callable[[Collection[Key]], Awaitable[None]]


async def check_ended(services: Services, request: Request) -> None:
    """Until it is cancelled. Whatever is lost here is found by polling."""
    announcing = [one for one in services.handlers.values() if issubclass(one, Announces)]
    async with asyncio.TaskGroup() as group:
        for handler in announcing:
            group.create_task(_check_ended(handler, services, request))


async def _check_ended(handler: type[Announces], services: Services, request: Request) -> None:
    while True:
        try:
            async with aclosing(handler.ends(services.handler_context)) as ends:
                async for deployment_id in ends:
                    await request([Key("advance", deployment_id)])
        except (psycopg.Error, OSError) as error:
            log.warning("ends of runs are not heard, they are polled", error=str(error))
        await asyncio.sleep(services.timing.worker_restart_pause.total_seconds())

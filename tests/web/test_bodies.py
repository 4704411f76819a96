"""A burst of deliveries is no flood."""

import asyncio
from collections.abc import AsyncIterator

from webhook.web.bodies import Bodies, BodyBounds


class Late:
    """A body that is there once `arrived` is set."""

    def __init__(self, arrived: asyncio.Event) -> None:
        self._arrived = arrived

    async def __call__(self) -> bytes:
        await self._arrived.wait()
        return b"{}"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield await self()


async def test_more_at_once_than_are_read_at_once_all_arrive() -> None:
    bodies, arrived = Bodies(BodyBounds(most=2)), asyncio.Event()
    reading = [asyncio.create_task(bodies.read_small(Late(arrived), 2)) for _ in range(20)]
    await asyncio.sleep(0)
    arrived.set()
    assert await asyncio.gather(*reading) == [b"{}"] * 20

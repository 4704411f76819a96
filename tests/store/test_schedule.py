"""Claims of what is to be done."""

from collections.abc import Sequence
from datetime import timedelta

from webhook.store import schedule
from webhook.store.database import Async, connect_async
from webhook.store.schedule import Due, Key
from webhook.timing import DEFAULT_TIMING, utc_now


async def test_a_worker_that_keeps_its_claims_leaves_the_rest_due(store_url: str) -> None:
    first, second = Key("advance", 1), Key("advance", 2)
    async with await connect_async(store_url, DEFAULT_TIMING) as connection:
        await schedule.request(connection, [first, second])
        [held] = await _claim(connection, "worker-1", 1)
        await schedule.keep_claims(
            connection, [held.key], worker="worker-1", lasts=timedelta(hours=1)
        )

        [other] = await _claim(connection, "worker-2", 5)

    assert {held.key, other.key} == {first, second}


async def _claim(connection: Async, worker: str, most: int) -> Sequence[Due]:
    exchange = await schedule.exchange(
        connection,
        [],
        {("advance", True): most},
        worker=worker,
        machine_id="m",
        lasts=timedelta(minutes=1),
        now=utc_now(),
    )
    return exchange.claimed

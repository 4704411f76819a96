"""Claims of what is to be done."""

from collections.abc import Sequence
from datetime import timedelta

from webhook.store import schedule
from webhook.store.database import Async, connect, connect_async
from webhook.store.schedule import Due, Finished, Key
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


async def test_what_is_under_way_when_its_task_is_brought_forward_is_done_once_more(
    store_url: str,
) -> None:
    async with await connect_async(store_url, DEFAULT_TIMING) as connection:
        await schedule.request(connection, [Key("advance", 1)])
        [under_way] = await _claim(connection, "worker", 1)
        with connect(store_url) as other:
            schedule.bring_forward(other, "advance")
        rejected = Finished(due=under_way, again=utc_now() + timedelta(hours=1))
        assert await _claim(connection, "worker", 1, rejected) == []
        [again] = await _claim(connection, "worker", 1)
    assert again.key == under_way.key


async def _claim(connection: Async, worker: str, most: int, *finished: Finished) -> Sequence[Due]:
    exchange = await schedule.exchange(
        connection,
        finished,
        {("advance", True): most},
        worker=worker,
        machine_id="m",
        lasts=timedelta(minutes=1),
        now=utc_now(),
    )
    return exchange.claimed

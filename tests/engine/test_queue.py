"""What happens often has one job that waits, not one for each time."""

import pytest
from procrastinate import PsycopgConnector

from webhook.jobs.queue import Queue
from webhook.store.database import async_pool

JOBS = "select task_name, lock, scheduled_at <= now() as due from procrastinate_jobs"


@pytest.mark.parametrize("waits", [False, True])
async def test_one_job_waits_however_often_it_is_deferred(store_url: str, waits: bool) -> None:
    connector = PsycopgConnector(conninfo=store_url)
    async with async_pool(store_url, 1) as pool, pool.connection() as connection:
        queue = Queue(connector)

        async def defer() -> None:
            async with connection.transaction():
                await queue.resume_installation(connection, 8, "acme")

        await defer()
        if waits:  # for its retry
            later = "update procrastinate_jobs set scheduled_at = now() + interval '1 hour'"
            await connection.execute(later)
        await defer()
        await defer()
        rows = await (await connection.execute(JOBS)).fetchall()
    assert [row["task_name"] for row in rows] == ["resume_installation"]
    assert not waits or all(row["due"] for row in rows)

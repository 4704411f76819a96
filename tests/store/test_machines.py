"""Which machines are gone, and what others may do in their place."""

from webhook.store import machines, schedule
from webhook.store.database import async_pool


async def test_after_an_outage_of_everything_no_machine_counts_as_gone_at_once(
    store_url: str,
) -> None:
    async with async_pool(store_url, 1) as pool, pool.connection() as connection:
        await connection.execute(
            "insert into machines select name, now() - interval '1 day', now() - interval '5 min'"
            " from unnest(array['here', 'there']) as name"
        )
        await machines.seen(connection, "here")
        assert not await machines.is_gone(connection, "there", "here")
        await connection.execute(
            "update machines set since = now() - interval '2 min' where id = 'here'"
        )
        assert await machines.is_gone(connection, "there", "here")
        assert not await machines.is_gone(connection, "here", "here")


async def test_what_waits_for_a_machine_is_released_only_when_it_is_gone(store_url: str) -> None:
    async with async_pool(store_url, 1) as pool, pool.connection() as connection:

        async def waiting_for() -> list[str]:
            await schedule.release_from_gone(connection, "here")
            cursor = await connection.execute("select machine_id from schedule")
            return [row["machine_id"] async for row in cursor]

        await connection.execute("insert into machines values ('here', now() - interval '5 min')")
        await machines.seen(connection, "there")
        await connection.execute(
            "insert into schedule (subject, task, machine_id) values (1, 'advance', 'there')"
        )
        assert await waiting_for() == ["there"]
        await connection.execute(
            "update machines set seen_at = now() - interval '2 min' where id = 'there'"
        )
        assert await waiting_for() == [""]

"""A proxy that answers TCP while PostgreSQL is gone: connections are given up, and replaced."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.github.test_webhook import post
from tests.store_proxy import StoreProxy
from tests.world import QUICK, World, live
from webhook.store import database, schedule

SOON = timedelta(seconds=0.3)
TIMING = replace(
    QUICK,
    connection_within=timedelta(seconds=1),
    exchange_within=timedelta(seconds=0.5),
    connection_check_within=SOON,
    listen_check_interval=SOON,
    worker_restart_pause=SOON,
    worker_stalled_after=timedelta(seconds=2),
    worker_heartbeat=SOON,
)
# As if each connection had been idle for long.
IDLE = replace(TIMING, connection_trusted_for=timedelta(0))


@pytest.fixture
async def through_proxy(store_url: str, tmp_path: Path) -> AsyncIterator[tuple[World, StoreProxy]]:
    with StoreProxy(store_url).running() as proxy:
        async with live(proxy.url, tmp_path, timing=TIMING) as world:
            yield world, proxy


@pytest.mark.slow
async def test_when_connections_are_half_open_deliveries_and_deployments_go_on(
    through_proxy: tuple[World, StoreProxy],
) -> None:
    world, proxy = through_proxy
    await world.deployed()
    proxy.lose()
    world.disconnect()
    assert (await post(world))[0] == 202
    deployment = await world.deploy()
    await world.github.wait_for(deployment.id, "success", within=10)
    await world.idle()


@pytest.mark.slow
async def test_what_is_under_way_when_the_connection_is_lost_is_done_again(
    through_proxy: tuple[World, StoreProxy], tmp_path: Path
) -> None:
    world, proxy = through_proxy
    deployment = await world.begin_slow(tmp_path / "gate")
    for _ in range(3):
        proxy.lose()
        await proxy.connected_again()
    world.disconnect()
    (tmp_path / "gate").touch()
    await world.github.wait_for(deployment.id, "success", within=15)
    await world.idle()


def test_a_statement_without_a_response_ends_with_its_connection(store_url: str) -> None:
    with StoreProxy(store_url).running() as proxy:
        connection = database.connect(proxy.url, TIMING)
        connection.execute("select 1")
        proxy.lose()
        with pytest.raises(psycopg.OperationalError, match=r"has not responded for 0\.5 s"):
            connection.execute("select 1")
        assert connection.closed


def test_a_pool_replaces_what_does_not_respond(store_url: str) -> None:
    with (
        StoreProxy(store_url).running() as proxy,
        database.sync_pool(proxy.url, 1, IDLE) as pool,
    ):
        with pool.connection() as connection:
            connection.execute("select 1")
        proxy.lose()
        with pool.connection() as connection:
            assert connection.execute("select 1 as one").fetchone() == {"one": 1}


async def test_a_connection_that_was_just_used_is_handed_out_unchecked_unless_it_has_ended(
    store_url: str,
) -> None:
    async with database.async_pool(store_url, 1) as pool:
        async with pool.connection() as connection:
            first = connection.info.backend_pid
            await connection.execute("select 'the last'")
        async with pool.connection():
            with psycopg.connect(store_url, autocommit=True) as other:
                query = "select query from pg_stat_activity where pid = %s"
                assert other.execute(query, [first]).fetchone() == ("select 'the last'",)
                other.execute("select pg_terminate_backend(%s, 5000)", [first])
        async with pool.connection() as connection:
            assert connection.info.backend_pid != first
            await connection.execute("select 1")


async def test_a_lost_connection_that_was_just_used_ends_with_its_first_statement(
    store_url: str,
) -> None:
    with StoreProxy(store_url).running() as proxy:
        async with database.async_pool(proxy.url, 1, TIMING) as pool:
            async with pool.connection() as connection:
                await connection.execute("select 1")
            proxy.lose()
            with pytest.raises(psycopg.OperationalError, match=r"has not responded for 0\.5 s"):
                async with pool.connection() as connection:
                    await connection.execute("select 1")
            async with pool.connection() as connection:
                await connection.execute("select 1")


async def test_who_listens_for_jobs_notices_too(store_url: str) -> None:
    heard = asyncio.Event()

    async def listen(url: str) -> None:
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                await schedule.listen(url, TIMING, heard.set)

    with StoreProxy(store_url).running() as proxy, psycopg.connect(store_url) as other:
        other.autocommit = True
        listening = asyncio.create_task(listen(proxy.url))
        await heard.wait()  # for what came before
        heard.clear()
        for lost in (False, True):
            if lost:
                proxy.lose()
                heard.clear()
            async with asyncio.timeout(5):
                while not heard.is_set():
                    other.execute("select pg_notify('schedule', '')")
                    await asyncio.sleep(0.02)
        listening.cancel()

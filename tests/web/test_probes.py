"""/healthz and /readyz: what each failing part is called."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from tests.world import QUICK, World, live, until


async def get(world: World, path: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(world.url + path) as response,
    ):
        return response.status, await response.json()


async def test_a_relay_with_a_worker_is_ready_and_works(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path) as world:
        both = "select compared_at from workers join delivery_scan on compared_at is not null"
        [row] = await until(lambda: world.rows(both) or None)
        ready = {"store": "ok", "migrations": "ok"}
        work = {"worker": "ok", "queue": "ok", "github": "ok", "deliveries": "ok"}
        assert await get(world, "/readyz") == (200, {"ready": True, **ready})
        at = row["compared_at"].isoformat(timespec="seconds")
        compared = f"compared with GitHub's list at {at}: 0 found, 0 missing, 0 given up"
        shown = {**ready, **work, "deliveries": compared, "config": "ok", "dead_letters": "ok"}
        assert await get(world, "/readyz?verbose") == (200, {"ready": True, **shown})
        assert await get(world, "/workz") == (200, {"working": True, **ready, **work})
        assert await get(world, "/healthz") == (200, {"status": "ok"})


async def test_without_a_worker_it_is_ready_for_deliveries_but_does_not_work(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0) as world:
        assert (await get(world, "/readyz"))[0] == 200
        status, body = await get(world, "/readyz?verbose")
        assert (status, body["ready"]) == (200, True)
        assert "python -m webhook worker" in body["worker"]
        status, body = await get(world, "/workz")
        assert (status, body["working"], body["store"]) == (503, False, "ok")
        assert "python -m webhook worker" in body["worker"]
        assert (await get(world, "/healthz"))[0] == 200


async def test_a_silent_worker_is_distinguished_from_a_live_one(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0) as world:
        with psycopg.connect(store_url) as connection:
            connection.execute(
                "insert into workers (id, machine_id, config_digest, version, seen_at)"
                " values ('silent', 'here', '', '', now() - interval '2 minutes')"
            )
        status, body = await get(world, "/workz")
        assert status == 503
        assert re.search(r"\b1[2-5]\d s ago", body["worker"])


async def test_a_job_that_no_worker_takes_is_named(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, workers=0) as world:
        await world.deploy()
        await world.github.settled()
        assert (await get(world, "/workz"))[1]["queue"] == "ok"
        world.execute("update schedule set due_at = due_at - interval '5 minutes'")
        status, body = await get(world, "/workz")
        assert status == 503
        assert re.search(r"a job has waited for 3[0-5]\d s;", body["queue"])


async def test_a_comparison_with_githubs_list_that_fails_for_long_is_named(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0) as world:
        assert (await get(world, "/workz"))[1]["deliveries"] == "ok"
        assert "not compared" in (await get(world, "/readyz?verbose"))[1]["deliveries"]
        world.execute(
            "insert into delivery_scan (compared_at, failing_since, error)"
            " values (now(), now() - interval '29 minutes', 'github.example.com is away')"
        )
        assert (await get(world, "/workz"))[1]["deliveries"] == "ok"
        world.execute("update delivery_scan set failing_since = now() - interval '31 minutes'")
        for path in ("/workz", "/readyz?verbose"):
            found = (await get(world, path))[1]["deliveries"]
            assert re.match(r"not compared with GitHub's list for 3[1-5] min; run: ", found)
            assert "example.com" not in found
        world.execute("update delivery_scan set failing_since = null, found = 3")
        world.execute(
            "insert into missed_deliveries (guid, event, github_id, attempted_at, delivered_at,"
            " state) values ('g', 'deployment', 1, now(), now(), 'given_up')"
        )
        found = (await get(world, "/readyz?verbose"))[1]["deliveries"]
        assert "3 found, 0 missing, 1 given up; run: python -m webhook check" in found
        assert (await get(world, "/workz"))[1]["deliveries"] == "ok"


async def test_old_tables_are_named(store_url: str, tmp_path: Path) -> None:
    async with live(store_url, tmp_path, workers=0) as world:
        with psycopg.connect(store_url) as connection:
            connection.execute("update alembic_version set version_num = '0000'")
        status, body = await get(world, "/readyz")
        assert status == 503
        assert "python -m webhook migrate" in body["migrations"]


async def test_a_store_that_is_away_is_named(store_url: str, tmp_path: Path) -> None:
    gone = store_url.replace("/test_", "/gone_")
    timing = replace(QUICK, connection_within=timedelta(seconds=0.2))
    async with live(gone, tmp_path, workers=0, timing=timing) as world:
        status, body = await get(world, "/readyz")
        assert status == 503
        assert "GITPLOY_STORE_SOURCE" in body["store"]


async def test_an_unknown_address_explains_where_deployments_are(
    store_url: str, tmp_path: Path
) -> None:
    async with (
        live(store_url, tmp_path, workers=0) as world,
        aiohttp.ClientSession() as session,
        session.get(f"{world.url}/nothing") as response,
    ):
        assert response.status == 404
        assert "link in a deployment" in await response.text()


async def test_the_address_itself_says_that_it_runs_and_what_to_do_next(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, workers=0) as world, aiohttp.ClientSession() as session:
        for accepted, kind in (("*/*", "text/plain"), ("text/html,*/*", "text/html")):
            headers = {"Accept": accepted}
            async with session.get(f"{world.url}/", headers=headers) as response:
                assert (response.status, response.content_type) == (200, kind)
                text = await response.text()
            assert "running" in text
            assert f"{world.url}/webhook" in text
            assert "/workz" in text

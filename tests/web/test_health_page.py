"""The page of the relay's health, and the audit, as people with different rights see them."""

import asyncio
import csv
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from psycopg_pool import ConnectionPool

from tests.web.people import Browser, Page, browser
from tests.world import World, live, until

OPERATOR = {"GITPLOY_ADMIN_USERS": "octoadmin"}


@pytest.fixture
def one_connection_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for a second one while they hold the first wait for each other."""
    take, held = ConnectionPool.connection, threading.local()

    @contextmanager
    def connection(pool: Any, timeout: float | None = None) -> Iterator[Any]:
        assert getattr(held, "pool", None) is not pool
        with take(pool, timeout) as taken:
            held.pool = pool
            try:
                yield taken
            finally:
                held.pool = None

    monkeypatch.setattr(ConnectionPool, "connection", connection)


@pytest.mark.usefixtures("one_connection_each")
async def test_the_health_page_says_what_waits_and_what_check_finds(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, environ=OPERATOR) as world:
        await world.deployed()
        async with browser(world, "octoadmin") as operator, browser(world, "octoreader") as reader:
            page = await checked(operator)
            assert "A worker runs yes" in page.text
            assert "GitHub the App is gitploy-relay" in page.text.replace(" ok", "")
            assert "5,000 calls left" in page.text or "of 5,000 calls left" in page.text
            seen = await reader.open("/health")
            assert "A worker runs yes" in seen.text
            assert "gitploy-relay (ID" not in seen.text
            assert not seen.offers("/health/check")
            lost = await reader.open("/helth")
            assert lost.status == 404
            assert "or you may not see it" in lost.text.lower()
            assert 'href="/health"' in lost.html
            form = page.form("/health/check")
            refused = await reader.post("/health/check", form.fields)
            assert refused.status == 404
            again = await operator.press(page, "/health/check")
            assert again.url.endswith("/health")
            async with reader.session.get(f"{world.url}/health/events") as stream:
                first = await state(stream)
                assert set(first["parts"]) == {"works-part", "queue-part", "workers-part"}
                assert "keeps up to date now: 1" in first["parts"]["works-part"]
                world.clock.ahead = timedelta(seconds=10)  # the session is looked up again
                await world.stop_workers()
                world.execute("delete from workers")
                while "No worker runs" not in (await state(stream))["parts"].get(
                    "workers-part", ""
                ):
                    pass
            assert "No worker runs" in (await reader.open("/health")).text


async def state(stream: aiohttp.ClientResponse) -> dict[str, Any]:
    """The next one that is sent."""
    async with asyncio.timeout(10):
        while not (line := await stream.content.readline()).startswith(b"data: {"):
            assert line, "the stream ended"
    found: dict[str, Any] = json.loads(line[6:])
    return found


async def checked(person: Browser) -> Page:
    """The page as soon as the check has run."""
    async with asyncio.timeout(20):
        while True:
            page = await person.open("/health")
            if "Checked" in page.text:
                return page
            await asyncio.sleep(0.05)


async def test_the_audit_is_shown_to_who_administers_and_searched(
    store_url: str, tmp_path: Path
) -> None:
    async with live(store_url, tmp_path, environ={"GITPLOY_ADMIN_USERS": "octoguest"}) as world:
        deployment = await world.deployed("broken")
        async with (
            browser(world, "octowriter") as writer,
            browser(world, "octoadmin") as admin,
            browser(world, "octoguest") as operator,
        ):
            await requested(world, writer, deployment.id)
            row = "octowriter page retry done acme/site: broken"
            assert row in (await admin.open("/audit")).text
            assert row in (await operator.open("/audit?actor=OCTOW&action=retry")).text
            assert "Nothing matches" in (await admin.open("/audit?action=lock")).text
            assert "Nothing that you may see" in (await writer.open("/audit")).text
            assert (await admin.open("/audit?since=yesterday")).status == 400
            file = await admin.open("/audit.csv")
            [header, act] = csv.reader(io.StringIO(file.html))
            assert act[header.index("actor")] == "octowriter"
            assert len(list(csv.reader(io.StringIO((await writer.open("/audit.csv")).html)))) == 1


async def requested(world: World, person: Browser, deployment_id: int) -> None:
    page = await person.open(f"/deployments/acme/site/{deployment_id}")
    form = page.form("/signout")
    fields = {**form.fields, "deployment": str(deployment_id), "key": "once"}
    await person.post("/acts/retry", fields)
    await until(lambda: world.rows("select 1 from audit") or None)

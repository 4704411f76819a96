"""No secret shows: not in the repr of any object of a relay at work, not in a page, not in what the
store keeps. (Each test's relay also checks its log, Slack's messages and GitHub's statuses.)"""

import asyncio
import gc
from collections.abc import Iterable
from pathlib import Path

import psycopg

from tests.scenarios.all_tools import ENVIRONMENTS, relay_with_tools

KEYS = {"GITPLOY_SECRET_KEY": "a-secret-key-that-nobody-shows"}
TABLES = "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind='r'"


def reprs() -> list[tuple[str, str]]:
    """Of all objects whose class is the product's: its class, and the text."""
    every = [
        one
        for one in gc.get_objects()
        if type(one).__module__.partition(".")[0] in ("webhook", "handlers")
    ]
    return [(type(one).__qualname__, repr(one)) for one in every]


def rows_with(store_url: str, secrets: Iterable[str]) -> list[str]:
    """Tables of which a row holds a secret as text."""
    with psycopg.connect(store_url) as connection:
        return [
            name
            for (name,) in connection.execute(TABLES).fetchall()
            for (row,) in connection.execute(f"select t::text from {name} t").fetchall()
            if any(secret in row for secret in secrets)
        ]


async def test_no_object_page_or_row_shows_a_secret(store_url: str, tmp_path: Path) -> None:
    opened = relay_with_tools(store_url, tmp_path, takes=0.1, interactive=True, secrets=KEYS)
    async with opened as (world, tools):
        tools.build("main")
        every = [await world.deploy(name) for name in ENVIRONMENTS.values()]
        for one in every:
            await world.github.wait_for(one.id, "queued", "in_progress", "success")
        secrets = {one for one in world.credentials() if len(one) >= 8}
        assert secrets >= set(KEYS.values())
        seen = reprs()
        assert {"Config", "ActionServices", "GitHub", "Setup"} <= {name for name, _ in seen}
        shown = {name: text[:300] for name, text in seen if any(one in text for one in secrets)}
        assert shown == {}
        pages = await asyncio.gather(*(world.page(one.id) for one in every))
        assert [page[:300] for page in pages if any(one in page for one in secrets)] == []
        assert rows_with(store_url, secrets) == []

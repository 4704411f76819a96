"""The relay of a test that needs no deploy.yml of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.world import World, live


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with live(store_url, tmp_path) as world:
        yield world


@pytest.fixture
async def idle_world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """Without a worker as yet."""
    async with live(store_url, tmp_path, workers=0) as world:
        yield world

"""One relay and one browser for all tests of this folder, and people who use them."""

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.chromium import ARGUMENTS, MISSING, executable
from tests.browser.people import People
from tests.browser.story import DEPLOY_YML, OPERATOR, Story, prepare
from tests.conftest import in_database
from tests.world import live


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def chromium() -> AsyncIterator[Browser]:
    path = executable()
    if path is None:
        pytest.skip(MISSING)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def story(
    chromium: Browser, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Story]:
    """Needs the browser, so that nothing is started where that is missing."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("create database browser template template")
    folder: Path = tmp_path_factory.mktemp("browser")
    environ = {"GITPLOY_ADMIN_USERS": OPERATOR}
    url = in_database(postgres, "browser")
    async with live(url, folder, DEPLOY_YML, environ=environ) as world:
        yield await prepare(world, folder)


@pytest_asyncio.fixture(loop_scope="package")
async def people(chromium: Browser, story: Story) -> AsyncIterator[People]:
    """Each is gone after the test; none has seen an error or asked another site for anything."""
    everybody = People(chromium, story.world)
    yield everybody
    await everybody.leave()
    assert everybody.errors == []

"""script/screenshots: the pages of a relay with some history, as pictures in docs/images.

Source: chromedevtools.github.io/devtools-protocol, Page.captureScreenshot (Playwright's own makes
no WebP).
"""

import asyncio
import base64
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from playwright.async_api import Browser, Page, async_playwright

from tests.browser.chromium import ARGUMENTS, MISSING, executable
from tests.browser.company import OWNER, Company, deploy_yml, live_through
from tests.browser.people import People
from tests.conftest import in_database
from tests.world import live
from webhook.store.embedded import EmbeddedPostgres
from webhook.store.schema import migrate
from webhook.web import paths

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDTHS = (1280, 390)
HIGHEST = 1500
QUALITY = 80


def addresses(company: Company) -> dict[str, str]:
    failed, running, waiting = company.failed, company.running, company.waiting
    guid = company.world.rows("select guid from deliveries where event = 'deployment' limit 1")
    return {
        "board": paths.BOARD,
        "environment": paths.environment("acme/shop", "production"),
        "deploy": paths.with_query(paths.deploy("acme/shop", "production"), ref="main"),
        "roll-back": paths.roll_back("acme/shop", "staging"),
        "deployment": paths.deployment("acme/shop", waiting.id),
        "deployment-running": paths.deployment("acme/docs", running.id),
        "deployment-failed": paths.deployment("acme/api", failed.id),
        "deliveries": paths.DELIVERIES,
        "delivery": paths.delivery(str(guid[0]["guid"])),
        "insights": paths.INSIGHTS,
        "health": paths.HEALTH,
        "audit": paths.AUDIT,
        "configuration": paths.CONFIGURATION,
        "not-found": "/nowhere",
    }


async def take(page: Page, width: int, target: Path) -> None:
    """The page that is open, from its top."""
    session = await page.context.new_cdp_session(page)
    tall = await page.evaluate("() => document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": min(tall, HIGHEST), "scale": 1}
    wanted = {"format": "webp", "quality": QUALITY, "clip": clip, "captureBeyondViewport": True}
    picture = await session.send("Page.captureScreenshot", wanted)
    target.write_bytes(base64.b64decode(picture["data"]))


async def take_all(people: People, company: Company, only: list[str]) -> None:
    for theme in ("light", "dark"):
        for width in WIDTHS:
            size = {"width": width, "height": 800}
            options: dict[str, Any] = {
                "color_scheme": theme,
                "viewport": size,
                "reduced_motion": "reduce",
            }
            page = await people.signed_in(OWNER, **options)
            for name, path in addresses(company).items():
                if not only or name in only:
                    await page.goto(path)
                    await take(page, width, IMAGES / f"{name}-{theme}-{width}.webp")


async def work(chromium: Browser, folder: Path, only: list[str]) -> None:
    server = EmbeddedPostgres(folder / "store")
    url = server.start()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create database pictures")
    store = in_database(url, "pictures")
    migrate(store)
    environ = {"GITPLOY_ADMIN_USERS": OWNER}
    try:
        async with live(store, folder, deploy_yml(folder), environ=environ) as world:
            company = await live_through(world, folder)
            people = People(chromium, world)
            await take_all(people, company, only)
            await people.leave()
            print("\n".join(people.errors), file=sys.stderr)  # noqa: T201
            (folder / "never").touch()
    finally:
        server.stop()


async def main(only: list[str]) -> None:
    path = executable()
    if path is None:
        sys.exit(MISSING)
    with tempfile.TemporaryDirectory(prefix="relay-pictures-") as folder:
        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
            await work(chromium, Path(folder), only)
            await chromium.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

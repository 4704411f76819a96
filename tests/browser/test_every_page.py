"""What holds for every page: axe-core finds nothing, it fits on a phone, it is light, and no other
site is asked for anything.

Source: github.com/dequelabs/axe-core, "API Documentation"; w3.org/TR/WCAG22.
"""

from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Page, ViewportSize

from sandbox.sandbox import REPOSITORY
from tests.browser.people import People
from tests.browser.story import OPERATOR, Story, environment
from webhook.web import paths

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = "(tags) => axe.run({runOnly: tags, resultTypes: ['violations'], preload: false})"
# What is loaded is said by the browser itself, also from its cache.
WEIGHT = """() => performance.getEntriesByType("navigation")
  .concat(performance.getEntriesByType("resource").filter((one) => !one.name.includes("/events")))
  .reduce((sum, one) => sum + one.decodedBodySize, 0)"""
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
MOST = 100_000  # bytes
PHONE, DESK = ViewportSize(width=320, height=640), ViewportSize(width=1280, height=900)

pytestmark = pytest.mark.asyncio(loop_scope="package")


def addresses(story: Story) -> dict[str, str]:
    """By name: of who has signed in."""
    return {
        "board": "/",
        "board-no-match": "/?q=nothing-like-it",
        "environment": environment("production"),
        "deploy": paths.with_query(paths.deploy(REPOSITORY, "staging"), ref="main"),
        "roll-back": paths.roll_back(REPOSITORY, "staging"),
        "deployment": story.page_of(story.ended),
        "deployment-failed": story.page_of(story.failed),
        "deployment-search": paths.with_query(story.page_of(story.failed), find="disk"),
        "deployment-waiting": story.page_of(story.waiting),
        "deliveries": "/deliveries",
        "delivery": f"/deliveries/{story.guid('deployment')}",
        "insights": "/insights",
        "health": "/health",
        "audit": "/audit",
        "configuration": paths.CONFIGURATION,
        "configuration-explained": paths.with_query(
            paths.CONFIGURATION, env="production", repo=REPOSITORY
        ),
        "act": f"/acts/cancel?deployment={story.waiting.id}&next=/",
        "nowhere": "/nowhere",
    }


def strangers_addresses(story: Story) -> dict[str, tuple[str, int]]:
    """By name: of who has not signed in, with the status of the response."""
    return {
        "home": ("/", 200),
        "by its link": (story.link_of(story.failed), 200),
        "not from GitHub": ("/signin?state=other&code=other", 403),
        "a button's": ("/signout", 405),
        "Slack": ("/slack/install?key=other", 404),
    }


async def complaints(page: Page) -> list[str]:
    """What is wrong with the page that is open."""
    await page.evaluate(f"{AXE};0")
    found = await page.evaluate(RUN, RULES)
    wrong = [_complaint(one) for one in found["violations"]]
    weight, wider = await page.evaluate(WEIGHT), await page.evaluate(WIDER)
    if weight > MOST:
        wrong.append(f"{weight} bytes")
    if wider > 0:
        wrong.append(f"{wider} pixels wider than the window")
    return wrong


def _complaint(violation: dict[str, Any]) -> str:
    nodes = violation["nodes"]
    where = ", ".join(str(node["target"]) for node in nodes[:3])
    return f"{violation['id']} at {where} ({len(nodes)}): {nodes[0]['failureSummary']}"


@pytest.mark.parametrize(
    ("theme", "size"), [("light", DESK), ("dark", PHONE)], ids=["light", "dark, on a phone"]
)
async def test_axe_finds_nothing_and_nothing_is_too_wide_or_heavy(
    people: People, story: Story, theme: str, size: ViewportSize
) -> None:
    wrong: list[str] = []
    options: dict[str, Any] = {"color_scheme": theme, "viewport": size}
    page = await people.signed_in(OPERATOR, **options)
    for name, path in addresses(story).items():
        response = await page.goto(path)
        if response is None or (response.status != 200 and name != "nowhere"):
            wrong.append(f"{name}: {response and response.status}")
        wrong += [f"{name}: {one}" for one in await complaints(page)]
    page = await people.anybody(**options)
    for name, (path, status) in strangers_addresses(story).items():
        response = await page.goto(path)
        if response is None or response.status != status:
            wrong.append(f"{name}: {response and response.status}")
        wrong += [f"{name}: {one}" for one in await complaints(page)]
    assert not wrong, "\n".join(wrong)

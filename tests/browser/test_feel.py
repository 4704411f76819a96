"""Keys, times, themes and what a reader's system asks for."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.people import People
from tests.browser.story import OPERATOR, READER, Story, environment

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def focus(page: Page) -> str:
    """The text or name of what has the focus."""
    script = "() => document.activeElement.name || document.activeElement.textContent.trim()"
    return str(await page.evaluate(script))


async def test_everything_is_a_few_keys_away(people: People) -> None:
    page = await people.signed_in(OPERATOR)
    await page.keyboard.press("Tab")
    assert await focus(page) == "Skip to the content"
    await page.keyboard.press("/")
    assert await focus(page) == "q"
    await page.keyboard.type("gd?jt")  # no key of the page does anything while one types
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(r"\?q=gd%3Fjt$"))
    await page.wait_for_load_state()  # its script listens by then
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    for letter, path in (("d", "/deliveries"), ("h", "/health"), ("b", "/")):
        await page.keyboard.press("g")
        await page.keyboard.press(letter)
        await expect(page).to_have_url(re.compile(rf"://[^/]+{path}$"))
        await page.wait_for_load_state()


async def test_rows_are_walked_through_and_opened(people: People) -> None:
    page = await people.signed_in(OPERATOR, "/deliveries")
    links = page.locator("main tbody tr a[href]").first
    await page.keyboard.press("j")
    await expect(links).to_be_focused()
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    await expect(links).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/deliveries/[0-9a-f-]{36}$"))


async def test_single_keys_can_be_switched_off(people: People) -> None:
    page = await people.signed_in(OPERATOR)
    await page.get_by_role("button", name="Keys").click()
    await page.get_by_label("Keys without Ctrl or Alt do something").uncheck()
    await page.keyboard.press("Escape")
    await page.reload()
    await page.keyboard.press("?")
    await page.keyboard.press("/")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert await focus(page) != "q"


async def test_times_say_how_long_ago_and_on_request_when(people: People, story: Story) -> None:
    options = {"timezone_id": "America/New_York"}
    page = await people.signed_in(READER, environment("staging"), **options)
    at = page.locator("main time[data-time]").first
    await expect(at).to_have_text(re.compile(r"^(just now|\d+ min ago)$"))
    await expect(at).to_have_attribute("title", re.compile(r"\d\d:\d\d:\d\d (GMT-[45]|E[SD]T)"))
    await page.keyboard.press("t")
    await expect(at).to_have_text(re.compile(r"(GMT-[45]|E[SD]T)$"))
    await page.keyboard.press("t")
    await expect(at).to_have_text(re.compile("UTC$"))
    await page.reload()
    await expect(at).to_have_text(re.compile("UTC$"))
    await page.get_by_label("Times").select_option("how long ago")
    await expect(at).to_have_text(re.compile("now|ago"))


async def test_a_theme_that_was_chosen_stays(people: People) -> None:
    ground = "() => getComputedStyle(document.body).backgroundColor"
    page = await people.signed_in(READER, "/", color_scheme="light")
    light = await page.evaluate(ground)
    await page.get_by_label("Theme").select_option("dark")
    dark = await page.evaluate(ground)
    assert dark != light
    await page.goto(environment("staging"))
    assert await page.evaluate(ground) == dark
    await page.get_by_label("Theme").select_option("the system's")
    assert await page.evaluate(ground) == light


async def test_what_the_system_asks_for_is_done(people: People, story: Story) -> None:
    options = {"forced_colors": "active", "reduced_motion": "reduce"}
    gate = story.folder / "feel"
    deployment = await story.world.begin_slow(gate)
    page = await people.signed_in(READER, story.page_of(deployment), **options)
    await expect(page.locator("#state")).to_contain_text("In progress")
    assert await page.evaluate("() => document.getAnimations().length") == 0
    await page.keyboard.press("Tab")
    outline = "() => getComputedStyle(document.activeElement).outlineStyle"
    assert await page.evaluate(outline) != "none"
    current = page.get_by_role("navigation", name="Main").locator("[aria-current]")
    border = "(one) => getComputedStyle(one).borderBottomColor"
    other = page.get_by_role("navigation", name="Main").locator("a:not([aria-current])").first
    assert await current.evaluate(border) != await other.evaluate(border)
    gate.touch()


async def test_a_filter_follows_each_choice_and_keeps_the_focus(people: People) -> None:
    page = await people.signed_in(READER)
    await page.get_by_label("State").select_option("failed")
    await expect(page).to_have_url(re.compile(r"/\?state=failed$"))
    await expect(page.get_by_label("State")).to_be_focused()
    await page.get_by_label("Production only").check()
    await expect(page).to_have_url(re.compile(r"state=failed&production="))


async def test_a_page_whose_stream_a_proxy_holds_back_says_so(people: People) -> None:
    page = await people.signed_in(READER)
    await page.route("**/events*", lambda _: None)  # no response
    await page.clock.install()
    await page.reload()
    await page.clock.fast_forward(9_000)
    await expect(page.locator("[data-page]")).to_contain_text("Not connected")

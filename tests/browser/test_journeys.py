"""The relay's pages as people use them, in a browser."""

import re

import pytest
from playwright.async_api import expect

from sandbox.sandbox import REPOSITORY
from tests.browser.people import People, sign_in
from tests.browser.story import OPERATOR, READER, REVIEWER, VISITOR, WRITER, Story, environment
from webhook.web import paths

PHONE = {"width": 320, "height": 640}

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_who_signs_in_with_github_sees_the_board_until_they_sign_out(
    people: People, story: Story
) -> None:
    page = await people.anybody()
    await sign_in(page, story.world, VISITOR)
    await expect(page.get_by_role("heading", level=1, name="Board")).to_be_visible()
    await expect(page.locator("main")).to_contain_text(REPOSITORY)
    await expect(page.get_by_role("banner")).to_contain_text(VISITOR)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("link", name="Sign in with GitHub").first).to_be_visible()
    await page.goto(environment("staging"))
    await expect(page.locator("body")).not_to_contain_text("Greet them by name")


async def test_the_board_follows_a_deployment(people: People, story: Story) -> None:
    board = await people.signed_in(READER, "/?environment=slow-board")
    there = board.locator("#board")
    await expect(there).to_contain_text("No match")
    gate = story.folder / "board"
    await story.world.deploy("slow-board", payload={"gate": str(gate)})
    await expect(there).to_contain_text("in progress")
    gate.touch()
    await expect(there).not_to_contain_text("in progress")
    await expect(there).to_contain_text(re.compile(r"now|ago"))


async def test_one_approves_and_another_sees_it_happen(people: People, story: Story) -> None:
    """The one has a phone and no JavaScript, the other watches."""
    waiting = await story.held_back("Say goodbye, too")
    watching = await people.signed_in(WRITER, story.page_of(waiting))
    await expect(watching.locator("#state")).to_contain_text("Waits for a person")
    icon = watching.locator("link[rel=icon]")
    await expect(icon).to_have_attribute("href", re.compile("icon-waiting"))
    options = {"java_script_enabled": False, "viewport": PHONE}
    approving = await people.signed_in(REVIEWER, story.page_of(waiting), **options)
    await approving.locator("details.act summary", has_text="Approve").click()
    await approving.locator("#act-approve").get_by_role("button", name="Approve").click()
    await expect(approving.locator(".requests")).to_contain_text("Approve")
    await expect(watching.locator("#state")).to_contain_text("Succeeded")
    await expect(watching.locator("#gates")).to_contain_text(REVIEWER)
    await expect(icon).to_have_attribute("href", re.compile("icon-good"))
    await expect(watching).to_have_title(re.compile("Succeeded"))


async def test_a_lock_holds_deployments_back_until_it_is_ended(
    people: People, story: Story
) -> None:
    page = await people.signed_in(WRITER, environment("locked"))
    board = await people.signed_in(READER, "/?environment=locked")
    await page.locator("summary", has_text="Lock…").click()
    await page.get_by_label("Reason").fill("the database moves")
    await page.get_by_role("button", name="Lock", exact=True).click()
    await expect(page.locator("#locks")).to_contain_text("the database moves")
    await expect(board.locator("main")).to_contain_text("the database moves")
    deployment = await story.world.deploy("locked")
    await expect(page.locator("#queue")).to_contain_text(f"deployment {deployment.id}")
    await page.locator("summary", has_text="Unlock…").click()
    await page.get_by_role("button", name="Unlock").click()
    await expect(page.locator("#locks")).to_contain_text("It is not locked.")
    await story.world.phase(deployment.id, "success")
    await expect(board.locator("main")).not_to_contain_text("the database moves")


async def test_a_roll_back_shows_what_is_taken_back_and_brings_it_back(
    people: People, story: Story
) -> None:
    before = await story.succeeded("steady", "Sell apples")
    await story.succeeded("steady", "Sell oranges")
    page = await people.signed_in(WRITER, environment("steady"))
    there = page.locator("section[aria-labelledby=there-title]")
    await expect(there).not_to_contain_text(before.sha[:7])
    await page.get_by_role("link", name="Roll back…").click()
    await expect(page.locator("main")).to_contain_text("Sell oranges")
    await page.get_by_role("button", name="Roll back to").click()
    await expect(page).to_have_url(re.compile(re.escape(environment("steady"))))
    await expect(page.locator("#requests")).to_contain_text("done")
    await expect(there).to_contain_text(before.sha[:7])


async def test_a_delivery_is_found_and_replayed(people: People, story: Story) -> None:
    page = await people.signed_in(OPERATOR, "/deliveries")
    await page.get_by_label("Event").fill("deployment")
    await page.get_by_role("button", name="Filter").click()
    await expect(page).to_have_url(re.compile(r"/deliveries\?event=deployment$"))
    await page.goto(f"/deliveries/{story.guid('deployment')}")
    await expect(page.get_by_role("group", name="Payload")).to_contain_text('"ref"')
    await page.get_by_role("button", name="Replay").click()
    await expect(page.locator("#requested")).to_contain_text(f"Replay by {OPERATOR}")
    await expect(page.locator("#requested")).to_contain_text("done")


async def test_two_people_see_what_each_may_see(people: People, story: Story) -> None:
    writer = await people.signed_in(WRITER, environment("staging"))
    await expect(writer.get_by_role("heading", name="Deploy")).to_be_visible()
    await expect(writer.locator("summary", has_text="Lock…")).to_be_visible()
    reader = await people.signed_in(READER, environment("staging"))
    await expect(reader.locator("summary", has_text="Lock…")).to_have_count(0)
    await expect(reader.locator("main")).to_contain_text("write permission")


async def test_without_javascript_the_board_is_searched_and_a_page_acts(
    people: People, story: Story
) -> None:
    page = await people.signed_in(WRITER, "/", java_script_enabled=False)
    await page.get_by_label("Search", exact=True).fill("staging")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.locator("#board")).to_contain_text("staging")
    await expect(page.locator("#board")).not_to_contain_text("broken")
    await expect(page.locator("main time").first).to_contain_text("UTC")
    await page.goto(paths.deploy(REPOSITORY, "staging"))
    await page.get_by_role("button", name="See what it would do").click()
    await page.get_by_role("button", name="Deploy to staging").click()
    await expect(page.locator(".requests")).to_contain_text("Deploy")


async def test_a_long_output_is_searched_here_and_in_all_of_it(
    people: People, story: Story
) -> None:
    """By who has the link, with and without JavaScript."""
    deployment = await story.world.deployed("locked")
    output = "".join(f"{number} of the output\n" for number in range(1, 5001))
    insert = "insert into output values (%s, 0, convert_to(%s, 'UTF8'))"
    story.world.execute(insert, deployment.id, output)
    page = await people.anybody()
    await page.goto(story.link_of(deployment))
    await page.get_by_label("Search in the output").fill("499")
    await expect(page.locator("#log-hits")).to_have_text("10 hits here")
    await page.get_by_label("Search in the output").press("Enter")
    await expect(page.locator("#log-hits")).to_have_text("1 of 10 here")
    await page.get_by_role("button", name="Search all 5,000 lines").click()
    await expect(page.locator(".found-summary")).to_contain_text("15 lines with “499”")
    await page.locator("#output").get_by_role("link", name="499", exact=True).click()
    await expect(page.locator("#L499")).to_be_in_viewport()
    await expect(page.locator("#log-hits")).to_have_text("1 of 1 here")
    await page.get_by_role("link", name="All lines with").click()
    await expect(page.locator("mark")).to_have_count(15)

    plain = await people.anybody(java_script_enabled=False, viewport=PHONE)
    await plain.goto(story.link_of(deployment))
    await plain.get_by_role("link", name="Earlier lines").click()
    await expect(plain.locator("#output")).not_to_contain_text("4999 of")
    await plain.get_by_label("Search in the output").fill("17 OF")
    await plain.get_by_role("button", name="Search", exact=True).click()
    await expect(plain.locator("mark").first).to_have_text("17 of")
    await plain.locator("#output").get_by_role("link", name="17", exact=True).click()
    await expect(plain.locator("#L17")).to_contain_text("17 of the output")


async def test_a_link_opens_its_page_and_nothing_else(people: People, story: Story) -> None:
    page = await people.anybody()
    await page.goto(story.link_of(story.ended))
    await expect(page.locator("#state")).to_contain_text("Succeeded")
    await expect(page.locator("form[method=post]")).to_have_count(0)
    await expect(page.get_by_role("navigation", name="Main")).to_have_count(0)

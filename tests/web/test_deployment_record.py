"""The record on a deployment's page: what was sent, and what was rejected and why."""

import psycopg
from flask.testing import FlaskClient
from psycopg.rows import dict_row

from tests.web.viewing import Rows, Seen, open_page, page_url
from webhook.deployments.actions import ActionRequest, Reply, Requester
from webhook.store import actions
from webhook.web.pages.deployment.record import MOST

HOSTILE = "<script>alert(1)</script>"
# Bytes of a page; its styles and scripts are as much.
LIGHT = 60_000


def table(page: Seen, label: str) -> str:
    """What is read in it, and below it."""
    return page.text.partition(label)[2]


def test_each_status_and_message_is_there_with_what_became_of_it(
    rows: Rows, browser: FlaskClient
) -> None:
    rows.deployment()
    rows.new_entry(state="queued", description="Accepted", outbox="sent")
    rows.new_entry(state="in_progress", description=f"{HOSTILE} {'x' * 300}", outbox="sent")
    rows.new_entry(
        state="success",
        description="Done",
        environment_url="https://acme.io",
        outbox="rejected",
        error="Resource not accessible by integration; give the App Deployments: write",
    )
    rows.slack("main", "#deploys", ts="1712.5")
    rows.slack("alert", "#alarms", error="Slack: is_archived; choose another channel")
    page = open_page(browser)
    statuses = table(page, "Statuses on GitHub, as they were sent")
    assert statuses.index("success") < statuses.index("in_progress") < statuses.index("queued")
    assert "rejected Resource not accessible by integration; give the App" in statuses
    assert "xxx…" in statuses, "GitHub has 140 characters"
    assert "https://acme.io" in page.links()
    messages = table(page, "Messages, and where they are")
    assert "Slack #deploys" in messages
    assert "ts 1712.5" in messages
    assert "Slack: is_archived; choose another channel" in messages
    assert all("src" in one for one in page.all("script"))
    # Raw events and people's acts are for who has signed in.
    assert "Deliveries about it" not in page.text
    assert "What people did with it" not in page.text


def test_much_that_happened_leaves_the_page_light(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment(payload={"list": ["x" * 50] * 4000})
    for number in range(MOST + 3):
        rows.new_entry(state="in_progress", description=f"{number} of many", outbox="sent")
    response = browser.get(page_url())
    page = Seen(response.text)
    assert "without 3 older ones" in page.text
    assert "Only its beginning is shown; it is long." in page.text
    assert len(response.data) < LIGHT


def test_it_is_well_formed_for_who_listens(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.new_entry(state="queued", description="Accepted", outbox="sent")
    page = open_page(browser)
    headings = [name for name, _ in page.elements if name in ("h1", "h2", "h3")]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    ids = [one["id"] for _, one in page.elements if "id" in one]
    assert len(ids) == len(set(ids))
    named = {one["aria-labelledby"] for _, one in page.elements if "aria-labelledby" in one}
    assert named <= set(ids)
    live = {one["id"] for _, one in page.elements if one.get("aria-live")}
    assert live <= {"state", "requests"}


def test_the_page_of_one_that_has_ended_is_live_while_something_is_requested_on_it(
    rows: Rows, browser: FlaskClient
) -> None:
    rows.deployment()
    rows.end()
    [connection] = [one for one in open_page(browser).all("p") if one.get("id") == "connection"]
    assert "data-offset" not in connection
    request = ActionRequest(
        key="1", kind="retry", requester=Requester("", "", "ada"), reply=Reply(), deployment_id=1
    )
    with psycopg.connect(rows.url, row_factory=dict_row) as store:
        actions.keep(store, request)
    [connection] = [one for one in open_page(browser).all("p") if one.get("id") == "connection"]
    assert "data-offset" in connection

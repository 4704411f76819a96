"""The page of a deployment: who can open it, and what it shows."""

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from handlers.contract import Run, State
from tests.web.viewing import REQUESTED_AT, SHA, Rows, Seen, app, links, open_page, page_url
from webhook.security.signing import LINK_DAYS
from webhook.timing import Timing, utc_now
from webhook.web.pages.deployment.log_window import PAGE_OUTPUT


def rejected(response: TestResponse, status: int) -> Seen:
    assert response.status_code == status
    page = Seen(response.text)
    assert "What to do:" in page.text
    assert page.all("html") == [{"lang": "en"}]
    return page


def key_of(deployment_id: int) -> str:
    return page_url(deployment_id).partition("key=")[2]


def old_key() -> str:
    then = utc_now() - timedelta(days=LINK_DAYS + 31)
    return links(lambda: then).page("acme/web", 1).partition("key=")[2]


@pytest.mark.parametrize("path", ["", "/events"])
def test_a_link_opens_its_own_deployment_only(rows: Rows, browser: FlaskClient, path: str) -> None:
    rows.deployment(1)
    rows.deployment(2)
    key = key_of(1)
    for wrong in (key_of(2), key[:-1], "x" + key, "", old_key()):
        page = rejected(browser.get(f"/deployments/acme/web/1{path}?key={wrong}"), 403)
        assert "newest link from GitHub's deployment status or from Slack" in page.text
    assert rejected(browser.get(f"/deployments/acme/web/1{path}"), 403)


@pytest.mark.parametrize(("deployment_id", "repo"), [(9, "acme/web"), (1, "acme/other")])
def test_missing_values_are_shown_as_unknown(
    rows: Rows, browser: FlaskClient, deployment_id: int, repo: str
) -> None:
    rows.deployment()
    url = page_url(deployment_id, repo)
    assert "knows no deployment" in rejected(browser.get(url), 404).text
    assert rejected(browser.get(url.replace("?", "/events?")), 404)


def test_the_case_of_the_repository_does_not_matter(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment(repo="Acme/Web")
    assert "Acme/Web" in browser.get(page_url(1, "acme/WEB")).text


def test_an_unavailable_store_is_reported(rows: Rows) -> None:
    timing = Timing(connection_within=timedelta(seconds=0.2))
    with app("postgresql://127.0.0.1:1/none", store_timing=timing) as created:
        response = created.test_client().get(page_url())
    assert "store does not respond" in rejected(response, 503).text
    assert int(response.headers["Retry-After"]) > 0


def test_it_shows_ref_creator_environment_and_state(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment(description="the new form", task="deploy:eu", ref="feature/x y")
    rows.change(
        phase="in_progress",
        status_description="3 of 8",
        handler="drone",
        started_at=REQUESTED_AT,
        deadline=REQUESTED_AT + timedelta(minutes=30),
        environment_url="https://staging.acme.io",
        run=Run("5", State.IN_PROGRESS, "https://drone.acme.io/5"),
    )
    page = open_page(browser)
    for expected in (
        "In progress 3 of 8",
        "Deadline 01 Mar, 12:30:00 UTC",
        "acme/web to staging the new form",
        f"Version feature/x y @ {SHA[:7]}",
        "Task deploy:eu",
        "Requested by octocat",
        "Requested at 01 Mar 2026, 12:00:00 UTC",
        "Handler drone",
        "Run open in drone",
    ):
        assert expected in page.text
    assert {
        "https://github.com/acme/web",
        "https://github.com/acme/web/tree/feature/x%20y",
        f"https://github.com/acme/web/commit/{SHA}",
        "https://staging.acme.io",
        "https://drone.acme.io/5",
    } <= set(page.links())


@pytest.mark.parametrize(
    ("environment", "production", "expected"),
    [
        ("eu", True, "to eu production"),
        ("production", True, "to production"),
        ("eu", False, "to eu"),
    ],
)
def test_production_is_marked(
    rows: Rows, browser: FlaskClient, environment: str, production: bool, expected: str
) -> None:
    rows.deployment(environment=environment, production_environment=production)
    response = browser.get(page_url())
    heading = Seen(response.text.partition("<h1>")[2].partition("</h1>")[0])
    assert heading.text == f"acme/web {expected}"
    assert any("production" in span.get("class", "") for span in heading.all("span")) == production


def test_a_finished_deployment_shows_its_duration(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    end = REQUESTED_AT + timedelta(seconds=130)
    rows.change(phase="failure", started_at=REQUESTED_AT, ended_at=end, deadline=end)
    page = open_page(browser)
    assert "Failed" in page.text
    assert "Took 2m10s" in page.text
    assert "Deadline" not in page.text


def test_each_entry_has_its_anchor_time_and_text(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    sent = rows.new_entry(state="queued", description="accepted", outbox="sent")
    waiting = rows.new_entry(state="in_progress", outbox="claimed", error="GitHub returned 502")
    rejection = rows.new_entry(state="failure", outbox="rejected", error="the App was removed")
    late = rows.new_entry(
        state="unknown", actor="drone[bot]", log_url="https://ci.io/7", counted=False
    )
    page = open_page(browser)
    assert [li["id"] for li in page.all("li")] == [
        f"entry-{number}" for number in (sent, waiting, rejection, late)
    ]
    assert len(page.all("time")) >= 4
    assert all(moment["datetime"].endswith("+00:00") for moment in page.all("time"))
    assert "Sent to GitHub" in page.text
    assert "Not sent to GitHub yet: GitHub returned 502" in page.text
    assert "GitHub rejected it: the App was removed" in page.text
    assert "by drone[bot] log late or repeated: changed nothing" in page.text
    assert "https://ci.io/7" in page.links()


def test_what_a_person_requested_is_not_marked_as_late(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.new_entry(state="requested", description="Rollback", actor="octocat", counted=False)
    page = open_page(browser)
    assert "by octocat" in page.text
    assert "late or repeated" not in page.text


def test_only_what_is_in_progress_looks_so(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.change(phase="in_progress", run=Run("5", State.IN_PROGRESS))
    rows.new_entry(state="in_progress", description="1 of 2")
    rows.new_entry(state="in_progress", description="2 of 2")
    assert signs(browser) == ["running", "begun", "running"]
    rows.end()
    assert signs(browser) == ["good", "begun", "begun"]


def signs(browser: FlaskClient) -> list[str]:
    """Of the state and of the entries."""
    found = [svg["class"] for svg in open_page(browser).all("svg")]
    return [name.removeprefix("sign sign-") for name in found]


def test_a_rollback_shows_no_commit_as_its_ref(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment(ref=SHA)
    assert f"Version {SHA[:7]} Requested by" in open_page(browser).text


def test_it_has_an_icon(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    [icon] = [link for link in open_page(browser).all("link") if link["rel"] == "icon"]
    response = browser.get(icon["href"])
    assert (response.status_code, response.mimetype) == (200, "image/svg+xml")


def test_it_shows_what_was_sent_to_slack(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.slack("main", "#deploys", ts="1.1")
    rows.slack("alert", "#oncall", error="type /invite @relay in #oncall")
    text = open_page(browser).text
    assert "sent to #deploys" in text
    assert "Slack: not sent to #oncall: type /invite @relay in #oncall" in text


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ({"canary": True}, '{ "canary": true }'),
        ('{"canary": 1}', '{ "canary": 1 }'),
        ("plain", '"plain"'),
        ({}, None),
        ("", None),
        (None, None),
    ],
)
def test_the_payload_is_shown_where_there_is_one(
    rows: Rows, browser: FlaskClient, payload: Any, shown: str | None
) -> None:
    rows.deployment(payload=payload)
    page = open_page(browser)
    assert len(page.all("details")) == (shown is not None)
    assert shown is None or f"Payload {shown}" in page.text


def test_output_is_shown_as_lines_with_their_colours(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.printed(b"\x1b[31mred\x1b[0m <b>not bold</b>\x07\n")
    line = '<span class="fg1">red</span> &lt;b&gt;not bold&lt;/b&gt;␇'
    shown = f'<div id="output" class="log"><div id="L1"><a href="#L1">1</a>{line}</div>\n</div>'
    assert shown in browser.get(page_url()).text


def test_a_long_output_is_shown_from_its_end(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    at_byte = rows.printed(b"the first output")
    for _ in range(5):
        at_byte = rows.printed(b"x" * (PAGE_OUTPUT // 4), at_byte)
    at_byte = rows.printed(b"the last output", at_byte)
    page = open_page(browser)
    assert "Only the end of it is shown" in page.text
    assert "the first output" not in page.text
    assert page.text.count("the last output") == 1
    assert str(at_byte) in [found.get("data-offset") for found in page.all("p")]


def test_missing_output_is_mentioned(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    assert "No output yet" in open_page(browser).text
    rows.end()
    assert "No output was kept" in open_page(browser).text

"""The page of a deployment: whom it opens to, and what it says."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from handlers.contract import Run, State
from tests.web.viewing import ASKED, SHA, Rows, Seen, app, links, look, page_url
from webhook.security.signing import LINK_DAYS
from webhook.timing import Timing, utc_now
from webhook.web.stream import PAGE_OUTPUT


@pytest.fixture
def rows(store_url: str) -> Rows:
    return Rows(store_url)


@pytest.fixture
def browser(store_url: str) -> Iterator[FlaskClient]:
    with app(store_url) as made:
        yield made.test_client()


def refused(response: TestResponse, status: int) -> Seen:
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
        page = refused(browser.get(f"/deployments/acme/web/1{path}?key={wrong}"), 403)
        assert "newest link from GitHub's deployment status or from Slack" in page.text
    assert refused(browser.get(f"/deployments/acme/web/1{path}"), 403)


@pytest.mark.parametrize(("deployment_id", "repo"), [(9, "acme/web"), (1, "acme/other")])
def test_what_is_not_there_is_said_to_be_unknown(
    rows: Rows, browser: FlaskClient, deployment_id: int, repo: str
) -> None:
    rows.deployment()
    url = page_url(deployment_id, repo)
    assert "knows no deployment" in refused(browser.get(url), 404).text
    assert refused(browser.get(url.replace("?", "/events?")), 404)


def test_the_case_of_the_repository_does_not_matter(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment(repo="Acme/Web")
    assert "Acme/Web" in browser.get(page_url(1, "acme/WEB")).text


def test_a_store_that_is_away_is_said(rows: Rows) -> None:
    timing = Timing(connection_within=timedelta(seconds=0.2))
    with app("postgresql://127.0.0.1:1/none", store_timing=timing) as made:
        response = made.test_client().get(page_url())
    assert "store does not answer" in refused(response, 503).text
    assert int(response.headers["Retry-After"]) > 0


def test_it_says_what_who_where_and_how_it_stands(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment(description="the new form", task="deploy:eu", ref="feature/x y")
    rows.change(
        phase="in_progress",
        status_description="3 of 8",
        handler="drone",
        started_at=ASKED,
        deadline=ASKED + timedelta(minutes=30),
        environment_url="https://staging.acme.io",
        run=Run("5", State.IN_PROGRESS, "https://drone.acme.io/5"),
    )
    page = look(browser)
    for words in (
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
        assert words in page.text
    assert {
        "https://github.com/acme/web",
        "https://github.com/acme/web/tree/feature/x%20y",
        f"https://github.com/acme/web/commit/{SHA}",
        "https://staging.acme.io",
        "https://drone.acme.io/5",
    } <= set(page.links())


@pytest.mark.parametrize(
    ("environment", "production", "words"),
    [
        ("eu", True, "to eu production"),
        ("production", True, "to production"),
        ("eu", False, "to eu"),
    ],
)
def test_production_is_marked(
    rows: Rows, browser: FlaskClient, environment: str, production: bool, words: str
) -> None:
    rows.deployment(environment=environment, production_environment=production)
    response = browser.get(page_url())
    heading = Seen(response.text.partition("<h1>")[2].partition("</h1>")[0])
    assert heading.text == f"acme/web {words}"
    assert any("production" in span.get("class", "") for span in heading.all("span")) == production


def test_a_deployment_that_is_over_says_how_long_it_took(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    end = ASKED + timedelta(seconds=130)
    rows.change(phase="failure", started_at=ASKED, ended_at=end, deadline=end)
    page = look(browser)
    assert "Failed" in page.text
    assert "Took 2m10s" in page.text
    assert "Deadline" not in page.text


def test_each_step_has_its_anchor_time_and_words(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    sent = rows.step(state="queued", description="accepted", outbox="sent")
    waiting = rows.step(state="in_progress", outbox="claimed", error="GitHub answers 502")
    refusal = rows.step(state="failure", outbox="rejected", error="the App was removed")
    late = rows.step(state="odd", actor="drone[bot]", log_url="https://ci.io/7", counted=False)
    page = look(browser)
    assert [li["id"] for li in page.all("li")] == [
        f"entry-{number}" for number in (sent, waiting, refusal, late)
    ]
    assert len(page.all("time")) >= 4
    assert all(moment["datetime"].endswith("+00:00") for moment in page.all("time"))
    assert "Sent to GitHub" in page.text
    assert "Not sent to GitHub yet: GitHub answers 502" in page.text
    assert "GitHub rejected it: the App was removed" in page.text
    assert "by drone[bot] log late or repeated: changed nothing" in page.text
    assert "https://ci.io/7" in page.links()


def test_what_a_person_requested_is_not_marked_as_late(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.step(state="requested", description="Rollback", actor="octocat", counted=False)
    page = look(browser)
    assert "by octocat" in page.text
    assert "late or repeated" not in page.text


def test_it_says_what_slack_was_told(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.slack("main", "#deploys", ts="1.1")
    rows.slack("alert", "#oncall", error="type /invite @relay in #oncall")
    text = look(browser).text
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
    page = look(browser)
    assert len(page.all("details")) == (shown is not None)
    assert shown is None or f"Payload {shown}" in page.text


def test_output_is_shown_as_plain_text(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.printed(b"\x1b[31mred\x1b[0m <b>not bold</b>\x07\n")
    shown = '<pre id="output">\nred &lt;b&gt;not bold&lt;/b&gt;␇\n</pre>'
    assert shown in browser.get(page_url()).text


def test_a_long_output_is_shown_from_its_end(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    at_byte = rows.printed(b"the first words")
    for _ in range(5):
        at_byte = rows.printed(b"x" * (PAGE_OUTPUT // 4), at_byte)
    at_byte = rows.printed(b"the last words", at_byte)
    page = look(browser)
    assert "Only the end of it is shown" in page.text
    assert "the first words" not in page.text
    assert page.text.count("the last words") == 1
    assert str(at_byte) in [found.get("data-offset") for found in page.all("p")]


def test_without_output_it_says_so(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    assert "No output yet" in look(browser).text
    rows.end()
    assert "No output was kept" in look(browser).text

"""What the page of a deployment cannot be made to do, and what its headers forbid."""

import pytest
from flask.testing import FlaskClient

from handlers.contract import Run, State
from tests.web.viewing import Rows, Seen, Stream, open_page, page_url, served

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def with_evil_everywhere(rows: Rows) -> None:
    rows.deployment(
        repo_url="javascript:alert(1)",
        environment=EVIL,
        ref=EVIL,
        sha=EVIL,
        task=EVIL,
        creator=EVIL,
        description=EVIL,
        payload={EVIL: EVIL},
    )
    rows.change(
        phase="in_progress",
        status_description=EVIL,
        handler=EVIL,
        environment_url="javascript:alert(1)",
        run=Run(EVIL, State.IN_PROGRESS, "javascript:alert(1)"),
    )
    entry = {"state": EVIL, "description": EVIL, "log_url": "javascript:alert(1)"}
    rows.new_entry(actor=EVIL, environment_url="data:text/html,x", **entry)
    rows.new_entry(outbox="rejected", error=EVIL, **entry)
    rows.slack("main", f"#{EVIL}", error=EVIL)
    rows.printed(EVIL.encode())


def test_nothing_from_outside_becomes_markup(rows: Rows, browser: FlaskClient) -> None:
    with_evil_everywhere(rows)
    page = open_page(browser)
    assert page.all("img") == []
    assert all(script.get("src") for script in page.all("script"))
    assert not any(name.startswith("on") for _, found in page.elements for name in found)
    download = page_url().replace("?", "/output.txt?")
    others = [url for url in page.links() if url != download]
    assert all(url.startswith(("http", "#")) or url == "" for url in others)
    assert page.text.count(" ".join(EVIL.split())) >= 15


def test_nothing_from_outside_becomes_markup_later(rows: Rows, store_url: str) -> None:
    with_evil_everywhere(rows)
    with served(store_url) as base:
        state = Stream(base).until(lambda event: event.name == "state")[-1]
    page = Seen("".join(state.data["parts"].values()))
    assert page.all("img") == page.all("script") == []
    assert page.links() == []


def test_links_to_other_sites_send_no_referrer(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.new_entry(log_url="https://ci.io/7")
    for link in open_page(browser).all("a"):
        assert link.get("rel") == "noopener noreferrer" or not link["href"].startswith("http")


def test_it_can_be_read_without_javascript(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.new_entry(description="accepted")
    rows.printed(b"what it printed")
    page = open_page(browser)
    assert "Without JavaScript this page does not renew itself. Load it again" in page.text
    assert "accepted" in page.text
    assert "what it printed" in page.text
    # The policy forbids what is inline, and the key is in addresses of this page only.
    assert all(script.get("src") for script in page.all("script"))
    assert page.all("style") == []
    assert not any("style" in found for _, found in page.elements)
    own, _, key = page_url().partition("?key=")
    keyed = [url for url in page.links() if "key=" in url]
    assert keyed == [f"{own}/output.txt?key={key}"]
    assert browser.get(page_url()).text.count("key=") == len(keyed)


@pytest.mark.parametrize(
    "url",
    [page_url(), page_url(9), "/deployments/acme/web/1", "/deployments/-/static/live.js"],
    ids=["the page", "unknown", "no key", "a file"],
)
def test_every_response_has_strict_security_headers(
    rows: Rows, browser: FlaskClient, url: str
) -> None:
    rows.deployment()
    headers = browser.get(url).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == ("public, max-age=300" if "static" in url else "no-store")


def test_other_parts_of_the_app_allow_no_script(browser: FlaskClient) -> None:
    assert "script-src" not in browser.get("/elsewhere").headers["Content-Security-Policy"]


def test_its_files_are_there(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    page = open_page(browser)
    files = [page.all("script")[0]["src"], page.all("link")[0]["href"]]
    assert [browser.get(file).status_code for file in files] == [200, 200]

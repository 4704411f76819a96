"""The components of the pages, and the frame around every page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.web.gallery import EVIL, URL, add_gallery
from tests.web.viewing import Rows, Seen, app, open_page
from webhook.web.flask_app import RelayFlask
from webhook.web.navigation import navigation

STATIC = Path("webhook/web/static")
TEMPLATES = Path("webhook/web/templates")
# What a browser loads for the board: everything but what single pages add.
FRAME = ("tokens.css", "pages.css", "components.css", "ui.js", "icon.svg")


@pytest.fixture
def browser(store_url: str) -> Iterator[FlaskClient]:
    with app(store_url) as created:
        add_gallery(created)
        yield created.test_client()


@pytest.fixture
def gallery(browser: FlaskClient) -> Seen:
    response = browser.get(URL)
    assert response.status_code == 200
    return Seen(response.text)


def ids(page: Seen) -> list[str]:
    return [found["id"] for _, found in page.elements if "id" in found]


def test_nothing_in_a_component_becomes_markup(gallery: Seen) -> None:
    assert gallery.all("img") == []
    assert all(script.get("src") for script in gallery.all("script"))
    assert not any("style" in found for _, found in gallery.elements)
    assert not any(name.startswith("on") for _, found in gallery.elements for name in found)
    assert gallery.text.count(" ".join(EVIL.split())) >= 12


def test_every_element_that_is_named_by_another_is_there(gallery: Seen) -> None:
    known = ids(gallery)
    assert len(known) == len(set(known))
    for _, found in gallery.elements:
        named = [found.get(name, "") for name in ("for", "aria-describedby", "aria-labelledby")]
        assert set(" ".join(named).split()) <= set(known)
    assert found_by_label(gallery)


def found_by_label(page: Seen) -> bool:
    """Every field has a label, but for those that stand in theirs."""
    labelled = {found.get("for", "") for found in page.all("label")}
    fields = [found for name in ("input", "select", "textarea") for found in page.all(name)]
    named = [found for found in fields if found.get("type") not in ("hidden", "checkbox")]
    return all(found["id"] in labelled | {"times", "theme"} for found in named)


def test_links_out_send_no_referrer(gallery: Seen) -> None:
    out = [link for link in gallery.all("a") if link["href"].startswith("http")]
    inside = [link for link in gallery.all("a") if link["href"].startswith("/")]
    assert {link.get("rel") for link in out} <= {"noopener noreferrer", None}
    assert len(out) >= 4
    assert not any("noopener" in link.get("rel", "") for link in inside)


def test_times_are_right_without_javascript(gallery: Seen) -> None:
    times = gallery.all("time")
    assert {found["datetime"] for found in times} == {"2026-03-01T12:00:00+00:00"}
    assert len(times) == 3
    assert gallery.text.count("01 Mar, 12:00:00 UTC") == 3


def test_the_frame_leads_everywhere_and_says_where_one_is(browser: FlaskClient) -> None:
    page = Seen(browser.get(URL).text)
    nav = [link for link in page.all("a") if "data-go" in link]
    assert [link["href"] for link in nav] == ["/", "/deliveries", "/insights", "/health", "/audit"]
    assert page.all("a")[0]["href"] == "#main"
    assert [found.get("action") for found in page.all("form")][:2] == ["/", "/signout"]
    assert {"name": "csrf", "value": "a token", "type": "hidden"} in page.all("input")
    assert "octocat" in page.text


@pytest.mark.parametrize(
    ("path", "current"),
    [
        ("/", "Board page"),
        ("/environments/acme/web/production", "Board true"),
        ("/deliveries/8f1c", "Deliveries true"),
        ("/audit", "Audit page"),
        ("/signin", ""),
    ],
)
def test_the_navigation_says_where_one_is(path: str, current: str) -> None:
    found = [one for one in navigation(path) if one.current]
    assert " ".join(f"{one.text} {one.current}" for one in found) == current


def test_who_has_only_a_link_gets_no_navigation(store_url: str, browser: FlaskClient) -> None:
    Rows(store_url).deployment()
    page = open_page(browser)
    assert not any("data-go" in link for link in page.all("a"))
    searches = [one["action"] for one in page.all("form") if one.get("role") == "search"]
    assert searches == ["/deployments/acme/web/1#output-title"]  # in this page's own output
    forms = [one for one in page.all("form") if one.get("role") != "search"]
    assert forms == [{"method": "dialog", "class": "buttons"}]


def test_the_icon_shows_the_state(store_url: str, browser: FlaskClient) -> None:
    Rows(store_url).deployment()
    Rows(store_url).change(phase="failure")
    icon = next(link for link in open_page(browser).all("link") if link["rel"] == "icon")
    assert "icon-bad.svg" in icon["href"]
    assert browser.get(icon["href"]).status_code == 200
    for tone in ("good", "bad", "error", "running", "waiting", "hold"):
        assert (STATIC / f"icon-{tone}.svg").exists()


def test_the_theme_that_was_chosen_comes_with_the_page(browser: FlaskClient) -> None:
    browser.set_cookie("theme", "dark")
    assert Seen(browser.get(URL).text).all("html")[0]["data-theme"] == "dark"
    browser.set_cookie("theme", "x y")
    assert "data-theme" not in Seen(browser.get(URL).text).all("html")[0]


def test_an_error_page_says_the_way_back(browser: FlaskClient) -> None:
    response = browser.get("/nowhere")
    page = Seen(response.text)
    assert response.status_code == 404
    assert "/" in page.links()
    assert "What to do" in page.text


def test_a_bug_gives_people_a_page_and_says_nothing_of_itself(browser: FlaskClient) -> None:
    response = browser.get("/broken", headers={"Accept": "text/html"})
    page = Seen(response.text)
    assert response.status_code == 500
    assert "/" in page.links()
    assert "a bug" not in page.text
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert not Seen(browser.get("/broken").text).links()


def test_the_frame_is_light(browser: FlaskClient) -> None:
    sizes = [(STATIC / name).stat().st_size for name in FRAME]
    assert sum(sizes) < 40_000
    assert len(browser.get(URL).data) < 40_000


def test_every_template_is_compiled_before_it_is_needed(browser: FlaskClient) -> None:
    created = browser.application
    assert isinstance(created, RelayFlask)
    created.compile_templates()
    compiled = {name for _, name in created.jinja_env.cache or ()}
    assert compiled >= {file.name for file in TEMPLATES.iterdir()}


def test_only_the_tokens_hold_values_of_colour() -> None:
    for file in STATIC.glob("*.css"):
        if file.name != "tokens.css":
            assert not re.search(r"#[0-9a-f]{3,8}\b|rgb\(|hsl\(", file.read_text()), file.name

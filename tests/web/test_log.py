"""The output on a page: lines with their colours, progress bars, the part that is shown."""

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from tests.web.test_terminal_text import PIECES
from tests.web.viewing import Rows, Seen, Stream, events_url, page_url, served
from webhook.web.pages.deployment.log import LONGEST_LINE, Log

STATIC = Path(__file__).parents[2] / "webhook/web/static"
LINE = b"%05d a line of what was printed\n"


def lines(raw: bytes) -> list[str]:
    return Log().add(raw, final=True)[0]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\x1b[1;31mred\x1b[0m plain", '<span class="fg1 bo">red</span> plain'),
        (
            b"\x1b[92mgood\x1b[39m \x1b[4mx",
            '<span class="fg10">good</span> <span class="un">x</span>',
        ),
        (
            b"\x1b[38;5;208mor\x1b[38;2;0;0;255mblue",
            '<span class="fg1">or</span><span class="fg4">blue</span>',
        ),
        (b"\x1b[38;5;196mx\x1b[38:5:240my", '<span class="fg1">x</span><span class="fg8">y</span>'),
        # Dark text on a ground, whatever colour it asks for.
        (b"\x1b[37;41mon red\x1b[m", '<span class="bg1">on red</span>'),
        (b"\x1b[7mback\x1b[31mto", '<span class="iv">back</span><span class="bg1">to</span>'),
        (b"<b>\x1b]0;t\x07\x1b[2J&", "&lt;b&gt;&amp;"),
        (b"\x1b[;;;;999mx\x1b[38;5my\x1b[38;9;1mz", "xyz"),
    ],
)
def test_colours_become_classes(raw: bytes, shown: str) -> None:
    assert lines(raw) == [shown]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b" 9%\r10%\r\n", "10%"),
        (b"downloading\rdone", "doneloading"),
        (b"downloading\r\x1b[Kdone", "done"),
        (b"downloading\x1b[2K\rdone", "done"),
        (b"|\b/\b-", "-"),
        (b"abc\r\x1b[31mX", '<span class="fg1">X</span>bc'),
        (b"last\r", "last"),
    ],
)
def test_a_progress_bar_is_as_in_a_terminal(raw: bytes, shown: str) -> None:
    assert lines(raw) == [shown]


def test_a_line_without_end_shows_its_end() -> None:
    [shown] = lines(b"first" + b"x" * (3 * LONGEST_LINE) + b"last")
    assert shown.startswith("…x")
    assert shown.endswith("xlast")
    assert len(shown) == LONGEST_LINE + 1


@given(PIECES, st.lists(st.integers(1, 5), min_size=1))
def test_the_lines_are_the_same_wherever_the_pieces_end(raw: bytes, sizes: list[int]) -> None:
    log, offset, arrived, index = Log(), 0, 0, 0
    shown: list[str] = []
    while arrived < len(raw):
        arrived += sizes[index % len(sizes)]
        index += 1
        continued = log.begun
        added, used = log.add(raw[offset:arrived], final=arrived >= len(raw))
        shown = [*(shown[:-1] if continued and added else shown), *added]
        offset += used
    while shown and not shown[-1]:
        shown.pop()
    whole = lines(raw)
    while whole and not whole[-1]:
        whole.pop()
    assert shown == whole


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_colour_can_be_read() -> None:
    css = (STATIC / "tokens.css").read_text()
    colours = dict(re.findall(r"--((?:ansi|screen)-\w+): (#\w{6})", css))
    found = re.search(r"--screen: light-dark\((#\w{6}), (#\w{6})\)", css)
    assert found
    palette = [colours[f"ansi-{number}"] for number in range(16)]
    for screen in found.groups():
        for colour in (*palette, colours["screen-quiet"], colours["screen-ink"]):
            assert _contrast(colour, screen) >= 4.5, (colour, screen)
    for colour in (*palette, colours["screen-ink"]):
        assert _contrast(colours["screen-dark"], colour) >= 4.5, colour


@pytest.fixture
def rows(store_url: str) -> Rows:
    rows = Rows(store_url)
    rows.deployment()
    return rows


def numbers(page: str) -> list[int]:
    return [int(found) for found in re.findall(r'<div id="L(\d+)">', page)]


def shown_at(browser: FlaskClient, query: str = "") -> str:
    return browser.get(page_url() + query).text


def test_each_line_can_be_linked_to_however_long_the_output_is(
    rows: Rows, browser: FlaskClient
) -> None:
    count = 20_000
    at_byte = 0
    for first in range(1, count + 1, 5000):
        piece = b"".join(LINE % number for number in range(first, first + 5000))
        at_byte = rows.printed(piece, at_byte)
    page = shown_at(browser)
    end = numbers(page)
    assert end[-1] == count
    assert end == list(range(end[0], count + 1))
    assert f'<a href="#L{count}">{count}</a>{count:05} a line' in page
    assert len(page.encode()) < 60_000
    for query, number in (
        ("&line=9000", 9000),
        (f"&until={end[0] - 1}", end[0] - 1),
        ("&line=1", 1),
    ):
        page = shown_at(browser, query)
        there = numbers(page)
        assert number in there
        assert there == list(range(there[0], there[-1] + 1))
        assert f'<a href="#L{number}">{number}</a>{number:05} a line' in page
        links = Seen(page).links()
        assert f"{page_url()}&line={there[-1] + 1}#L{there[-1] + 1}" in links
        earlier = f"{page_url()}&until={there[0] - 1}#L{there[0] - 1}"
        assert (earlier in links) == (there[0] > 1)
        assert any("until=" in link for link in links) == (there[0] > 1)
        # It does not show the end, so that what is printed next does not follow.
        assert not any("data-offset" in found for found in Seen(page).all("p"))
    assert numbers(shown_at(browser, "&line=99999999"))[-1] == count
    assert numbers(shown_at(browser, "&line=x")) == end


def test_the_page_goes_on_with_the_line_that_was_begun(rows: Rows, store_url: str) -> None:
    at_byte = rows.printed(b"one\n\x1b[32mtw")
    rows.change(phase="in_progress")
    with served(store_url) as base:
        stream = Stream(base, url=events_url() + f"&lines=1&from={at_byte}")
        stream.until(lambda event: event.name == "state")
        at_byte = rows.printed(b"o\nthr", at_byte)
        seen = stream.until(lambda event: event.name == "lines")[-1]
        assert seen.data == {
            "lines": ['<span class="fg2">two</span>', '<span class="fg2">thr</span>'],
            "continued": True,
        }
        assert seen.id == str(at_byte)
        rows.printed(b"\r\x1b[Kee", at_byte)
        again = Stream(base, url=events_url() + "&lines=1", last_event_id=seen.id)
        assert again.until(lambda event: event.name == "lines")[-1].data == {
            "lines": ["ee"],
            "continued": True,
        }


def test_it_can_be_downloaded_as_text(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment(2, environment='a"/../é\n')
    at_byte = 0
    for piece in (b"\x1b[31mred\x1b[0m\n", b"x" * 300_000, b"\nthe end \xf0\x9f"):
        at_byte = rows.printed(piece, at_byte)
    response = browser.get(page_url().replace("?", "/output.txt?"))
    assert response.text == f"red\n{'x' * 300_000}\nthe end \ufffd"
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert (
        response.headers["Content-Disposition"] == 'attachment; filename="acme-web-staging-1.txt"'
    )
    name = browser.get(page_url(2).replace("?", "/output.txt?")).headers["Content-Disposition"]
    assert re.fullmatch(r'attachment; filename="[a-z0-9.-]+-2\.txt"', name)
    assert browser.get("/deployments/acme/web/1/output.txt?key=x").status_code == 403
    assert browser.get(page_url(2).replace("/2?", "/1/output.txt?")).status_code == 403

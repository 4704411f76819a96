"""All lines of an output that have a text, on the page of a deployment."""

import re
from html import unescape

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from tests.web.test_terminal_text import PIECES
from tests.web.viewing import Rows, Seen, page_url
from webhook.web.pages.deployment.log import Log, plain
from webhook.web.pages.deployment.log_search import MOST_LINES, MOST_READ, Found, search
from webhook.web.pages.deployment.log_window import BLOCK, PAGE_HTML

PATH = "/deployments/acme/web/1"
KEY = page_url().partition("?key=")[2]
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e"


def found_in(raw: bytes, wanted: str, begin: int = 0, after: int = 0, seconds: float = 60) -> Found:
    def read(begin: int, end: int) -> bytes:
        return raw[begin:end]

    return search(read, wanted, begin=begin, after=after, beside=100, seconds=seconds)


def numbers(found: Found) -> list[int]:
    return [one.number for one in found.lines]


def shown(found: Found) -> list[str]:
    """The lines, with their matches in brackets."""
    return [
        "".join(f"[{part.text}]" if part.matches else part.text for part in one.parts)
        for one in found.lines
    ]


@given(st.lists(st.one_of(PIECES, st.sampled_from([b"\b", b"\x1b[2K", b"\x1b[K"]))).map(b"".join))
def test_text_is_that_of_the_lines_that_are_shown(raw: bytes) -> None:
    html, _ = Log().add(raw, final=True)
    lines = [unescape(re.sub(r"</?span[^>]*>", "", one)) for one in html]
    assert plain(raw).rstrip("\n") == "\n".join(lines).rstrip("\n")


@pytest.mark.parametrize(
    ("raw", "wanted", "line"),
    [
        (b"an ERROR, no error", "Error", "an [ERROR], no [error]"),
        (b"an er\x1b[1;31mror\x1b[0m here", "error", "an [error] here"),
        (b"\x1b]0;error\x07a title is no line", "error", None),
        ("Ärger in der STRASSE, Straße 1".encode(), "ärger", "[Ärger] in der STRASSE, Straße 1"),
        ("Ärger in der STRASSE, Straße 1".encode(), "straße", "Ärger in der [STRASSE], [Straße] 1"),
        ("ß, then here".encode(), "HERE", "ß, then [here]"),
        ("日本語のログ".encode(), "語の", "日本[語の]ログ"),
        (b"10% done\r99% done", "10%", None),
        (b"10% done\r99% done", "99% D", "[99% d]one"),
        (b"all of it (.*) [a-z]", ".*", "all of it ([.*]) [a-z]"),
        (b"nothing like a pattern", "a.*n", None),
        (b"aaaaa", "aa", "[aaaa]a"),
        (b"one\ntwo", "one two", None),
        (b"x" * 500 + b"here" + b"y" * 500, "here", f"…{'x' * 60}[here]{'y' * 236}…"),
    ],
)
def test_matches_are_marked_in_their_lines(raw: bytes, wanted: str, line: str | None) -> None:
    assert shown(found_in(raw, wanted)) == ([] if line is None else [line])


@pytest.mark.parametrize("before", range(8))
def test_matches_across_the_borders_of_blocks_are_found_once(before: int) -> None:
    wanted = "süß!"  # six bytes
    line = b"an ordinary line, of which there are many\n"
    lead = line * (BLOCK // len(line))
    at_border = lead + b"." * (BLOCK - len(lead) - before) + wanted.encode()
    found = found_in(at_border + b"\nafter\n" + line * 9000 + wanted.encode(), wanted)
    last = lead.count(b"\n") + 1
    assert numbers(found) == [last, last + 9002]
    # And where a line has no end for longer than a block.
    whole = b"." * (BLOCK - before) + wanted.encode() + b"." * BLOCK + b"\n" + wanted.encode()
    found = found_in(whole, wanted)
    assert numbers(found) == [1, 2]
    assert all("[süß!]" in one for one in shown(found))


def test_so_much_is_searched_at_a_time_and_then_it_goes_on() -> None:
    line = b"%07d is an ordinary line, and x\n"
    raw = (
        b"".join(line % number for number in range(1, MOST_READ // len(line % 1) + 9000))
        + b"the end"
    )
    total = raw.count(b"\n") + 1
    first = found_in(raw, "the end")
    assert (first.count, first.whole, first.more) == (0, False, first.last)
    assert first.summary == f"No line with “the end” in lines 1 to {first.last:,}"
    assert MOST_READ - BLOCK <= len(line % 1) * first.last <= MOST_READ + BLOCK
    then = found_in(raw, "the end", after=first.last, begin=len(line % 1) * first.last)
    assert (numbers(then), then.whole, then.more) == ([total], True, 0)
    assert then.summary == f"1 line with “the end” from line {first.last + 1:,} on"
    assert found_in((b"." * 31 + b"\n") * (MOST_READ // 32), "the end").whole
    endless = found_in(b"x" * (MOST_READ + BLOCK) + b"\nthe end", "the end")
    assert (endless.count, endless.torn, endless.more) == (0, True, 1)


@pytest.fixture
def rows(store_url: str) -> Rows:
    rows = Rows(store_url)
    rows.deployment()
    return rows


def opened(browser: FlaskClient, url: str) -> Seen:
    response = browser.get(url)
    assert response.status_code == 200
    assert len(response.data) < 70_000
    return Seen(response.text)


def link(page: Seen, part: str) -> str:
    [found] = dict.fromkeys(one for one in page.links() if part in one)
    return found


def test_who_has_the_link_searches_all_of_it_without_javascript(
    rows: Rows, browser: FlaskClient
) -> None:
    at_byte = 0
    for first in range(1, 20_001, 5000):
        lines = [b"%05d what was printed" % one for one in range(first, first + 5000)]
        lines[2999] += b": dis\x1b[31mk is f\x1b[0mull"
        at_byte = rows.printed(b"\n".join(lines) + b"\n", at_byte)
    page = opened(browser, page_url())
    assert "18000 what" not in page.text
    # The form: its own page, the key, and the text.
    [form] = [one for one in page.all("form") if one.get("role") == "search"]
    fields = {one["name"]: one.get("value", "") for one in page.all("input") if "name" in one}
    assert (form["method"], form["action"]) == ("get", f"{PATH}#output-title")
    assert fields == {"key": KEY, "find": ""}

    page = opened(browser, f"{PATH}?key={KEY}&find=DISK+is")
    assert "4 lines with “DISK is”." in page.text
    assert "03000 what was printed: disk is full" in page.text
    assert len(page.all("mark")) == 4
    to_lines = [one for one in page.links() if "line=" in one]
    query = f"{PATH}?key={KEY}&find=DISK+is&line="
    assert to_lines == [f"{query}{one}#L{one}" for one in (3000, 8000, 13000, 18000)]
    assert link(page, "output.txt") == f"{PATH}/output.txt?key={KEY}"
    assert page.all("input")[1]["value"] == "DISK is"
    # What is printed next is no part of it.
    assert not any("data-offset" in one for one in page.all("p"))

    page = opened(browser, to_lines[1].partition("#")[0])
    assert {"id": "L8000"} in page.all("div")
    assert f"{PATH}?key={KEY}&find=DISK+is#output-title" in page.links()
    earlier = opened(browser, link(page, "until=").partition("#")[0])
    assert "07900 what was printed" in earlier.text
    assert "L8000" not in [one.get("id") for one in earlier.all("div")]

    page = opened(browser, f"{PATH}?key={KEY}&find=no%20such")
    assert "No line with “no such”. Back to the output" in page.text
    assert f"{PATH}?key={KEY}" in page.links()


def test_the_first_matches_are_shown_and_the_others_a_link_away(
    rows: Rows, browser: FlaskClient
) -> None:
    count = 0
    at_byte = rows.printed(b"".join(b"%04d\n" % one for one in range(1, 1001)))
    url, seen = f"{PATH}?key={KEY}&find=0", []
    while url:
        page = opened(browser, url.partition("#")[0])
        there = [int(found) for one in page.links() for found in re.findall(r"#L(\d+)$", one)]
        assert len(there) <= MOST_LINES
        seen += there
        count += 1
        url = next((one for one in page.links() if "after=" in one), "")
        assert ("The first " in page.text) == bool(url)
        assert ("Search from the beginning" in page.text) == (count > 1)
    assert seen == [one for one in range(1, 1001) if "0" in f"{one:04}"]
    page = opened(browser, f"{PATH}?key={KEY}&find=0&after=5000")
    assert "The output has no line 5,001." in page.text
    # Long lines, of which fewer are shown.
    rows.printed(b"".join(b"&<>" * 200 + b" wide\n" for _ in range(300)), at_byte)
    html = browser.get(f"{PATH}?key={KEY}&find=%26").text
    assert "of 300 lines" in html
    assert len(html) < PAGE_HTML + 25_000


def test_hostile_text_stays_text(rows: Rows, browser: FlaskClient) -> None:
    rows.printed(f"before {EVIL} after\nnothing".encode())
    for wanted in (EVIL, EVIL + "x", "<", "\0", "a\nb", "%", "\ud800"):
        response = browser.get(
            PATH, query_string={"key": KEY, "find": wanted.encode("utf-8", "replace")}
        )
        page = Seen(response.text)
        assert response.status_code == 200
        assert page.all("img") == []
        assert all(script.get("src") for script in page.all("script"))
        assert "\u202e" not in response.text
    page = Seen(browser.get(PATH, query_string={"key": KEY, "find": EVIL}).text)
    assert len(page.all("mark")) == 1
    assert page.all("input")[1]["value"] == EVIL.replace("\u202e", "\ufffd")
    long = Seen(browser.get(f"{PATH}?key={KEY}&find={'x' * 201}").text)
    assert "Search for 200 characters at most: this has 201, and nothing was searched." in long.text
    assert "nothing" in long.text
    # The key is that of the address, however it is written there.
    odd = KEY + '"><img src=x>'
    assert Seen(browser.get(PATH, query_string={"key": odd}).text).all("img") == []


def test_output_that_takes_long_is_searched_in_parts() -> None:
    raw = b"a\x08b\n" * (3 * BLOCK // 4)
    found = found_in(raw, "b", seconds=0)
    assert not found.whole
    assert 0 < found.last < 3 * BLOCK // 4
    assert found.count == found.last
    rest = found_in(raw, "b", begin=4 * found.last, after=found.last)
    assert rest.whole
    assert rest.count + found.count == 3 * BLOCK // 4


def test_a_line_that_is_printed_over_to_the_end_is_there() -> None:
    found = found_in(b"a\r" * BLOCK, "a")
    assert (numbers(found), found.last) == ([1], 1)


def test_without_output_there_is_nothing_to_search(rows: Rows, browser: FlaskClient) -> None:
    page = opened(browser, f"{PATH}?key={KEY}&find=x")
    assert "No output yet" in page.text
    assert browser.get(f"{PATH}?key=wrong&find=x").status_code == 403
    rows.printed(b"xyz")
    assert "It goes on" in opened(browser, f"{PATH}?key={KEY}&find=x").text
    rows.end()
    assert "It goes on" not in opened(browser, f"{PATH}?key={KEY}&find=x").text

"""Text for people: on one line, and lists that are cut."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from webhook.text import LONGEST_URL, and_more, one_line, web_url


def test_a_long_description_is_cut_with_an_ellipsis() -> None:
    assert one_line("x" * 140) == "x" * 140
    assert one_line("x" * 141) == "x" * 139 + "…"
    assert one_line("one two", 5) == "one…"


def test_lines_become_one_without_marks_that_reverse_text() -> None:
    assert one_line(" a\r\n\tb\x00\x1b[0m \u202egnp.exe ") == "a b [0m gnp.exe"


@given(st.text(), st.integers(1, 200))
def test_a_shortened_text_fits_on_one_line(text: str, limit: int) -> None:
    short = one_line(text, limit)
    assert len(short) <= limit
    assert short == one_line(short, limit)
    assert not {unicodedata.category(char) for char in short} & {"Cc", "Cs", "Zl", "Zp"}


def test_a_shortened_list_shows_how_many_are_left_out() -> None:
    assert and_more([]) == ""
    assert and_more(["a", "b", "c"]) == "a, b, c"
    assert and_more(["a", "b", "c"], most=3) == "a, b, c"
    assert and_more(["a", "b", "c"], most=2) == "a, b and 1 more"
    assert and_more(["a", "b", "c"], limit=15) == "a, b, c"
    assert and_more(["aaa", "bbb", "ccc", "ddd"], limit=17) == "aaa and 3 more"
    assert and_more(["a" * 30, "b"], limit=10) == "a" * 30 + " and 1 more"


@given(st.lists(st.text(min_size=1, max_size=9), min_size=2), st.integers(20, 200))
def test_a_list_fits_into_its_limit(names: list[str], limit: int) -> None:
    assert len(and_more(names, limit=limit)) <= limit


def test_pages_link_to_long_web_addresses_and_to_nothing_else() -> None:
    url = "https://ci.example.com/".ljust(LONGEST_URL, "x")
    assert web_url(url) == url
    assert web_url(f"{url}x") == ""
    assert web_url("javascript:alert(1)") == ""

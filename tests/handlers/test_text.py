from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.text import MAX_URL, STARS, Redactor, one_line, redacted, web_url, worth_hiding

LETTERS = "ab\n"
texts = st.text(LETTERS, max_size=60)
secrets = st.frozensets(st.text(LETTERS, min_size=1, max_size=12), max_size=4)
cuts = st.lists(st.integers(0, 60), max_size=6)


def in_pieces(text: bytes, hidden: frozenset[str], at: list[int]) -> bytes:
    edges = [0, *sorted(at), len(text)]
    redactor = Redactor(hidden)
    pieces = [redactor.feed(text[a:b]) for a, b in pairwise(edges)]
    return b"".join([*pieces, redactor.finish()])


@given(texts, secrets, cuts)
def test_where_the_stream_is_cut_makes_no_difference(
    text: str, hidden: frozenset[str], at: list[int]
) -> None:
    at = [min(cut, len(text)) for cut in at]
    assert in_pieces(text.encode(), hidden, at) == redacted(text, hidden).encode()


@given(texts, secrets, cuts)
def test_no_secret_remains(text: str, hidden: frozenset[str], at: list[int]) -> None:
    at = [min(cut, len(text)) for cut in at]
    remains = in_pieces(text.encode(), hidden, at)
    assert not any(secret in remains for secret in worth_hiding(hidden))


@given(texts, secrets, cuts)
def test_what_is_no_secret_stays(text: str, hidden: frozenset[str], at: list[int]) -> None:
    at = [min(cut, len(text)) for cut in at]
    expected, covered = b"", 0
    raw = text.encode()
    spans = sorted(
        (begin, begin + len(secret))
        for secret in worth_hiding(hidden)
        for begin in range(len(raw))
        if raw.startswith(secret, begin)
    )
    for begin, end in spans:
        if begin >= covered:
            expected += raw[covered:begin] + STARS
        covered = max(covered, end)
    assert in_pieces(raw, hidden, at) == expected + raw[covered:]


def test_what_overlaps_is_hidden_together() -> None:
    assert redacted("an abcdef here", ["abcd", "cdef"]) == "an *** here"


def test_a_long_secret_hides_the_short_one_in_it() -> None:
    assert redacted("hunter2hunter", ["hunter", "hunter2hunter"]) == "***"


def test_what_cannot_be_a_secret_is_not_held_back() -> None:
    redactor = Redactor(["hunter2"])
    assert redactor.feed(b"an ordinary line\n") == b"an ordinary line\n"
    assert redactor.feed(b"and hunt") == b"and "
    assert redactor.feed(b"ing\n") == b"hunting\n"


def test_very_short_values_are_not_redacted() -> None:
    assert redacted("a yes is a yes", ["a", "yes", ""]) == "a yes is a yes"


def test_each_longer_line_of_a_key_is_a_secret() -> None:
    key = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nq8Zz\n-----END KEY-----\n"
    assert redacted("got MIIEpAIBAAKCAQEA", [key]) == "got ***"
    assert redacted(f"[{key}]", [key]) == "[***\n]"
    assert redacted("q8Zz", [key]) == "q8Zz"


def test_a_stream_of_nothing_but_secrets_needs_no_memory() -> None:
    redactor = Redactor(["aaaa"])
    sizes = [len(redactor.feed(b"a" * 1000)) for _ in range(5)]
    assert sizes == [3, 0, 0, 0, 0]
    assert redactor.feed(b"b") + redactor.finish() == b"b"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("  no \n\t such\r\n target ", "no such target"),
        ("no\u001b[31m \u202ered", "no[31m red"),
        ("a\u200bb\0c\ud800d", "abcd"),
        ("a \0 b", "a b"),
        ("a\u2028b\u00a0c", "a b c"),
    ],
)
def test_a_line_is_plain_text(text: str, line: str) -> None:
    assert one_line(text) == line


def test_a_long_line_is_shortened_and_marked() -> None:
    assert one_line("12345", 5) == "12345"
    assert one_line("123456", 5) == "1234…"
    assert one_line(" " * 40 + "1", 5) == "1"
    assert one_line("1" * 10**7, 5) == "1111…"


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "http://localhost:8080/a?b=c#d",
        "HTTPS://shop.example/ü",
        "https://[::1]:8443/x",
    ],
)
def test_people_may_be_sent_to_a_web_address(url: str) -> None:
    assert web_url(url) == url


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        "shop.example",
        "/path",
        "javascript:alert(1)",
        "ftp://shop.example",
        "https://",
        "https://user:pw@shop.example/",
        "https://shop.example/a b",
        "https://shop.example/\n",
        'https://shop.example/"><script>',
        "https://[::1/",
        "https://shop.example:99999/",
        "https://shop.example/" + "a" * MAX_URL,
    ],
)
def test_people_are_sent_nowhere_else(value: object) -> None:
    assert web_url(value) == ""

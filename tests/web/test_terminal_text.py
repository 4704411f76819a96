"""What a run printed, as text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webhook.web.pages.terminal_text import take

PIECES = st.lists(
    st.sampled_from(
        [bytes([code]) for code in b"a\n\r\x1b\x07[]0;mP(B\\\xc3\xa9\xff"]
        + [b"\xf0\x9f", b"\x9a\x80", b"\x1b[31m", b"\x1b]0;t"]
    ),
    max_size=30,
).map(b"".join)


def whole(raw: bytes) -> str:
    return take(raw, final=True)[0]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;a title\x07shown\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\", "shownlink"),
        (b"\x1b(Bplain\x1b7\x1b8", "plain"),
        (b"\x1bPdevice\x1b\\shown", "shown"),
        (b"10%\r50%\r\x1b[K100%\r\n", "10%\n50%\n100%\n"),
        (b"a\tb\x00\x07\x08\x7f", "a\tb␀␇␈␡"),
        ("\u202egnp.exe \u2066x \u009b31m".encode(), "\ufffdgnp.exe \ufffdx \ufffd31m"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        (b"an escape alone \x1b", "an escape alone ␛"),
        (b"\x1b]never ended\nnext line", "␛]never ended\nnext line"),
    ],
)
def test_control_sequences_go_and_control_characters_are_harmless(raw: bytes, text: str) -> None:
    assert whole(raw) == text


@pytest.mark.parametrize("end", [b"\xf0\x9f\x9a", b"\xc3", b"\x1b", b"\x1b[3", b"\x1b]0;t", b"\r"])
def test_what_is_unfinished_waits(end: bytes) -> None:
    assert take(b"done" + end) == ("done", 4)


def test_what_never_ends_does_not_wait_for_ever() -> None:
    raw = b"\x1b]" + b"x" * 5000
    assert take(raw) == ("␛]" + "x" * 5000, len(raw))


@given(PIECES, st.lists(st.integers(1, 5), min_size=1))
@example(b"\xc3\x1b[0m\xa9", [1])
def test_the_text_is_the_same_wherever_the_pieces_end(raw: bytes, sizes: list[int]) -> None:
    text, offset, arrived, index = "", 0, 0, 0
    while arrived < len(raw):
        arrived += sizes[index % len(sizes)]
        index += 1
        piece, used = take(raw[offset:arrived])
        text += piece
        offset += used
    assert text + whole(raw[offset:]) == whole(raw)

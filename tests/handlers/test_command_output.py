import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.supervision.output import KEPT_END, Output

LINE = "::environment_url::https://shop.example.com/x?y=1\n"


def kept(path: Path, *pieces: bytes, limit: int = 1024, secrets: tuple[str, ...] = ()) -> Output:
    output = Output(path, limit, secrets)
    for piece in pieces:
        output.write(piece)
    output.close()
    return output


def test_output_within_the_limit_is_kept_as_it_is(tmp_path: Path) -> None:
    kept(tmp_path / "output", b"a" * 1000, b"b" * 24)
    assert (tmp_path / "output").read_bytes() == b"a" * 1000 + b"b" * 24


def test_output_a_little_beyond_the_limit_is_kept_as_well(tmp_path: Path) -> None:
    kept(tmp_path / "output", b"a" * 1000, b"b" * 1000)
    assert (tmp_path / "output").read_bytes() == b"a" * 1000 + b"b" * 1000


def test_of_long_output_the_middle_is_left_out(tmp_path: Path) -> None:
    kept(tmp_path / "output", b"a" * 1024, b"b" * 1_000_000, b"c" * KEPT_END)
    notice = b"\n[... 1,000,000 bytes left out ...]\n"
    assert (tmp_path / "output").read_bytes() == b"a" * 1024 + notice + b"c" * KEPT_END


@pytest.mark.parametrize("secrets", [("hunter2",), ("hunter2", "ter2hun")])
@pytest.mark.parametrize("filler", range(7))
def test_the_end_of_long_output_shows_no_part_of_a_secret(
    tmp_path: Path, filler: int, secrets: tuple[str, ...]
) -> None:
    """Wherever what is dropped is cut."""
    text = b"-" * 1024 + b"." * filler + b"hunter2" * 50_000 + b" done"
    pieces = [text[at : at + 65_536] for at in range(0, len(text), 65_536)]
    output = kept(tmp_path / "output", *pieces, secrets=secrets)
    assert output.last_line().strip("* ") == "done"
    end = (tmp_path / "output").read_bytes().partition(b"left out ...]\n")[2]
    assert end.strip(b"*") == b" done"


@pytest.mark.parametrize("cut", range(0, len(LINE) + 1, 5))
def test_the_url_is_found_far_beyond_the_limit(tmp_path: Path, cut: int) -> None:
    long = b"progress\n" * 40_000
    pieces = [long, long, long + LINE[:cut].encode(), LINE[cut:].encode() + long, long]
    assert kept(tmp_path / "output", *pieces).environment_url == LINE[19:-1]


def test_output_can_be_read_as_it_comes(tmp_path: Path) -> None:
    output = Output(tmp_path / "output", 1024, ["hunter2"])
    output.write(b"no newline yet")
    assert (tmp_path / "output").read_bytes() == b"no newline yet"
    output.close()


def test_a_full_disk_costs_the_output_but_not_the_run(tmp_path: Path) -> None:
    # A limit on the size of files stands in for the disk: both make write(2) fail.
    program = (
        "import signal, resource; from pathlib import Path\n"
        "from tests.handlers.test_command_output import kept\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (100, {resource.RLIM_INFINITY}))\n"
        f"print(kept(Path({str(tmp_path / 'output')!r}), b'a' * 300, b'the end').last_line())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "a" * 300 + "the end\n", done.stderr
    assert (tmp_path / "output").read_bytes() == b"a" * 100


@given(st.lists(st.integers(0, 120), max_size=5))
def test_the_url_is_found_wherever_the_stream_is_cut(at: list[int]) -> None:
    text = f"one\n{LINE}two\n".encode()
    edges = [0, *sorted(min(cut, len(text)) for cut in at), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    found = kept(Path("/dev/null"), *pieces).environment_url
    assert found == "https://shop.example.com/x?y=1"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("::environment_url::http://a", "http://a"),
        ("::environment_url::HTTPS://a\r\n", "HTTPS://a"),
        (f"{LINE}::environment_url::https://later\n", "https://later"),
        (f"{LINE}::environment_url::javascript:alert(1)\n", LINE[19:-1]),
        ("x::environment_url::https://a\n", ""),
        ("::environment_url::https://a b\n", ""),
        ("::environment_url::https://\n", ""),
        ("::environment_url::ftp://a\n", ""),
        (f"::environment_url::https://{'a' * 3000}\n", ""),
        (f"{'a' * 100_000}\n{LINE}", LINE[19:-1]),
    ],
)
def test_only_a_line_with_an_http_address_counts(text: str, url: str) -> None:
    assert kept(Path("/dev/null"), text.encode()).environment_url == url


def test_a_line_that_never_ends_is_not_searched(tmp_path: Path) -> None:
    pieces = [b"a" * 5000, LINE.encode(), LINE.encode()]
    assert kept(tmp_path / "output", *pieces[:2]).environment_url == ""
    assert kept(tmp_path / "output", *pieces).environment_url == LINE[19:-1]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"one\ntwo\n\n  \n", "two"),
        (b"10%\r50%\rdone: 100%\r\n", "done: 100%"),
        (b"\x1b[1;31merror:\x1b[0m it\x07 broke\n\x1b[0m\n", "error: it broke"),
        (b"\x1b]0;title\x07really\n", "really"),
        (b"caf\xe9\n", "caf�"),
        ("ab\u202ecd".encode(), "abcd"),
        (b"", ""),
        (b"\0\0\0", ""),
    ],
)
def test_the_last_line_is_plain_text(text: bytes, line: str) -> None:
    assert kept(Path("/dev/null"), text).last_line() == line


def test_the_last_line_shows_no_secret() -> None:
    output = kept(Path("/dev/null"), b"login with hunter2 failed\n", secrets=("hunter2",))
    assert output.last_line() == "login with *** failed"

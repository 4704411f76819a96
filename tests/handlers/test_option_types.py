from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from handlers.options import BaseUrl, Duration, File, Text


def read(kind: Any, value: Any) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://drone.acme.io", "https://drone.acme.io"),
        ("https://drone.acme.io/", "https://drone.acme.io"),
        ("http://10.0.0.7:8080/drone/", "http://10.0.0.7:8080/drone"),
        ("http://localhost", "http://localhost"),
        ("http://build_host.internal.", "http://build_host.internal."),
        ("https://[::1]:8443/x", "https://[::1]:8443/x"),
        ("https://bücher.example/ä", "https://bücher.example/ä"),
        ("HTTPS://Acme.io", "HTTPS://Acme.io"),
    ],
)
def test_an_address_is_taken_without_its_last_slash(written: str, meant: str) -> None:
    assert read(BaseUrl, written) == meant


@pytest.mark.parametrize(
    "written",
    [
        *("", "drone.acme.io", "//drone.acme.io", "ftp://drone.acme.io", "https:/drone.acme.io"),
        *("https://", "https://:80", "https:///x", "https://h:0", "https://h:99999", "https://h:x"),
        *(
            "https://a b",
            "https://h/a b",
            "https://h\n",
            " https://h",
            "https://h/\t",
            "https://h;",
        ),
        *(
            "https://{host}",
            "https://h/{ref}",
            "https://h\\x",
            "https://a..b",
            "https://-a.example",
        ),
        *("https://1.2.3", "https://256.1.1.1", "https://[::1", "https://[::g]"),
        f"https://{'a' * 64}.example",
    ],
)
def test_what_could_never_be_called_is_refused(written: str) -> None:
    with pytest.raises(ValidationError, match="is not an address; write https://host"):
        read(BaseUrl, written)


@pytest.mark.parametrize("end", ["?", "?a=b", "#", "#a"])
def test_an_address_that_paths_are_added_to_ends_with_its_own(end: str) -> None:
    with pytest.raises(ValidationError, match="no user, password, query or fragment"):
        read(BaseUrl, f"https://h/x{end}")


@pytest.mark.parametrize("user", ["@", "octocat@", "octocat:hunter2@"])
def test_an_address_has_no_user(user: str) -> None:
    with pytest.raises(ValidationError, match="no user, password, query or fragment"):
        read(BaseUrl, f"https://{user}h")


@pytest.mark.parametrize("written", ["x", "my token", "schlüssel", "a=b&c"])
def test_a_text_is_one_line(written: str) -> None:
    assert read(Text, written) == written


@pytest.mark.parametrize("written", ["x\n", "x\r\ny", " x", "x ", " ", "\t", "x\0", "x\u2028y"])
def test_a_text_that_would_break_a_header_is_refused(written: str) -> None:
    with pytest.raises(ValidationError, match="has a line break, or a space at an end"):
        read(Text, written)


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 character"):
        read(Text, "")


def test_a_duration_is_written_as_everywhere() -> None:
    assert read(Duration, "1h30m") == timedelta(minutes=90)
    with pytest.raises(ValidationError, match="'5 min' is not a duration"):
        read(Duration, "5 min")


def test_a_file_has_to_be_there(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(ValidationError, match="there is no file"):
        read(File, str(file))
    file.touch()
    assert read(File, str(file)) == str(file)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("ca.pem", "must be an absolute path"),
        ("/", "there is no file"),
        ("/x\0", "there is no file"),
        ("/" + "x" * 5000, "there is no file"),
    ],
)
def test_what_is_no_file_is_refused(written: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        read(File, written)

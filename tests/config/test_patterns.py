"""Patterns of refs are RE2's, whatever they hold."""

import time

import pytest

from webhook.config.patterns import (
    error_of,
    full_ref_error,
    is_anchored,
    is_found,
    warning_of,
)


@pytest.mark.parametrize(
    ("pattern", "found", "missed"),
    [
        ("main", "maintenance", "master"),
        ("^main$", "main", "maintenance"),
        ("^main$", "main", "main\n"),  # Python's re finds it there
        (r"^v\d+\.\d+\z", "v1.2", "v1.2-rc"),
        (r"\pL", "é", "1"),
        (r"\Qa.b\E", "a.b", "axb"),
        ("(?U)a+b", "aab", "b"),
        ("(?P<n>a)|(?<m>b)", "b", "c"),
        ("^[[:alpha:]]+$", "main", "main1"),
        (r"v.*\..*\..*", "rc-v1.2.3", "v1.2"),
    ],
)
def test_what_gitploy_finds_is_found(pattern: str, found: str, missed: str) -> None:
    assert error_of(pattern) == ""
    assert is_found(pattern, found)
    assert not is_found(pattern, missed)


@pytest.mark.parametrize(
    ("pattern", "error"),
    [
        ("", "is empty; write a pattern, or remove the key"),
        ("*", "is not a pattern of RE2 (no argument for repetition operator: *); see "),
        (r"(a)\1", r"is not a pattern of RE2 (invalid escape sequence: \1); see "),
        ("(?<!a)b", "is not a pattern of RE2 ("),
        ("((a{100}){100}){100}", "is not a pattern of RE2 (invalid repetition size: {100}); see "),
        ("a" * 1001, "is longer than 1000 characters; write a shorter one"),
        ("\ud800", "holds half a character; remove it"),
    ],
)
def test_an_invalid_one_is_said(
    pattern: str, error: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert error_of(pattern).startswith(error)
    assert capfd.readouterr() == ("", "")  # RE2 itself would write to stderr


def test_no_pattern_takes_long() -> None:
    began = time.process_time()
    assert not is_found("^(a+)+$", "a" * 5000 + "!")
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("pattern", "anchored"),
    [
        ("^main$", True),
        (r"\Amain\z", True),
        ("^(main|dev)$", True),
        ("^main|v1$", False),
        ("^[|(]main$", True),
        ("^refs/tags/v.*", True),
        ("^main", False),
        ("main$", False),
        (r"^main\$", False),
    ],
)
def test_whether_it_says_where_the_text_begins_and_ends(pattern: str, anchored: bool) -> None:
    assert is_anchored(pattern) is anchored
    assert bool(warning_of(pattern)) is not anchored


@pytest.mark.parametrize(
    ("pattern", "never"),
    [
        ("^main$", True),
        (r"\Amain", True),
        ("^(main|dev)$", True),
        ("^v[0-9]+", True),
        ("^refs/main$", True),
        ("^refs/head/main$", True),
        ("^heads/main$", True),
        ("main$", False),
        ("^refs/", False),
        ("^refs/heads/", False),
        ("^refs/t", False),
        ("^ref", False),
        ("^", False),
        ("^refs/(heads|tags)/v", False),
        ("^refs/heads/main$", False),
        ("^(refs/heads/)?main$", False),
        ("(?i)^REFS/HEADS/MAIN$", False),
        ("^main$|^refs/heads/next$", False),
        ("^.*/main$", False),
        ("^[^/]+/tags/v", False),
        ("^(?s:.)*$", False),
    ],
)
def test_what_no_full_name_of_a_ref_begins_with_is_never_found(pattern: str, never: bool) -> None:
    assert bool(full_ref_error(pattern)) is never


def test_the_full_name_is_said() -> None:
    remedy = "write ^refs/heads/main$ for a branch, ^refs/tags/main$ for a tag"
    assert all(full_ref_error(one).endswith(remedy) for one in ("^main$", "^refs/main$"))

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from handlers.errors import Rejected
from handlers.options import (
    BaseUrl,
    Duration,
    File,
    Template,
    Text,
    fill,
    fill_argument,
    payload_values,
)
from tests.handlers.runs import a_deployment


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
def test_an_address_loses_its_last_slash(written: str, meant: str) -> None:
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
def test_what_could_never_be_called_is_rejected(written: str) -> None:
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
def test_a_text_that_would_break_a_header_is_rejected(written: str) -> None:
    with pytest.raises(ValidationError, match="has a line break, or a space at an end"):
        read(Text, written)


def test_an_empty_text_is_rejected() -> None:
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
    ("written", "message"),
    [
        ("ca.pem", "must be an absolute path"),
        ("/", "there is no file"),
        ("/x\0", "there is no file"),
        ("/" + "x" * 5000, "there is no file"),
    ],
)
def test_what_is_no_file_is_rejected(written: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read(File, written)


templates: TypeAdapter[str] = TypeAdapter(Template)


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{ref}", "main"),
        ("--sha={sha}", "--sha=f95f852bd8fca8fcc58a9a2d6c842781e32a215e"),
        ("{environment}/{repo}/{task}", "production/acme/shop/deploy"),
        ("{id} by {creator}", "1234567890 by octocat"),
        ("{{ref}} {{{ref}}}", "{ref} {main}"),
        ("nothing to fill", "nothing to fill"),
        (
            "{report_url}",
            "https://relay.example/api/v3/repos/acme/shop/deployments/1234567890/statuses",
        ),
        ("--api={report_api}", "--api=https://relay.example/api/v3"),
        ("Bearer {report_token}", "Bearer grt_a-token-for-one-deployment"),
    ],
)
def test_a_placeholder_becomes_the_deployments_value(template: str, filled: str) -> None:
    assert fill(templates.validate_python(template), a_deployment()) == filled


@pytest.mark.parametrize(
    ("payload", "key", "filled"),
    [
        ({"region": "eu"}, "region", "eu"),
        ({"a": {"b": {"c": 7}}}, "a.b.c", "7"),
        ({"dry": False}, "dry", "false"),
        ({"hosts": ["a", "b"]}, "hosts", '["a","b"]'),
        ('{"region": "eu"}', "region", "eu"),
        ({"my-key": ""}, "my-key", ""),
    ],
)
def test_payload_keys_are_filled_in(payload: Any, key: str, filled: str) -> None:
    assert fill(f"{{payload.{key}}}", a_deployment(payload=payload)) == filled


@pytest.mark.parametrize(
    "payload", [None, "", "text", "[1]", "{", {}, {"a": 1}, {"a": {"b": None}}, {"a": {}}, [1]]
)
def test_a_missing_payload_key_is_named(payload: Any) -> None:
    with pytest.raises(Rejected, match=r"payload has no 'a\.b'"):
        fill("{payload.a.b}", a_deployment(payload=payload))


@pytest.mark.parametrize(
    "template",
    ["{branch}", "{}", "{payload}", "{payload.}", "{payload.a..b}", "{ref.name}", "{report}"],
)
def test_an_unknown_placeholder_is_rejected_early(template: str) -> None:
    known = r"known: \{ref\}.*\{report_token\}, \{payload\.key\}"
    with pytest.raises(ValidationError, match=f"unknown placeholder .*{known}"):
        templates.validate_python(template)


@pytest.mark.parametrize("template", ["{", "}", "{ref", "ref}", "{{ref}", "{a{ref}}"])
def test_a_lone_brace_is_rejected_early(template: str) -> None:
    with pytest.raises(ValidationError, match="a lone"):
        templates.validate_python(template)


@pytest.mark.parametrize("value", ["a\nb", "a\0", "\x7f", "\x1b[31m", "\x85", "\ud800"])
def test_control_characters_are_not_filled_in(value: str) -> None:
    with pytest.raises(Rejected, match=r"\{payload\.x\} contains a control character"):
        fill("--x={payload.x}", a_deployment(payload={"x": value}))


def test_a_value_does_not_become_an_option() -> None:
    deployment = a_deployment(payload={"host": "--force"})
    with pytest.raises(Rejected, match=r"'--force', filled in for '{payload\.host}'"):
        fill_argument("{payload.host}", deployment)
    assert fill_argument("--host={payload.host}", deployment) == "--host=--force"


def test_values_are_not_filled_again() -> None:
    assert fill("{ref}", a_deployment(ref="{sha}")) == "{sha}"


@pytest.mark.parametrize(
    ("payload", "values"),
    [
        (
            {"region": "eu", "count": 7, "dry": False},
            {"region": "eu", "count": "7", "dry": "false"},
        ),
        ({"a": {"b": [1, None]}, "none": None}, {"a": '{"b":[1,null]}', "none": "null"}),
        ('{"region": "eu"}', {"region": "eu"}),
        ({}, {}),
        (None, {}),
        ("text", {}),
        ('["text"]', {}),
    ],
)
def test_a_payloads_own_keys_become_text(payload: Any, values: dict[str, str]) -> None:
    assert payload_values(a_deployment(payload=payload)) == values

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from handlers.errors import Rejected
from handlers.options import Template, fill, fill_argument, payload_values
from tests.handlers.runs import a_deployment

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
def test_an_unknown_placeholder_is_refused_early(template: str) -> None:
    known = r"known: \{ref\}.*\{report_token\}, \{payload\.key\}"
    with pytest.raises(ValidationError, match=f"unknown placeholder .*{known}"):
        templates.validate_python(template)


@pytest.mark.parametrize("template", ["{", "}", "{ref", "ref}", "{{ref}", "{a{ref}}"])
def test_a_lone_brace_is_refused_early(template: str) -> None:
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

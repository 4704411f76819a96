"""The values of a deployment change neither the host nor the shape of the address."""

from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from handlers.endpoint.options import Address, fill_address
from handlers.errors import Rejected
from tests.handlers.runs import a_deployment

addresses: TypeAdapter[str] = TypeAdapter(Address)
# What GitHub may send; control characters and halves of characters are rejected elsewhere.
values = st.text(st.characters(exclude_categories=("Cc", "Cs")))


def filled(template: str, **facts: Any) -> str:
    return str(fill_address(addresses.validate_python(template), a_deployment(**facts)))


@given(value=values)
@example("../../admin")
@example("%2e%2e")
@example("//evil.example")
@example("x?y=1#z")
@example("@evil.example")
@example("\\..\\admin")
def test_a_value_stays_one_segment_and_one_parameter(value: str) -> None:
    template = "https://deploy.acme.io:8443/v1/{payload.x}/start?env={payload.x}&by={creator}"
    try:
        url = filled(template, payload={"x": value})
    except Rejected:
        parts = value.replace("\\", "/").split("/")
        assert not value or {".", ".."} & set(parts)
        return
    path, _, query = url.removeprefix("https://deploy.acme.io:8443").partition("?")
    _, version, segment, last = path.split("/")
    assert (version, unquote(segment), last) == ("v1", value, "start")
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    assert pairs == [("env", value), ("by", "octocat")]


@pytest.mark.parametrize(
    ("template", "meant"),
    [
        ("https://h", "https://h/"),
        ("https://h?a={ref}", "https://h/?a=main"),
        ("http://h:8080/a%20b/ü?c=%2F&d=+", "http://h:8080/a%20b/%C3%BC?c=%2F&d=+"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://[::1]:8443/{id}", "https://[::1]:8443/1234567890"),
        ("https://h/{{x}}/100%/%{ref}", "https://h/%7Bx%7D/100%25/%25main"),
        ("https://h/@x/a:b;c,d='e'(f)*~!$&g", "https://h/@x/a:b;c,d='e'(f)*~!$&g"),
        ("HTTPS://H:443/X", "https://h/X"),
    ],
)
def test_what_the_operator_wrote_is_kept(template: str, meant: str) -> None:
    url = fill_address(addresses.validate_python(template), a_deployment())
    assert f"{url.origin()}{url.raw_path_qs}" == meant


@pytest.mark.parametrize("value", ["..", ".", "a/../b", "..\\b", "../x"])
def test_a_value_cannot_climb_out_of_its_path(value: str) -> None:
    with pytest.raises(Rejected, match="changes the tool's address"):
        filled("https://h/x/{environment}/y", environment=value)
    assert filled("https://h/x?env={environment}", environment=value)


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_segment_cannot_be_removed(value: str) -> None:
    with pytest.raises(Rejected, match="changes the tool's address"):
        filled("https://h/x/{payload.a}{payload.a}/y", payload={"a": value})


def test_dots_and_slashes_as_such_are_fine() -> None:
    assert filled("https://h/{ref}/x", ref="release/v1.2..3") == "https://h/release%2Fv1.2..3/x"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("deploy.acme.io/x", "is not an address"),
        ("ftp://h/x", "is not an address"),
        ("https://h/a b", "is not an address"),
        ("https://h/a\n", "is not an address"),
        ("https://{ref}/x", "in the path and the query of an address only"),
        ("https://deploy.{payload.zone}.io/x", "in the path and the query of an address only"),
        ("https://h:{payload.port}/", "in the path and the query|is not an address"),
        ("{payload.url}", "is not an address"),
        ("https://{{h}}/", "in the path and the query"),
        ("https://user:pw@h/x", "no user, password or fragment; use `headers`"),
        ("https://h/x#y", "no user, password or fragment"),
        ("https://h/x?token={report_token}", "would show in the tool's logs"),
        ("https://h/{branch}", "unknown placeholder '{branch}'"),
        ("https://h/{", "a lone '{'"),
    ],
)
def test_an_address_that_cannot_work_is_rejected_early(template: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        addresses.validate_python(template)

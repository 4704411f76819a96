"""What placeholders fill into an address that people follow."""

from typing import Any

import pytest

from handlers.errors import Rejected
from handlers.links import check_link, fill_link
from tests.handlers.runs import a_deployment


def link(template: str, **facts: Any) -> str:
    return fill_link(check_link(template), a_deployment(**facts))


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("https://a.io/tree/{ref}", "https://a.io/tree/feature/%C3%BCn%C3%AF"),
        ("https://a.io/{environment}/x", "https://a.io/prod%20%C3%BC/x"),
        (
            "https://a.io/?r={ref}&e={environment}",
            "https://a.io/?r=feature/%C3%BCn%C3%AF&e=prod%20%C3%BC",
        ),
        ("https://a.io?q={payload.odd}", "https://a.io?q=a%26b%3Dc%23d%3F%2B%25"),
        ("https://a.io/{payload.odd}/x", "https://a.io/a&b=c%23d%3F+%25/x"),
        ("https://a.io/#{payload.odd}", "https://a.io/#a%26b%3Dc%23d%3F%2B%25"),
        ("https://a.io/ü%20%/{{x}}?y=ü#ü", "https://a.io/%C3%BC%20%25/%7Bx%7D?y=%C3%BC#%C3%BC"),
        ("https://bücher.io/{sha}", "https://xn--bcher-kva.io/abc"),
        ("https://{payload.name}.a.io", "https://xn--nder--fra7o.a.io"),
        ("https://{payload.host}/{sha}", "https://v1.a.io:8443/abc"),
        ("http://a.io:{payload.port}/", "http://a.io:8080/"),
        ("{payload.url}", "https://b.io/a%20%C3%BC?x=%20y#z"),
        ("{payload.url}&ref={ref}", "https://b.io/a%20%C3%BC?x=%20y#z&ref=feature/%C3%BCn%C3%AF"),
    ],
)
def test_a_value_stays_in_its_part_of_the_address(template: str, filled: str) -> None:
    payload = {
        "odd": "a&b=c#d?+%",
        "name": "Änder-ü",
        "host": "v1.a.io:8443",
        "port": 8080,
        "url": "https://b.io/a ü?x=%20y#z",
    }
    found = link(template, ref="feature/ünï", environment="prod ü", sha="abc", payload=payload)
    assert found == filled


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("https://{payload.x}.a.io/", "Prod EU"),
        ("https://{payload.x}.a.io/", "feature/x"),
        ("https://{payload.x}.a.io/", "evil.io/"),
        ("https://{payload.x}.a.io/", "evil.io#"),
        ("https://{payload.x}.a.io/", "me@evil.io:80"),
        ("https://{payload.x}.a.io/", ""),
        ("https://{payload.x}.a.io/", "-x"),
        ("https://{payload.x}.a.io/", "x" * 64),
        ("https://a.io/{payload.x}/b", ".."),
        ("https://a.io/b/{payload.x}", "../c"),
        ("https://a.io/{payload.x}", "a\nb"),
        ("https://a.io/{payload.x}", "a" * 3000),
        ("https://a.io/{payload.y}", "x"),
        ("{payload.x}", "javascript:alert(1)"),
        ("{payload.x}", "https://me:word@b.io"),
        ("{payload.x}", "shop.a.io"),
    ],
)
def test_a_value_that_makes_no_address_is_rejected(template: str, value: str) -> None:
    with pytest.raises(Rejected):
        link(template, payload={"x": value})

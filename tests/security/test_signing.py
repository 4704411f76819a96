"""The tokens with which tools report: their scope and lifetime."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import ReportCredentials
from webhook.logs import HIDDEN, Redactor
from webhook.security.signing import Links, ReportClaims, ReportTokens

KEY = "a secret key of the tests"
TOKENS = ReportTokens("https://relay.example.com", [KEY])
LATER = datetime.now(UTC) + timedelta(hours=1)


def report(tokens: ReportTokens = TOKENS, environment: str = "Production") -> ReportCredentials:
    return tokens.credentials("acme/site", 7, environment, LATER)


def test_a_tool_gets_the_address_of_its_deployments_statuses_and_the_base_url_of_the_api() -> None:
    assert report().api == "https://relay.example.com/api/v3"
    assert report().url == "https://relay.example.com/api/v3/repos/acme/site/deployments/7/statuses"


def test_a_token_names_its_deployment_and_environment() -> None:
    assert TOKENS.read(report().token) == ReportClaims(7, "production")


def test_the_same_deployment_always_gets_the_same_token() -> None:
    elsewhere = ReportTokens("https://relay.example.com", [KEY])
    assert report(elsewhere).token == report().token
    assert report(environment="staging").token != report().token


def test_a_token_ends_with_the_deadline() -> None:
    past = TOKENS.credentials(
        "acme/site", 7, "production", datetime.now(UTC) - timedelta(seconds=1)
    )
    assert TOKENS.read(past.token) is None


def test_a_token_is_valid_as_long_as_its_key_is_set() -> None:
    token = report().token
    assert ReportTokens("", ["a new key", KEY]).read(token) == ReportClaims(7, "production")
    assert ReportTokens("", ["a new key"]).read(token) is None


def test_the_newest_key_signs() -> None:
    token = report(ReportTokens("https://relay.example.com", ["a new key", KEY])).token
    assert ReportTokens("", ["a new key"]).read(token) is not None


def test_the_key_of_a_page_is_no_token() -> None:
    key = Links("", [KEY]).page("acme/site", 7).partition("key=")[2]
    assert TOKENS.read(f"grt_{key}") is None


def test_a_changed_token_is_invalid() -> None:
    token = report().token
    for at in range(len(token) - 1):
        other = "A" if token[at] != "A" else "B"
        assert TOKENS.read(token[:at] + other + token[at + 1 :]) is None
    assert TOKENS.read(token.removeprefix("grt_")) is None


@given(st.text())
def test_any_other_text_is_invalid(text: str) -> None:
    assert TOKENS.read(text) is None
    assert TOKENS.read(f"grt_{text}") is None


@given(st.text(min_size=1, max_size=255))
def test_a_token_of_any_environment_fits_into_a_header_and_is_hidden_whole(name: str) -> None:
    token = report(environment=name).token
    assert token.isascii()
    assert token.isprintable()
    assert len(token) < 4096
    claims = TOKENS.read(token)
    assert claims is not None
    assert claims.environment == name.lower()
    assert Redactor([]).text(f"with {token} in it") == f"with {HIDDEN} in it"


@pytest.mark.parametrize("around", ["token={}&x=1", '{{"a": "{}"}}', "x\n{}", "_{}", "{}: denied"])
def test_a_token_is_hidden_wherever_it_is(around: str) -> None:
    token = report().token
    line = around.format(token)
    assert Redactor([]).text(line) == around.format(HIDDEN)
    assert token not in Redactor([]).text(json.dumps(line))


def test_credentials_do_not_show_their_token() -> None:
    assert report().token not in repr(report())

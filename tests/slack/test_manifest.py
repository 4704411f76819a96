"""The scopes that the Slack app requests, in its manifest and by OAuth."""

from urllib.parse import parse_qs, urlsplit

import pytest

from webhook.settings import SlackSettings
from webhook.slack import manifest as slack_manifest
from webhook.slack.manifest import Host, required_scopes, with_purposes
from webhook.slack.oauth import authorize_url

BY_DEFAULT = ["channels:history", "chat:write", "groups:history", "users:read", "users:read.email"]


def _environ(scopes: tuple[str, ...] | None) -> dict[str, str]:
    return {} if scopes is None else {"GITPLOY_SLACK_BOT_SCOPES": ",".join(scopes)}


def by_oauth(scopes: tuple[str, ...] | None, *, actions_enabled: bool) -> list[str]:
    slack = SlackSettings.from_environ(
        _environ(scopes)
        | {"GITPLOY_SLACK_CLIENT_ID": "1.2", "GITPLOY_SLACK_CLIENT_SECRET": "0123456789-a-secret"}
        | ({"GITPLOY_SLACK_SIGNING_SECRET": "a-signing-secret"} if actions_enabled else {})
    )
    url = authorize_url(slack, "https://relay.acme.io/slack/signin", "a state")
    return parse_qs(urlsplit(url).query)["scope"][0].split(",")


def by_manifest(scopes: tuple[str, ...] | None) -> list[str]:
    host = Host.from_environ({"GITPLOY_SERVER_HOST": "relay.acme.io"} | _environ(scopes))
    manifest = slack_manifest.whole(host, socket_mode=False)
    found: list[str] = manifest["oauth_config"]["scopes"]["bot"]
    return found


def test_a_lost_post_and_a_person_can_be_found_by_default() -> None:
    assert by_oauth(None, actions_enabled=False) == BY_DEFAULT


@pytest.mark.parametrize("scopes", [None, ("chat:write",), ("chat:write", "users:read")])
def test_the_manifest_requests_the_scopes_of_an_installation(scopes: tuple[str, ...]) -> None:
    assert by_manifest(scopes) == by_oauth(scopes, actions_enabled=True)
    assert "commands" in by_manifest(scopes)


def test_the_variable_wins() -> None:
    assert by_oauth(("chat:write", "chat:write.public"), actions_enabled=False) == [
        "chat:write",
        "chat:write.public",
    ]


def test_the_page_explains_each_scope() -> None:
    assert all(scope.purpose for scope in with_purposes(by_oauth(None, actions_enabled=True)))


def test_the_relay_works_with_fewer_scopes_than_the_default() -> None:
    assert required_scopes(None, actions_enabled=False) == {"chat:write"}
    assert required_scopes(None, actions_enabled=True) == {"chat:write", "commands"}
    assert required_scopes(("chat:write", "users:read"), actions_enabled=False) == {
        "chat:write",
        "users:read",
    }

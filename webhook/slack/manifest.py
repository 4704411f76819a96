"""The Slack app for this relay: its manifest, and the bot scopes that it and OAuth request.

Source: docs.slack.dev/reference/app-manifest (names, at most 35 and 80 characters; a bot's name of
a-z, 0-9, -, _ and .; where Socket Mode is on, request URLs may be left out) and
docs.slack.dev/app-manifests/configuring-apps-with-app-manifests ("Sharing manifests").
Errors: `ConfigErrors`, with the variables that are wrong.
"""

import json
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

from webhook.settings import Address, SlackApp

POST = "chat:write"
COMMANDS = "commands"
# To find a message again whose response got lost: in public and in private channels.
HISTORY = frozenset({"channels:history", "groups:history"})
# To find the Slack user of a GitHub user by e-mail address, for mentions and permissions.
EMAIL = frozenset({"users:read", "users:read.email"})

_PURPOSES = {
    "chat:write": "post where it is invited",
    "chat:write.public": "post in public channels without being invited",
    "channels:history": "find its own messages again when a response got lost, in public channels",
    "groups:history": "find its own messages again when a response got lost, in private channels",
    "commands": "respond to /deploy",
    "users:read": "find the person in Slack who requested a deployment",
    "users:read.email": "find that person by e-mail address",
}


class Scope(NamedTuple):
    """`purpose`: what it is for; empty for one that the relay does not use."""

    name: str
    purpose: str


def bot_scopes(configured: Collection[str] | None, *, actions_enabled: bool) -> tuple[str, ...]:
    """The scopes to request: GITPLOY_SLACK_BOT_SCOPES, else what all features need.
    `actions_enabled`: people can request actions in Slack, by a command too."""
    requested = {POST, *HISTORY, *EMAIL} if configured is None else {*configured}
    return tuple(sorted(requested | ({COMMANDS} if actions_enabled else set())))


def required_scopes(configured: Collection[str] | None, *, actions_enabled: bool) -> frozenset[str]:
    """Of these, what a token must have. The relay works without the others, only less well."""
    scopes = {POST} if configured is None else configured
    return frozenset(bot_scopes(scopes, actions_enabled=actions_enabled))


def with_purposes(scopes: Iterable[str]) -> list[Scope]:
    return [Scope(name, _PURPOSES.get(name, "")) for name in scopes]


SIGNIN_PATH = "/slack/signin"
INTERACTIONS_PATH = "/slack/interactions"
COMMANDS_PATH = "/slack/commands"
EVENTS_PATH = "/slack/events"

NAME = "Gitploy Relay"
BOT = "gitploy-relay"
COMMAND = "/deploy"
USAGE = "owner/repo environment [ref] | status owner/repo"
# What ends a token: the relay stops using it at once.
EVENTS = ("app_uninstalled", "tokens_revoked")

_NEW_APP = "https://api.slack.com/apps?new_app=1&manifest_json="

Json = dict[str, Any]


class Host(Address, SlackApp):
    """The settings that the manifest needs; there may be no GitHub App yet."""

    @property
    def by_socket(self) -> bool:
        return bool(self.app_token)


def plain(host: Host, *, rotates: bool = False) -> Json:
    """As in Gitploy's guide: an app that only posts."""
    return _manifest(host, (POST,), rotates=rotates)


def whole(host: Host, *, socket_mode: bool, rotates: bool = False) -> Json:
    """With buttons, the command and events; by Socket Mode they need no address of ours."""
    manifest = _manifest(host, bot_scopes(host.scopes, actions_enabled=True), rotates=rotates)

    def at(key: str, path: str) -> Json:
        return {} if socket_mode else {key: f"{host.server_url}{path}"}

    command = {
        "command": COMMAND,
        **at("url", COMMANDS_PATH),
        "description": "Deploy, or see what is deployed",
        "usage_hint": USAGE,
        "should_escape": False,
    }
    manifest["features"]["slash_commands"] = [command]
    manifest["settings"] |= {
        "interactivity": {"is_enabled": True, **at("request_url", INTERACTIONS_PATH)},
        "event_subscriptions": {**at("request_url", EVENTS_PATH), "bot_events": list(EVENTS)},
        "socket_mode_enabled": socket_mode,
    }
    return manifest


def _manifest(host: Host, scopes: tuple[str, ...], *, rotates: bool) -> Json:
    return {
        "display_information": {
            "name": NAME,
            "description": "Posts deployments and their results in channels",
        },
        "features": {"bot_user": {"display_name": BOT, "always_online": True}},
        "oauth_config": {
            "redirect_urls": [f"{host.server_url}{SIGNIN_PATH}"],
            "scopes": {"bot": list(scopes)},
        },
        "settings": {
            "org_deploy_enabled": False,
            "socket_mode_enabled": False,
            "token_rotation_enabled": rotates,
        },
    }


def link(manifest: Json) -> str:
    """Opens Slack's page that creates the app, filled in."""
    return _NEW_APP + quote(json.dumps(manifest, separators=(",", ":")), safe="")

"""The Slack app as Slack can make it from a file, filled in for this relay.

Source: docs.slack.dev/reference/app-manifest (names, at most 35 and 80 characters; a bot's name of
a-z, 0-9, -, _ and .; where Socket Mode is on, request URLs may be left out) and
docs.slack.dev/app-manifests/configuring-apps-with-app-manifests ("Sharing manifests").
Errors: `ConfigErrors`, with the variables that are wrong.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from webhook import setting_values
from webhook.errors import ConfigErrors
from webhook.settings import VARIABLES

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

_PARSERS: dict[str, Callable[[str], Any]] = {
    "GITPLOY_SERVER_HOST": setting_values.host,
    "GITPLOY_SERVER_PROTO": setting_values.proto,
    "GITPLOY_SLACK_BOT_SCOPES": setting_values.slack_scopes,
    "GITPLOY_SLACK_APP_TOKEN": setting_values.app_token,
}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Host:
    """What the app has to know of this relay; there may be no GitHub App yet."""

    server_url: str
    scopes: tuple[str, ...]
    by_socket: bool

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Host":
        faults: list[str] = []
        host, proto, scopes, app_token = (_read(environ, name, faults) for name in _PARSERS)
        if faults:
            raise ConfigErrors(faults)
        return cls(f"{proto}://{host}", scopes, bool(app_token))


def _read(environ: Mapping[str, str], name: str, faults: list[str]) -> Any:
    variable = next(one for one in VARIABLES if one.name == name)
    text = environ.get(name, "").strip() or variable.default
    if text is None:
        if variable.required:
            faults.append(f"{name} is not set; set it: {variable.description}")
        return None
    try:
        return _PARSERS[name](text)
    except ValueError as error:
        faults.append(f"{name} {error}")
        return None


def plain(host: Host, *, rotates: bool = False) -> Json:
    """As Gitploy's guide has it: it posts, and nothing else."""
    return _manifest(host, ("chat:write",), rotates=rotates)


def whole(host: Host, *, socket_mode: bool, rotates: bool = False) -> Json:
    """With buttons, the command and events; by Socket Mode they need no address of ours."""
    manifest = _manifest(host, {*host.scopes, "commands"}, rotates=rotates)

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


def _manifest(host: Host, scopes: set[str] | tuple[str, ...], *, rotates: bool) -> Json:
    return {
        "display_information": {
            "name": NAME,
            "description": "Tells channels of deployments, and of what became of them",
        },
        "features": {"bot_user": {"display_name": BOT, "always_online": True}},
        "oauth_config": {
            "redirect_urls": [f"{host.server_url}{SIGNIN_PATH}"],
            "scopes": {"bot": sorted(scopes)},
        },
        "settings": {
            "org_deploy_enabled": False,
            "socket_mode_enabled": False,
            "token_rotation_enabled": rotates,
        },
    }


def link(manifest: Json) -> str:
    """Opens Slack's page that makes the app, all filled in."""
    return _NEW_APP + quote(json.dumps(manifest, separators=(",", ":")), safe="")

"""What the pages of an installation in Slack show, and where their button may lead.

Source: docs.slack.dev/reference/scopes; w3.org/TR/CSP3, "form-action".
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from webhook.config.load import Config
from webhook.slack.destination import destinations_of

_SCOPES = {
    "chat:write": "post where it is invited",
    "chat:write.public": "post in public channels without being invited",
    "channels:history": "look whether a message of its own got through, in public channels",
    "groups:history": "look whether a message of its own got through, in private channels",
    "commands": "answer to /deploy",
    "users:read": "find the person in Slack who asked for a deployment",
    "users:read.email": "find that person by e-mail address",
}


class Scope(NamedTuple):
    """`words`: what it is for; empty for one that the relay has no use for."""

    name: str
    words: str


def asked(scopes: Iterable[str]) -> Sequence[Scope]:
    return [Scope(name, _SCOPES.get(name, "")) for name in scopes]


def channels_of(config: Config, team: str) -> Sequence[str]:
    """Those of deploy.yml that may be in this workspace, in its order."""
    places = [place for env in config.envs for place in destinations_of(env)]
    named = [
        channel
        for place in places
        if place.workspace in (None, team)
        for channel in (place.channel, place.failures)
        if channel
    ]
    return list(dict.fromkeys(named))


def form_action(site: str) -> str:
    """Chrome holds the whole way of a form against it, redirects too; Slack leads on to the
    workspace's own host."""
    parts = urlsplit(site)
    origins = f"'self' {parts.scheme}://{parts.netloc}"
    try:
        ip_address(parts.hostname or "")
    except ValueError:
        return f"{origins} {parts.scheme}://*.{parts.netloc}"
    return origins

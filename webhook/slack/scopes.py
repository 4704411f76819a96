"""The bot scopes that the Slack app asks for, the same in its manifest and by OAuth.

Source: docs.slack.dev/reference/scopes.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

POST = "chat:write"
COMMANDS = "commands"
# To find a message of ours again whose answer got lost: in public and in private channels.
HISTORY = frozenset({"channels:history", "groups:history"})
# To find by e-mail address who somebody on GitHub is in Slack, for mentions and permissions.
EMAIL = frozenset({"users:read", "users:read.email"})

_PURPOSES = {
    "chat:write": "post where it is invited",
    "chat:write.public": "post in public channels without being invited",
    "channels:history": "find its own messages again when a response got lost, in public channels",
    "groups:history": "find its own messages again when a response got lost, in private channels",
    "commands": "answer to /deploy",
    "users:read": "find the person in Slack who asked for a deployment",
    "users:read.email": "find that person by e-mail address",
}


class Scope(NamedTuple):
    """`purpose`: what it is for; empty for one that the relay has no use for."""

    name: str
    purpose: str


def bot_scopes(configured: Collection[str] | None, *, answers: bool) -> tuple[str, ...]:
    """What the app asks for: GITPLOY_SLACK_BOT_SCOPES, else what all features need. `answers`:
    people can answer in Slack, by a command too."""
    asked = {POST, *HISTORY, *EMAIL} if configured is None else {*configured}
    return tuple(sorted(asked | ({COMMANDS} if answers else set())))


def required_scopes(configured: Collection[str] | None, *, answers: bool) -> frozenset[str]:
    """Of these, what a token must have. The relay works without the others, only less well."""
    return frozenset(bot_scopes({POST} if configured is None else configured, answers=answers))


def with_purposes(scopes: Iterable[str]) -> list[Scope]:
    return [Scope(name, _PURPOSES.get(name, "")) for name in scopes]

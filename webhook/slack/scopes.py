"""The bot scopes that the Slack app asks for, the same in its manifest and by OAuth.

Source: docs.slack.dev/reference/scopes.
"""

from collections.abc import Collection

POST = "chat:write"
COMMANDS = "commands"
# To find a message of ours again whose answer got lost: in public and in private channels.
HISTORY = frozenset({"channels:history", "groups:history"})
# To find by e-mail address who somebody on GitHub is in Slack, for mentions and permissions.
EMAIL = frozenset({"users:read", "users:read.email"})


def bot_scopes(configured: Collection[str] | None, *, answers: bool) -> tuple[str, ...]:
    """What the app asks for: GITPLOY_SLACK_BOT_SCOPES, else what all features need. `answers`:
    people can answer in Slack, by a command too."""
    asked = {POST, *HISTORY, *EMAIL} if configured is None else {*configured}
    return tuple(sorted(asked | ({COMMANDS} if answers else set())))


def required_scopes(configured: Collection[str] | None, *, answers: bool) -> frozenset[str]:
    """Of these, what a token must have. The relay works without the others, only less well."""
    return frozenset(bot_scopes({POST} if configured is None else configured, answers=answers))

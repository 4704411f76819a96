"""deploy.yml's `slack:`: which channels get which deployments, and who is mentioned.

Source: docs.slack.dev, "Formatting message text" (mentions), and the forms of Slack's ids.
"""

import re
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from webhook.config import destinations
from webhook.config.environments import Environment
from webhook.config.errors import invalid

_GROUP = re.compile(r"@(?:here|channel|S[A-Z0-9]{6,}|[a-z0-9][a-z0-9._-]{0,79})")
_WORKSPACE = re.compile(r"T[A-Z0-9]{2,}")
# Slack takes letters of all scripts, none of them upper case.
_CHANNEL = re.compile(r"[CG][A-Z0-9]{6,}|#?[-_a-z0-9\u0080-\U0010ffff]{1,80}")
_CHANNEL_PATTERN = r"^([CG][A-Z0-9]{6,}|#?[-_a-z0-9\u0080-\uffff]{1,80})$"


def _channel(value: Any) -> Any:
    """`none` is None, and unlike a channel that is left out it is in the model's set fields."""
    if value is None:
        message = 'is empty; write "#channel" in quotes (YAML takes #… for a comment), or none'
        raise invalid(message, with_value=False)
    if not isinstance(value, str):
        return value
    if not value:
        raise invalid("must not be empty", with_value=False)
    is_id = value[0] in "CG"
    malformed = any(c.isspace() or (c.isupper() and not is_id) for c in value)
    if malformed or not _CHANNEL.fullmatch(value):
        message = 'cannot be a channel; write "#name", in lower case and without spaces'
        raise invalid(f"{message}, or the channel's ID as in C0123ABCD")
    return None if value == "none" else value


def _mentions(value: str) -> str:
    if value not in ("author", "none") and not _GROUP.fullmatch(value):
        message = "is nobody to mention; write author, none, @here, @channel, a user group's"
        raise invalid(f'{message} "@name" or, surest, its ID as in "@S0123ABCD"')
    return value


def _workspace(value: str) -> str:
    if not _WORKSPACE.fullmatch(value):
        raise invalid("is not a workspace's ID; it begins with T, as in T0123ABCD")
    return value


_Channel = Annotated[
    str | None,
    BeforeValidator(_channel),
    WithJsonSchema({"type": "string", "pattern": _CHANNEL_PATTERN}),
]
_Workspace = Annotated[
    str,
    AfterValidator(_workspace),
    WithJsonSchema({"type": "string", "pattern": f"^{_WORKSPACE.pattern}$"}),
]
_Mentions = Annotated[
    str,
    AfterValidator(_mentions),
    WithJsonSchema({"type": "string", "pattern": f"^(author|none|{_GROUP.pattern})$"}),
]


class Destination(destinations.Destination):
    """A channel and the deployments that are posted to it."""

    ADDRESSES: ClassVar[tuple[str, str]] = ("channel", "failures")
    EXAMPLE: ClassVar[str] = '{channel: "#deploys"}'
    FORM: ClassVar[str] = '{channel: "#name"}'

    workspace: _Workspace | None = None
    """The workspace's ID, T…; needed where several are installed."""
    channel: _Channel = None
    """Hears of them; none for no channel."""
    failures: _Channel = None
    """Hears of what failed; none for no channel."""
    mentions: _Mentions | None = None
    """Who is mentioned where somebody is to look: author (the default), none, or "@group"."""

    def name(self, address: str) -> str:
        return f"{self.workspace}/{address}" if self.workspace else address

    @classmethod
    def unlisted(cls, name: str) -> Self:
        workspace, _, channel = name.rpartition("/")
        return cls(workspace=workspace or None, channel=channel, mentions="none")

    def filled_in(self, default: Self) -> Self:
        if self.workspace and self.workspace != default.workspace:
            # Another workspace may be other people's: it gets nothing that was not meant for
            # it.
            default = default.model_copy(update={"channel": None, "failures": None})
        return super().filled_in(default)


def destinations_of(environment: Environment) -> list[Destination]:
    """Those of an environment in Slack."""
    return [one for _, one in environment.destinations() if isinstance(one, Destination)]

"""deploy.yml's `slack:`: which channels hear of which deployments, and who is mentioned.

Source: docs.slack.dev, "Formatting message text" (mentions), and the forms of Slack's ids.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from webhook.deployments.config_faults import at_fault
from webhook.deployments.states import Phase

_GROUP = re.compile(r"@(?:here|channel|S[A-Z0-9]{6,}|[a-z0-9][a-z0-9._-]{0,79})")
_USER = re.compile(r"(?:[TE][A-Z0-9]{2,}/)?[UW][A-Z0-9]{2,}")
_WORKSPACE = re.compile(r"T[A-Z0-9]{2,}")

State = Literal["queued", "in_progress", "success", "failure", "error"]


class Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


def repository(value: str) -> str:
    owner, slash, name = value.partition("/")
    if value != "*" and not (owner and slash and name and "/" not in name):
        raise at_fault("is not a repository; write owner/name, owner/* or *")
    return value


def _channel(value: Any) -> Any:
    if value is None:
        raise at_fault(
            'is empty; YAML takes #… for a comment: write "#channel" in quotes', names_value=False
        )
    return value


def _mentions(value: str) -> str:
    if value not in ("author", "none") and not _GROUP.fullmatch(value):
        words = "is nobody to mention; write author, none, @here, @channel, a user group's"
        raise at_fault(f'{words} "@name" or, surest, its ID as in "@S0123ABCD"')
    return value


def _workspace(value: str) -> str:
    if not _WORKSPACE.fullmatch(value):
        raise at_fault("is not a workspace's ID; it begins with T, as in T0123ABCD")
    return value


def _user(value: str) -> str:
    if not _USER.fullmatch(value):
        words = "is not a Slack user's ID: open the profile in Slack, More, Copy member ID"
        raise at_fault(f"{words}; with several workspaces, write T0123ABCD/U0123ABCD")
    return value


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)


class _OneOrSeveral:
    """Tells editors that what is read as a list may also be written as a single one."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


Repo = Annotated[str, AfterValidator(repository)]
_Channel = Annotated[
    Annotated[str, Field(min_length=1)] | None,
    BeforeValidator(_channel),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
_Users = Annotated[
    tuple[Annotated[str, AfterValidator(_user)], ...], BeforeValidator(_listed), _OneOrSeveral
]


class Destination(Strict):
    """Where Slack hears of deployments, and of which."""

    workspace: Annotated[str, AfterValidator(_workspace)] | None = None
    """The workspace's ID, T…; needed where several are installed."""
    channel: _Channel = None
    """Hears of them."""
    failures: _Channel = None
    """Hears of what failed."""
    repos: tuple[Repo, ...] | None = Field(default=None, min_length=1, strict=False)
    """Only of these repositories: owner/name each; `*` stands for anything."""
    states: tuple[State, ...] | None = Field(default=None, min_length=1, strict=False)
    """What is told; all by default. A message that is there is always kept up to date."""
    only: Literal["failures"] | None = None
    """`failures` for states: [failure, error]."""
    mentions: Annotated[str, AfterValidator(_mentions)] | None = None
    """Who is mentioned where somebody is to look: author (the default), none, or "@group"."""

    @model_validator(mode="after")
    def _one_choice(self) -> "Destination":
        if self.only and self.states:
            raise at_fault("has both only and states; remove one of them", names_value=False)
        return self

    def tells(self, phase: Phase) -> bool:
        """Whether this state is said here."""
        if phase is Phase.INACTIVE:  # it had succeeded
            phase = Phase.SUCCESS
        states: Iterable[str] | None = ("failure", "error") if self.only else self.states
        return phase is not Phase.SEEN and (states is None or phase in states)

    def name(self, channel: str) -> str:
        """Of a channel, unique among all workspaces."""
        return f"{self.workspace}/{channel}" if self.workspace else channel


Destinations = Annotated[tuple[Destination, ...], BeforeValidator(_listed), _OneOrSeveral]
SlackUsers = dict[str, _Users]


def filled_in(own: tuple[Destination, ...], default: tuple[Destination, ...]) -> Destinations:
    """An environment's destinations; what they leave out is the file's, where that has just one."""
    if len(default) != 1:
        return own
    return tuple(_filled_in(one, default[0]) for one in own)


def _filled_in(one: Destination, default: Destination) -> Destination:
    own = one.model_dump(exclude_none=True)
    if own.keys() & {"only", "states"}:
        default = default.model_copy(update={"only": None, "states": None})
    return default.model_copy(update=own)

"""deploy.yml's `slack:`: which channels hear of which deployments, and who is mentioned.

Source: docs.slack.dev, "Formatting message text" (mentions), and the forms of Slack's ids.
"""

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
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

from webhook.config.errors import at_fault
from webhook.config.source import Fault, Path, Source
from webhook.deployments.phases import Phase

_GROUP = re.compile(r"@(?:here|channel|S[A-Z0-9]{6,}|[a-z0-9][a-z0-9._-]{0,79})")
_USER = re.compile(r"(?:[TE][A-Z0-9]{2,}/)?[UW][A-Z0-9]{2,}")
_WORKSPACE = re.compile(r"T[A-Z0-9]{2,}")
# Slack takes letters of all scripts, none of them upper case.
_CHANNEL = re.compile(r"[CG][A-Z0-9]{6,}|#?[-_a-z0-9\u0080-\U0010ffff]{1,80}")
# Of accounts that a company manages, too (octo_acme), and of Apps.
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(?:\[bot\])?")
_WILD = "*?["
_CHANNEL_PATTERN = r"^([CG][A-Z0-9]{6,}|#?[-_a-z0-9\u0080-\uffff]{1,80})$"

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
    """`none` is None, and unlike a channel that is left out it is in the model's set fields."""
    if value is None:
        words = 'is empty; write "#channel" in quotes (YAML takes #… for a comment), or none'
        raise at_fault(words, names_value=False)
    if not isinstance(value, str):
        return value
    if not value:
        raise at_fault("must not be empty", names_value=False)
    is_id = value[0] in "CG"
    odd = any(c.isspace() or (c.isupper() and not is_id) for c in value)
    if odd or not _CHANNEL.fullmatch(value):
        words = 'cannot be a channel; write "#name", in lower case and without spaces'
        raise at_fault(f"{words}, or the channel's ID as in C0123ABCD")
    return None if value == "none" else value


def _given(value: Any) -> Any:
    if value is None:
        words = 'is empty; write {channel: "#name"}, [] for nobody, or remove the key'
        raise at_fault(words, names_value=False)
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
_Users = Annotated[
    tuple[Annotated[str, AfterValidator(_user)], ...], BeforeValidator(_listed), _OneOrSeveral
]


class Destination(Strict):
    """Where Slack hears of deployments, and of which."""

    workspace: _Workspace | None = None
    """The workspace's ID, T…; needed where several are installed."""
    channel: _Channel = None
    """Hears of them; none for no channel."""
    failures: _Channel = None
    """Hears of what failed; none for no channel."""
    repos: tuple[Repo, ...] | None = Field(default=None, min_length=1, strict=False)
    """Only of these repositories: owner/name each; `*` stands for anything."""
    states: tuple[State, ...] | None = Field(default=None, min_length=1, strict=False)
    """What is told; all by default. A message that is there is always kept up to date."""
    only: Literal["failures"] | None = None
    """`failures` for states: [failure, error]."""
    mentions: _Mentions | None = None
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
# In an environment, where None stands for the file's.
OwnDestinations = Annotated[Destinations | None, BeforeValidator(_given)]
SlackUsers = dict[str, _Users]


def filled_in(
    own: tuple[Destination, ...] | None, default: tuple[Destination, ...]
) -> tuple[Destination, ...]:
    """An environment's destinations; what they leave out is the file's, where that has just one."""
    if own is None:
        return default
    if len(default) != 1:
        return own
    return tuple(_filled_in(one, default[0]) for one in own)


def _filled_in(one: Destination, default: Destination) -> Destination:
    own = one.model_dump(exclude_none=True)
    # Those may be set to None: switched off.
    own |= {key: getattr(one, key) for key in one.model_fields_set & {"channel", "failures"}}
    if own.keys() & {"only", "states"}:
        default = default.model_copy(update={"only": None, "states": None})
    if own.get("workspace", default.workspace) != default.workspace:
        # Another workspace may be other people's: it hears of nothing that was not meant for it.
        default = default.model_copy(update={"channel": None, "failures": None})
    return default.model_copy(update=own)


def slack_faults(source: Source) -> Iterator[Fault]:
    """What is wrong only together with something else, of what has no other faults."""
    value = source.value if isinstance(source.value, dict) else {}
    yield from _user_faults(value.get("slack_users"), source)
    envs = value.get("envs")
    for index, env in enumerate(envs if isinstance(envs, list) else ()):
        own = env.get("slack") if isinstance(env, dict) else None
        for n, one in enumerate(own if isinstance(own, list) else [own]):
            path: Path = ("envs", index, "slack", *([n] if isinstance(own, list) else []), "repos")
            if isinstance(one, dict) and _never_meet(one.get("repos"), env.get("repos", ["*"])):
                words = "can never match: none of them is in the environment's repos; correct them"
                yield Fault(*source.places[path], path, words)


def _user_faults(users: Any, source: Source) -> Iterator[Fault]:
    """Who somebody is on GitHub decides what they may do."""
    seen: dict[str, list[tuple[str, str]]] = {}
    logins: set[str] = set()
    for login, ids in users.items() if isinstance(users, dict) else ():
        path: Path = ("slack_users", login)
        words = ""
        if not _LOGIN.fullmatch(login):
            words = "is not a GitHub login; write it without @, as in octocat"
        elif login.lower() in logins:
            words = "is there twice: upper and lower case are alike; remove one"
        logins.add(login.lower())
        for one in ids if isinstance(ids, list) else [ids]:
            team, _, user = one.rpartition("/") if isinstance(one, str) else ("", "", "")
            known = seen.setdefault(user, [])
            other = next((who for where, who in known if not (team and where) or where == team), "")
            if user and other and other.lower() != login.lower():
                words = words or f"has '{one}', which is {other}'s already; nobody is two people"
            known.append((team, login))
        if words:
            yield Fault(*source.keys[path], path, words)


def _never_meet(some: Any, others: Any) -> bool:
    """Whether no repository can be in both lists; False where they have other faults."""
    both = [*some, *others] if isinstance(some, list) and isinstance(others, list) else [0]
    if not some or not others or not all(isinstance(one, str) for one in both):
        return False
    return not any(_meet(one.lower(), other.lower()) for one in some for other in others)


def _meet(one: str, other: str) -> bool:
    """Of two patterns with `*`, what stands before the first and behind the last must agree."""
    if not set(_WILD) & set(one):
        return fnmatchcase(one, other)
    if not set(_WILD) & set(other):
        return fnmatchcase(other, one)
    starts = [re.split(r"[*?\[]", text, maxsplit=1)[0] for text in (one, other)]
    ends = [re.split(r"[*?\]]", text)[-1] for text in (one, other)]
    start = starts[0].startswith(starts[1]) or starts[1].startswith(starts[0])
    return start and (ends[0].endswith(ends[1]) or ends[1].endswith(ends[0]))

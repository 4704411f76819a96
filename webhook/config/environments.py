"""Environments and Slack users of deploy.yml, and the models with which it is read: one
for each handler, with a key for each notifier.

Source: the forms of Slack's ids.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache, reduce
from operator import or_
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    create_model,
)

from handlers import durations
from webhook.config.creation import Creation
from webhook.config.creators import DEFAULT_CREATORS, CreatorName
from webhook.config.destinations import (
    Destination,
    Notifiers,
    OneOrSeveral,
    Repo,
    Strict,
    as_tuple,
    default_field,
    in_environment,
    own_field,
)
from webhook.config.errors import Known, invalid, suggestion
from webhook.config.gates import GateKeys, entries_of, file_models_of, models_of
from webhook.config.source import ConfigError, Path, Source

HandlerOptions = Mapping[str, type[BaseModel]]

E = TypeVar("E", bound="Environment")

_SHORTEST = timedelta(seconds=10)
# Spinnaker lets a manual judgment wait for three days.
_LONGEST = timedelta(hours=72)
# GitHub ends an unapproved job of a workflow after 30 days.
_LONGEST_WAIT = timedelta(days=30)
_UNKNOWN = "?"
_USER = re.compile(r"(?:[TE][A-Z0-9]{2,}/)?[UW][A-Z0-9]{2,}")
# A person or a team: octocat, acme/platform.
_BREAKS_GLASS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(?:/[A-Za-z0-9][A-Za-z0-9_.-]{0,99})?")
# Of accounts that a company manages, too (octo_acme), and of Apps.
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(?:\[bot\])?")


def _duration(value: Any) -> timedelta:
    try:
        return durations.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise invalid(str(error)) from None


def _timeout(value: Any) -> timedelta:
    timeout = _duration(value)
    if not _SHORTEST <= timeout <= _LONGEST:
        raise invalid("is out of bounds; a timeout is 10s to 72h")
    return timeout


def _wait_limit(value: Any) -> timedelta:
    limit = _duration(value)
    if not _SHORTEST <= limit <= _LONGEST_WAIT:
        raise invalid("is out of bounds; a wait_limit is 10s to 720h")
    return limit


def _handler(value: str, info: ValidationInfo) -> str:
    known = info.context["handlers"] if info.context else ()
    raise invalid(f"is not a handler; {suggestion(value, known)}")


def _user(value: str) -> str:
    if not _USER.fullmatch(value):
        text = "is not a Slack user's ID: open the profile in Slack, More, Copy member ID"
        raise invalid(f"{text}; with several workspaces, write T0123ABCD/U0123ABCD")
    return value


def _breaks_glass(value: str) -> str:
    if not _BREAKS_GLASS.fullmatch(value):
        raise invalid(
            "is neither a GitHub login nor a team; write octocat, without @, or acme/platform"
        )
    return value


def _recover_within(value: Any) -> timedelta:
    limit = _duration(value)
    if not timedelta(0) <= limit <= _LONGEST:
        raise invalid("is out of bounds; recover_within is 0s to 72h")
    return limit


_DURATION = WithJsonSchema(
    {"type": "string", "pattern": "^(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}
)
_Timeout = Annotated[timedelta, BeforeValidator(_timeout), _DURATION]
_WaitLimit = Annotated[timedelta, BeforeValidator(_wait_limit), _DURATION]
_RecoverWithin = Annotated[timedelta, BeforeValidator(_recover_within), _DURATION]
_Name = Annotated[str, Field(min_length=1, max_length=255)]
_Users = Annotated[
    tuple[Annotated[str, AfterValidator(_user)], ...], BeforeValidator(as_tuple), OneOrSeveral
]
_BreaksGlass = Annotated[
    tuple[Annotated[str, AfterValidator(_breaks_glass)], ...],
    BeforeValidator(as_tuple),
    OneOrSeveral,
]
SlackUsers = dict[str, _Users]


class Environment(Creation):
    """Which tool deploys an environment, and who is notified. After the file is read, destinations
    have their defaults filled in and are never None."""

    name: _Name
    """GitHub's environment, upper and lower case alike; `*` stands for anything."""
    repos: tuple[Repo, ...] = Field(default=("*",), min_length=1)
    """owner/name each; `*` stands for anything."""
    creators: Annotated[
        tuple[CreatorName, ...], Field(min_length=1), BeforeValidator(as_tuple), OneOrSeveral
    ] = DEFAULT_CREATORS
    """Whose deployments it takes, besides those that the relay itself creates: logins, Apps by the
    name in their URL (vercel), `people` for all people, `*` for anybody."""
    handler: str
    """The tool."""
    options: BaseModel = Field(alias="with", repr=False)
    """Options of the handler."""
    timeout: _Timeout = Field(default_factory=lambda: timedelta(minutes=30))
    """How long a run may take: 30s, 30m, 2h, 1h30m. 30m by default."""
    wait_limit: _WaitLimit = Field(default_factory=lambda: timedelta(hours=24))
    """How long a deployment may wait for its gates, from when it was asked for. 24h by default."""
    recover_within: _RecoverWithin = Field(default_factory=lambda: timedelta(hours=1))
    """How old a deployment may be, of which the relay learns late, to be run. 1h by default; an
    older one ends as an error that says so."""
    protection_rule: bool = False
    """Whether its gates also answer for jobs of GitHub Actions with this `environment:`, where the
    App's deployment protection rule is enabled."""
    break_glass: _BreaksGlass = ()
    """Who may override its gates in an emergency: logins, and teams as acme/platform. Nobody, where
    it is left out."""
    description: str = ""
    """For people."""
    production_environment: bool | None = None
    """Whether users see it."""

    @property
    def can_be_held(self) -> bool:
        """By its gates: the relay starts its tool, or GitHub asks the relay before its jobs run."""
        by_rule = getattr(self.options, "held_by_protection_rule", False)
        return not self.starts_by_itself or (by_rule and self.protection_rule)

    @property
    def starts_by_itself(self) -> bool:
        """Its tool starts with GitHub's event, whatever the relay does."""
        return bool(getattr(self.options, "starts_by_itself", False))

    def destinations(self) -> Iterator[tuple[str, Destination]]:
        """Of all notifiers, each with the notifier's name."""
        return in_environment(self)


class _UnknownHandler(Environment):
    """Shows the other errors of an environment whose handler is unknown."""

    handler: Annotated[str, AfterValidator(_handler)]
    options: Any = Field(alias="with", default=None, repr=False)


class File(Strict):
    envs: tuple[Environment, ...] = Field(min_length=1)
    unrouted: Literal["error", "ignore"] = "error"
    """What happens to a deployment that no environment here matches."""
    slack_users: SlackUsers = Field(default_factory=dict)
    """GitHub login -> the ID of that person in Slack, U…, or a list of them."""


@dataclass(frozen=True, slots=True)
class Config:
    """`secrets`: values that came from the process environment; never shown, never stored.
    `text`: of the file; `digest`: of that; `source`: its name. `lines`: of each of `envs`, where it
    has its keys, or the top of the file has them for it."""

    envs: tuple[Environment, ...]
    unrouted: Literal["error", "ignore"] = "error"
    slack_users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    text: str = field(default="", repr=False)
    digest: str = ""
    source: str = ""
    lines: tuple[Mapping[str, int], ...] = ()

    def lines_of(self, environment: Environment) -> Mapping[str, int]:
        every = zip(self.envs, self.lines, strict=False)
        return next((lines for one, lines in every if one is environment), {})


@dataclass(slots=True)
class CurrentConfig:
    """Of a process that reads deploy.yml again while it works."""

    config: Config


def file_model(
    handler_options: HandlerOptions, notifiers: Notifiers, gates: Sequence[GateKeys]
) -> type[File]:
    return _file_model(tuple(handler_options.items()), tuple(notifiers.items()), tuple(gates))


@lru_cache(maxsize=4)  # pydantic needs 15 ms for it, and one process may read many files
def _file_model(
    handler_items: tuple[tuple[str, type[BaseModel]], ...],
    notifier_items: tuple[tuple[str, type[Destination]], ...],
    gates: tuple[GateKeys, ...],
) -> type[File]:
    handler_options, notifiers = dict(handler_items), dict(notifier_items)

    def tag(env: Any) -> str:
        handler = env.get("handler") if isinstance(env, dict) else None
        return handler if isinstance(handler, str) and handler in handler_options else _UNKNOWN

    base = _with_plugins(Environment, notifiers, gates)
    unknown = _with_plugins(_UnknownHandler, notifiers, gates)
    members: list[Any] = [Annotated[unknown, Tag(_UNKNOWN)]]
    members += [
        Annotated[_environment(base, name, options), Tag(name)]
        for name, options in handler_options.items()
    ]
    return _file_of(Annotated[reduce(or_, members), Discriminator(tag)], notifiers, gates)


def _with_plugins(model: type[E], notifiers: Notifiers, gates: Sequence[GateKeys]) -> type[E]:
    """With a key for each notifier, and the keys of each gate."""
    fields: dict[str, Any] = {name: own_field(one) for name, one in notifiers.items()}
    bases: Any = (model, *models_of(gates))
    made = create_model(model.__name__, __base__=bases, __doc__=model.__doc__, **fields)
    return cast("type[E]", made)


def _environment(
    base: type[Environment], handler: str, options: type[BaseModel]
) -> type[Environment]:
    needed = any(value.is_required() for value in options.model_fields.values())
    default: dict[str, Any] = {} if needed else {"default_factory": options}
    only: Any = Literal[handler]
    return create_model(
        f"{handler}_environment",
        __base__=base,
        __doc__=f"An environment that '{handler}' deploys.",
        handler=(only, ...),
        options=(options, Field(alias="with", repr=False, **default)),
    )


def _file_of(env: Any, notifiers: Notifiers, gates: Sequence[GateKeys]) -> type[File]:
    fields: dict[str, Any] = {name: default_field(one) for name, one in notifiers.items()}
    fields["envs"] = (tuple[env, ...], Field(min_length=1))
    bases: Any = (File, *file_models_of(gates))
    made = create_model(
        "deploy.yml",
        __base__=bases,
        __doc__="Which tool deploys which environment, and who is notified.",
        **fields,
    )
    return cast("type[File]", made)


def json_schema(
    handler_options: HandlerOptions,
    notifiers: Notifiers = MappingProxyType({}),
    gates: Sequence[GateKeys] = (),
) -> dict[str, Any]:
    """Of deploy.yml, for editors."""
    base = _with_plugins(Environment, notifiers, gates)
    env: Any = reduce(or_, (_environment(base, *item) for item in handler_options.items()))
    schema = _file_of(env, notifiers, gates).model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def known_keys(
    handler_options: HandlerOptions, notifiers: Notifiers, gates: Sequence[GateKeys]
) -> Known:
    """The known keys of each mapping; a handler's are under `with:` and its name, those of entries
    of an environment's list under `envs.` and its name."""
    return _known_keys(tuple(handler_options.items()), tuple(notifiers.items()), tuple(gates))


@lru_cache(maxsize=4)  # as above
def _known_keys(
    handler_items: tuple[tuple[str, type[BaseModel]], ...],
    notifier_items: tuple[tuple[str, type[Destination]], ...],
    gates: tuple[GateKeys, ...],
) -> Known:
    notifiers = dict(notifier_items)
    file = _file_of(Any, notifiers, gates)
    env = _with_plugins(Environment, notifiers, gates)
    models: dict[str, type[BaseModel]] = {"": file, "envs": env}
    models |= {f"with:{name}": options for name, options in handler_items}
    models |= notifiers
    models |= entries_of(file_models_of(gates))
    models |= {f"envs.{name}": one for name, one in entries_of(models_of(gates)).items()}
    keys = {
        where: tuple(value.alias or key for key, value in model.model_fields.items())
        for where, model in models.items()
    }
    return Known(keys, {name: one.EXAMPLE for name, one in notifiers.items()})


def slack_user_errors(source: Source) -> Iterator[ConfigError]:
    """Errors of one entry, or of several together, that the model does not find."""
    users = source.value.get("slack_users") if isinstance(source.value, dict) else None
    seen: dict[str, list[tuple[str, str]]] = {}
    logins: set[str] = set()
    for login, ids in users.items() if isinstance(users, dict) else ():
        path: Path = ("slack_users", login)
        text = ""
        if not _LOGIN.fullmatch(login):
            text = "is not a GitHub login; write it without @, as in octocat"
        elif login.lower() in logins:
            text = "is there twice: upper and lower case are alike; remove one"
        logins.add(login.lower())
        for one in ids if isinstance(ids, list) else [ids]:
            team, _, user = one.rpartition("/") if isinstance(one, str) else ("", "", "")
            known = seen.setdefault(user, [])
            other = next((who for where, who in known if not (team and where) or where == team), "")
            if user and other and other.lower() != login.lower():
                text = text or f"has '{one}', which is {other}'s already; nobody is two people"
            known.append((team, login))
        if text:
            yield ConfigError(*source.keys[path], path, text)

"""deploy.yml: which handler deploys which environment.

Errors: `ConfigErrors`, with all that is wrong in the file, each with line, column and remedy.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache, reduce
from operator import or_
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    create_model,
)

from handlers import durations
from webhook.config import source as yaml_source
from webhook.config.destinations import (
    Destination,
    Notifiers,
    Repo,
    Strict,
    default_field,
    filled_in,
    in_environment,
    never_heard,
    own_field,
)
from webhook.config.errors import Known, at_fault, faults_of, never_matches, suggestion
from webhook.config.slack_users import SlackUsers, slack_users_faults
from webhook.errors import ConfigErrors

HandlerOptions = Mapping[str, type[BaseModel]]

E = TypeVar("E", bound="Environment")

_SHORTEST = timedelta(seconds=10)
# Spinnaker lets a manual judgment wait for three days.
_LONGEST = timedelta(hours=72)
_UNKNOWN = "?"


def _timeout(value: Any) -> timedelta:
    try:
        timeout = durations.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise at_fault(str(error)) from None
    if not _SHORTEST <= timeout <= _LONGEST:
        raise at_fault("is out of bounds; a timeout is 10s to 72h")
    return timeout


def _handler(value: str, info: ValidationInfo) -> str:
    known = info.context["handlers"] if info.context else ()
    raise at_fault(f"is not a handler; {suggestion(value, known)}")


_Timeout = Annotated[
    timedelta,
    BeforeValidator(_timeout),
    WithJsonSchema({"type": "string", "pattern": "^(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}),
]
_Name = Annotated[str, Field(min_length=1, max_length=255)]


class Environment(Strict):
    """Which tool deploys an environment, and who hears of it. Once the file is read, destinations
    have their defaults filled in and are never None."""

    name: _Name
    """GitHub's environment, upper and lower case alike; `*` stands for anything."""
    repos: tuple[Repo, ...] = Field(default=("*",), min_length=1)
    """owner/name each; `*` stands for anything."""
    handler: str
    """The tool."""
    options: BaseModel = Field(alias="with", repr=False)
    """What the tool needs, in its own words."""
    timeout: _Timeout = Field(default_factory=lambda: timedelta(minutes=30))
    """How long a run may take: 30s, 30m, 2h, 1h30m. 30m by default."""
    description: str = ""
    """For people."""
    production_environment: bool | None = None
    """Whether users see it."""

    def destinations(self) -> Iterator[tuple[str, Destination]]:
        """Of all notifiers, with the notifier's name."""
        return in_environment(self)


class _UnknownHandler(Environment):
    """Lets the other faults of an environment show when its handler is unknown."""

    handler: Annotated[str, AfterValidator(_handler)]
    options: Any = Field(alias="with", default=None, repr=False)


class _File(Strict):
    envs: tuple[Environment, ...] = Field(min_length=1)
    unrouted: Literal["error", "ignore"] = "error"
    """What becomes of a deployment that no environment here matches."""
    slack_users: SlackUsers = Field(default_factory=dict)
    """GitHub login -> the ID of that person in Slack, U…, or a list of them."""


@dataclass(frozen=True, slots=True)
class Config:
    """`secrets`: values that came from the process environment; never shown, never stored."""

    envs: tuple[Environment, ...]
    unrouted: Literal["error", "ignore"] = "error"
    slack_users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


def load(
    text: str | bytes,
    *,
    source: str,
    environ: Mapping[str, str],
    handler_options: HandlerOptions,
    notifiers: Notifiers = MappingProxyType({}),
) -> Config:
    """`source` is the name that faults call the file by. `notifiers`: what destinations of each
    look like, by the notifier's key."""
    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigErrors([f"{source}:{line}:1: is not UTF-8; save it as UTF-8"]) from None
    read = yaml_source.read(text, environ)
    if read.value is None:
        faults = read.faults or [yaml_source.Fault(1, 1, (), "is empty; it needs 'envs:'")]
        raise _shown(faults, source)
    _add_options(read)
    faults = [
        *read.faults,
        *never_matches(read),
        *never_heard(read, notifiers),
        *slack_users_faults(read),
    ]
    try:
        file = _model(handler_options, notifiers).model_validate_json(
            json.dumps(read.value),
            context={"environ": environ, "handlers": tuple(handler_options)},
        )
    except ValidationError as error:
        known = _keys(handler_options, notifiers)
        raise _shown([*faults, *faults_of(error, read, known)], source) from None
    if faults:
        raise _shown(faults, source)
    envs = tuple(_with_defaults(env, file, notifiers) for env in file.envs)
    if faults := list(_incomplete(envs, read)):
        raise _shown(faults, source)
    users = {login.lower(): ids for login, ids in file.slack_users.items()}
    return Config(envs, file.unrouted, users, frozenset(read.secrets))


def json_schema(
    handler_options: HandlerOptions, notifiers: Notifiers = MappingProxyType({})
) -> dict[str, Any]:
    """Of deploy.yml, for editors."""
    base = _hears(Environment, notifiers)
    env: Any = reduce(or_, (_environment(base, *item) for item in handler_options.items()))
    schema = _file(env, notifiers).model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _model(handler_options: HandlerOptions, notifiers: Notifiers) -> type[_File]:
    return _built(tuple(handler_options.items()), tuple(notifiers.items()))


@lru_cache(maxsize=4)  # pydantic needs 15 ms for it, and one process may read many files
def _built(
    handler_items: tuple[tuple[str, type[BaseModel]], ...],
    notifier_items: tuple[tuple[str, type[Destination]], ...],
) -> type[_File]:
    handler_options, notifiers = dict(handler_items), dict(notifier_items)

    def tag(env: Any) -> str:
        handler = env.get("handler") if isinstance(env, dict) else None
        return handler if isinstance(handler, str) and handler in handler_options else _UNKNOWN

    base = _hears(Environment, notifiers)
    members: list[Any] = [Annotated[_hears(_UnknownHandler, notifiers), Tag(_UNKNOWN)]]
    members += [
        Annotated[_environment(base, name, options), Tag(name)]
        for name, options in handler_options.items()
    ]
    return _file(Annotated[reduce(or_, members), Discriminator(tag)], notifiers)


def _hears(model: type[E], notifiers: Notifiers) -> type[E]:
    """With a key for each notifier."""
    fields: dict[str, Any] = {name: own_field(one) for name, one in notifiers.items()}
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **fields)


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


def _file(env: Any, notifiers: Notifiers) -> type[_File]:
    fields: dict[str, Any] = {name: default_field(one) for name, one in notifiers.items()}
    fields["envs"] = (tuple[env, ...], Field(min_length=1))
    return create_model(
        "deploy.yml",
        __base__=_File,
        __doc__="Which tool deploys which environment, and who hears of it.",
        **fields,
    )


def _add_options(read: yaml_source.Source) -> None:
    """A missing `with:` is an empty one, so that the handler's model says what it wants."""
    envs = read.value.get("envs") if isinstance(read.value, dict) else None
    for index, env in enumerate(envs if isinstance(envs, list) else ()):
        if isinstance(env, dict) and "with" not in env:
            env["with"] = {}
            read.places["envs", index, "with"] = read.places["envs", index]


def _with_defaults(env: Environment, file: _File, notifiers: Notifiers) -> Environment:
    filled = {name: filled_in(getattr(env, name), getattr(file, name)) for name in notifiers}
    return env.model_copy(update=filled)


def _incomplete(
    envs: Iterable[Environment], read: yaml_source.Source
) -> Iterator[yaml_source.Fault]:
    """Destinations that lack something, where the file has them; each place once."""
    seen: set[yaml_source.Path] = set()
    for index, env in enumerate(envs):
        for name, one in env.destinations():
            own: yaml_source.Path = ("envs", index, name)
            path = own if own in read.places else (name,)
            if path not in seen and (words := one.incomplete()):
                seen.add(path)
                yield yaml_source.Fault(*read.places[path], path, words)


def _keys(handler_options: HandlerOptions, notifiers: Notifiers) -> Known:
    """The known keys of each mapping; a handler's are under `with:` and its name."""
    file, env = _file(Any, notifiers), _hears(Environment, notifiers)
    models: dict[str, type[BaseModel]] = {"": file, "envs": env}
    models |= {f"with:{name}": options for name, options in handler_options.items()}
    models |= notifiers
    keys = {
        where: tuple(value.alias or key for key, value in model.model_fields.items())
        for where, model in models.items()
    }
    return Known(keys, {name: one.EXAMPLE for name, one in notifiers.items()})


def _shown(faults: list[yaml_source.Fault], source: str) -> ConfigErrors:
    return ConfigErrors(f"{source}:{fault}" for fault in sorted(faults))

"""deploy.yml: which handler deploys which environment.

Errors: `ConfigErrors`, with all that is wrong in the file, each with line, column and remedy.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

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
from webhook.config.errors import at_fault, faults_of, never_matches, suggestion
from webhook.errors import ConfigErrors
from webhook.slack.destination import (
    Destination,
    Destinations,
    OwnDestinations,
    Repo,
    SlackUsers,
    Strict,
    filled_in,
    slack_faults,
)

HandlerOptions = Mapping[str, type[BaseModel]]

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
    """Which tool deploys an environment. Once the file is read, `slack` has its defaults filled in
    and is never None."""

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
    slack: OwnDestinations = None
    """Who hears of it in Slack; what it leaves out is the file's. [] for nobody."""
    description: str = ""
    """For people."""
    production_environment: bool | None = None
    """Whether users see it."""


class _UnknownHandler(Environment):
    """Lets the other faults of an environment show when its handler is unknown."""

    handler: Annotated[str, AfterValidator(_handler)]
    options: Any = Field(alias="with", default=None, repr=False)


class _File(Strict):
    envs: tuple[Environment, ...] = Field(min_length=1)
    unrouted: Literal["error", "ignore"] = "error"
    """What becomes of a deployment that no environment here matches."""
    slack: Destinations = ()
    """For environments that do not say otherwise."""
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
) -> Config:
    """`source` is the name that faults call the file by."""
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
    faults = [*read.faults, *never_matches(read), *slack_faults(read)]
    try:
        file = _model(handler_options).model_validate_json(
            json.dumps(read.value),
            context={"environ": environ, "handlers": tuple(handler_options)},
        )
    except ValidationError as error:
        raise _shown([*faults, *faults_of(error, read, _keys(handler_options))], source) from None
    if faults:
        raise _shown(faults, source)
    envs = tuple(_with_defaults(env, file.slack) for env in file.envs)
    users = {login.lower(): ids for login, ids in file.slack_users.items()}
    return Config(envs, file.unrouted, users, frozenset(read.secrets))


def json_schema(handler_options: HandlerOptions) -> dict[str, Any]:
    """Of deploy.yml, for editors."""
    env: Any = reduce(or_, (_environment(*item) for item in handler_options.items()))
    schema = _file(env).model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _model(handler_options: HandlerOptions) -> type[_File]:
    def tag(env: Any) -> str:
        handler = env.get("handler") if isinstance(env, dict) else None
        return handler if isinstance(handler, str) and handler in handler_options else _UNKNOWN

    members: list[Any] = [Annotated[_UnknownHandler, Tag(_UNKNOWN)]]
    members += [
        Annotated[_environment(name, options), Tag(name)]
        for name, options in handler_options.items()
    ]
    return _file(Annotated[reduce(or_, members), Discriminator(tag)])


def _environment(handler: str, options: type[BaseModel]) -> type[Environment]:
    needed = any(value.is_required() for value in options.model_fields.values())
    default: dict[str, Any] = {} if needed else {"default_factory": options}
    only: Any = Literal[handler]
    return create_model(
        f"{handler}_environment",
        __base__=Environment,
        __doc__=f"An environment that '{handler}' deploys.",
        handler=(only, ...),
        options=(options, Field(alias="with", repr=False, **default)),
    )


def _file(env: Any) -> type[_File]:
    return create_model(
        "deploy.yml",
        __base__=_File,
        __doc__="Which tool deploys which environment.",
        envs=(tuple[env, ...], Field(min_length=1)),
    )


def _add_options(read: yaml_source.Source) -> None:
    """A missing `with:` is an empty one, so that the handler's model says what it wants."""
    envs = read.value.get("envs") if isinstance(read.value, dict) else None
    for index, env in enumerate(envs if isinstance(envs, list) else ()):
        if isinstance(env, dict) and "with" not in env:
            env["with"] = {}
            read.places["envs", index, "with"] = read.places["envs", index]


def _with_defaults(env: Environment, slack: tuple[Destination, ...]) -> Environment:
    return env.model_copy(update={"slack": filled_in(env.slack, slack)})


def _keys(handler_options: HandlerOptions) -> dict[str, tuple[str, ...]]:
    """The known keys of each mapping; a handler's are under `with:` and its name."""
    models: dict[str, type[BaseModel]] = {"": _File, "envs": Environment, "slack": Destination}
    models |= {f"with:{name}": options for name, options in handler_options.items()}
    return {
        where: tuple(value.alias or key for key, value in model.model_fields.items())
        for where, model in models.items()
    }


def _shown(faults: list[yaml_source.Fault], source: str) -> ConfigErrors:
    return ConfigErrors(f"{source}:{fault}" for fault in sorted(faults))

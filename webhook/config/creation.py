"""How the relay creates deployments of an environment: Gitploy's keys, with their meaning.

Source: gitploy-io/website, its reference of deploy.yml. GitHub's own side of them:
docs.github.com/rest/deployments/deployments#create-a-deployment.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from webhook.config.destinations import Strict
from webhook.config.errors import invalid, suggestion
from webhook.config.patterns import Patterns, is_found
from webhook.config.source import VARIABLE, ConfigError, Source

Value = bool | int | float | str
Payload = dict[str, Any] | str


def _payload(value: Any) -> Any:
    if value is not None and not isinstance(value, dict | str):
        raise invalid("must have keys with values, or be text: GitHub takes no other payload")
    return value


_Payload = Annotated[
    Any, AfterValidator(_payload), WithJsonSchema({"type": ["object", "string", "null"]})
]
_BOOLEANS = {"true": True, "false": False}
# What they hold is shown to everybody who may read the repository.
_ON_GITHUB = (
    "task",
    "required_contexts",
    "payload",
    "dynamic_payload",
    "deployable_ref",
    "auto_deploy_on",
)


class Input(Strict):
    """A value of the payload that the person who deploys gives."""

    type: Literal["select", "number", "string", "boolean"]
    required: bool = False
    default: Value | None = None
    description: str = ""
    """For people."""
    options: tuple[str, ...] = ()
    """Of a select: what can be chosen."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.type == "select") != bool(self.options):
            message = "needs options for a select, and has none otherwise"
            raise invalid(message, with_value=False)
        if self.default is not None and not self.accepts(self.default):
            raise invalid(f"has a default that is not {self.expected}", with_value=False)
        return self

    @property
    def expected(self) -> str:
        match self.type:
            case "select":
                return f"one of {', '.join(self.options)}"
            case "boolean":
                return "true or false"
        return f"a {self.type}"

    def accepts(self, value: Value) -> bool:
        match self.type:
            case "select":
                return value in self.options
            case "number":
                return isinstance(value, int | float) and not isinstance(value, bool)
            case "boolean":
                return isinstance(value, bool)
        return isinstance(value, str)

    def read(self, text: str) -> Value | None:
        """What somebody has typed; None if it does not fit."""
        match self.type:
            case "number":
                return _number(text)
            case "boolean":
                return _BOOLEANS.get(text.lower())
        return text if self.accepts(text) else None


class DynamicPayload(Strict):
    enabled: bool = False
    """Whether the inputs are the payload, instead of `payload`."""
    inputs: dict[str, Input] = Field(default_factory=dict)


class Creation(Strict):
    """Only for what the relay creates: by `/deploy` and its form, and by itself. A retry or a
    rollback creates what was deployed before."""

    task: str | None = Field(default=None, min_length=1)
    """GitHub's task; `deploy` by default, and `deploy:rollback` of a rollback."""
    auto_merge: bool = False
    """Whether GitHub merges the default branch first into a branch that is behind it."""
    required_contexts: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Commit statuses that must have succeeded; automatic deployments wait for them, and for check
    runs. None by default."""
    payload: _Payload = None
    """GitHub's payload."""
    dynamic_payload: DynamicPayload = Field(default_factory=DynamicPayload)
    """Values that the person who deploys gives, instead of `payload`."""
    auto_deploy_on: Patterns = ()
    """Which pushes the relay deploys by itself: a pattern of RE2, found anywhere in the full name
    of what was pushed, as in ^refs/heads/main$. None by default."""


def is_deployed_on(creation: Creation, full_ref: str) -> bool:
    """Of a push: refs/heads/… or refs/tags/…; each of the patterns has to be found."""
    patterns = creation.auto_deploy_on
    return bool(patterns) and all(is_found(pattern, full_ref) for pattern in patterns)


def payload_of(creation: Creation, given: Mapping[str, str]) -> Payload | None:
    """With the inputs that somebody has typed. Errors: `ValueError`, for that person."""
    inputs = creation.dynamic_payload.inputs
    if not creation.dynamic_payload.enabled:
        if given:
            raise ValueError("this environment takes no inputs")
        payload: Payload | None = creation.payload
        return payload
    errors = [
        f"{name} is not an input; {suggestion(name, inputs)}" for name in given.keys() - inputs
    ]
    values: dict[str, Any] = {}
    for name, one in inputs.items():
        value = one.read(given[name]) if name in given else one.default
        if value is not None:
            values[name] = value
        elif name in given:
            errors.append(f"{name} must be {one.expected}")
        elif one.required:
            errors.append(f"{name} is missing; write {name}={_example(one)}")
    if errors:
        raise ValueError("; ".join(errors))
    return values


def errors_of_secrets(source: Source) -> Iterator[ConfigError]:
    """Variables in what GitHub shows."""
    for path, written in source.written.items():
        public = len(path) > 2 and path[0] == "envs" and path[2] in _ON_GITHUB
        if public and any(match[1] for match in VARIABLE.finditer(written)):
            message = (
                "is shown on GitHub to all who may read the repository, so that no ${NAME} can be"
                " here: those are secrets; write it as plain text"
            )
            yield ConfigError(*source.positions[path], path, message)


def _example(one: Input) -> str:
    """As it may be typed."""
    match one.type:
        case "select":
            return one.options[0]
        case "number":
            return "1"
        case "boolean":
            return "true"
    return '"some text"'


def _number(text: str) -> int | float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number) or len(text) > 30:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number

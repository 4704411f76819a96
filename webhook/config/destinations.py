"""deploy.yml's destinations: who is notified of which deployments, for all notifiers.

A notifier's key in deploy.yml is its name, at the top for all environments and in each one: a
destination, or a list of them. What an environment's destination leaves out is the file's.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema

from webhook.config.errors import invalid
from webhook.config.source import ConfigError, Path, Source
from webhook.deployments.phases import Phase

State = Literal["queued", "in_progress", "success", "failure", "error"]


class Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


def repository(value: str) -> str:
    owner, slash, name = value.partition("/")
    if value != "*" and not (owner and slash and name and "/" not in name):
        raise invalid("is not a repository; write owner/name, owner/* or *")
    return value


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)


class OneOrSeveral:
    """In the JSON Schema: a list of one may also be written without the list."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


Repo = Annotated[str, AfterValidator(repository)]


def secret_address(pattern: re.Pattern[str], what: str) -> BeforeValidator:
    """Of an address that whoever knows it may use: no error repeats it. `none` is None."""

    def check(value: Any) -> Any:
        if value is None:
            raise invalid('is empty; write "${NAME}" of a variable, or none', with_value=False)
        if isinstance(value, str) and value != "none" and not pattern.fullmatch(value):
            raise invalid(f"is not {what}", with_value=False)
        return None if value == "none" else value

    return BeforeValidator(check)


class Destination(Strict):
    """Who is notified, and of which deployments. Each notifier adds its addresses."""

    # The keys of its two addresses: of the main message, and of failures.
    ADDRESSES: ClassVar[tuple[str, str]] = ("url", "failures")
    # How a destination is written, shown in errors.
    EXAMPLE: ClassVar[str]
    # The same, shown where nothing is written; the example if it is empty.
    FORM: ClassVar[str] = ""

    repos: tuple[Repo, ...] | None = Field(default=None, min_length=1, strict=False)
    """Only of these repositories: owner/name each; `*` stands for anything."""
    states: tuple[State, ...] | None = Field(default=None, min_length=1, strict=False)
    """Which states are reported; all by default. A message is always kept up to date."""
    only: Literal["failures"] | None = None
    """`failures` for states: [failure, error]."""

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.only and self.states:
            raise invalid("has both only and states; remove one of them", with_value=False)
        return self

    def accepts(self, phase: Phase) -> bool:
        """Whether this state is reported here."""
        if phase is Phase.INACTIVE:  # it had succeeded
            phase = Phase.SUCCESS
        if phase is Phase.SUPERSEDED:  # it had waited
            phase = Phase.QUEUED
        states: Iterable[str] | None = ("failure", "error") if self.only else self.states
        return phase is not Phase.SEEN and (states is None or phase in states)

    def covers(self, repo: str) -> bool:
        patterns = self.repos or ("*",)
        return any(fnmatchcase(repo.lower(), pattern.lower()) for pattern in patterns)

    def address(self, *, main: bool) -> str | None:
        """Of the main message, else of failures. It may be a secret."""
        value: str | None = getattr(self, self.ADDRESSES[0 if main else 1])
        return value

    def name(self, address: str) -> str:
        """Of an address, unique among those of this notifier; shown and stored, so no secret."""
        return address

    @classmethod
    def unlisted(cls, name: str) -> Self | None:
        """What is left of a destination that deploy.yml no longer has, so that its messages can be
        kept up to date; None where nothing can be done without the address."""
        return None

    def incomplete(self) -> str:
        """What is wrong with it once it is filled in; "" if nothing."""
        return ""

    def filled_in(self, default: Self) -> Self:
        """With what it leaves out taken from the file's."""
        own = self.model_dump(exclude_none=True)
        # An address may be set to None: switched off.
        own |= {key: getattr(self, key) for key in self.model_fields_set & {*self.ADDRESSES}}
        if own.keys() & {"only", "states"}:
            default = default.model_copy(update={"only": None, "states": None})
        return default.model_copy(update=own)


Notifiers = Mapping[str, type[Destination]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One address of a destination. `main`: it has the one message of a deployment, kept up to
    date; else only alerts of failures. `name` is unique among all: "slack:#deploys"."""

    name: str
    notifier: str
    main: bool
    destination: Destination


def targets_of(destinations: Iterable[tuple[str, Destination]], repo: str) -> list[Target]:
    """Each address once; the first destination with it counts. `destinations`: with their
    notifiers' names."""
    found: dict[str, Target] = {}
    given = [pair for pair in destinations if pair[1].covers(repo)]
    for main in (True, False):
        for notifier, one in given:
            if address := one.address(main=main):
                name = f"{notifier}:{one.name(address)}"
                target = Target(name=name, notifier=notifier, main=main, destination=one)
                found.setdefault(name, target)
    return list(found.values())


def main_targets(destinations: Iterable[tuple[str, Destination]]) -> list[Target]:
    """Those of main messages, for whatever repositories they are."""
    return [
        Target(
            name=f"{notifier}:{one.name(address)}", notifier=notifier, main=True, destination=one
        )
        for notifier, one in destinations
        if (address := one.address(main=True))
    ]


def filled_in(
    own: tuple[Destination, ...] | None, default: tuple[Destination, ...]
) -> tuple[Destination, ...]:
    """An environment's destinations; what they leave out is the file's, where that has just one."""
    if own is None:
        return default
    if len(default) != 1:
        return own
    return tuple(one.filled_in(default[0]) for one in own)


def default_field(model: type[Destination]) -> tuple[Any, Any]:
    """Of the file: for environments that do not say otherwise."""
    return _several(model), Field(
        default=(), description="For environments that do not say otherwise."
    )


def own_field(model: type[Destination]) -> tuple[Any, Any]:
    """Of an environment, where None stands for the file's."""

    def given(value: Any) -> Any:
        if value is None:
            text = (
                f"is empty; write {model.FORM or model.EXAMPLE}, [] for nobody, or remove the key"
            )
            raise invalid(text, with_value=False)
        return value

    text = "Who is notified; what it leaves out is the file's. [] for nobody."
    own: Any = Annotated[_several(model) | None, BeforeValidator(given)]
    return own, Field(default=None, description=text)


def _several(model: type[Destination]) -> Any:
    return Annotated[tuple[model, ...], BeforeValidator(as_tuple), OneOrSeveral]  # type: ignore[valid-type]


def in_environment(environment: BaseModel) -> Iterator[tuple[str, Destination]]:
    """All destinations of one, with their notifiers' names."""
    for key in type(environment).model_fields:
        value = getattr(environment, key)
        for one in value if isinstance(value, tuple) else ():
            if isinstance(one, Destination):
                yield key, one


def unreachable_destinations(source: Source, notifiers: Iterable[str]) -> Iterator[ConfigError]:
    """Destinations for repositories that their environment does not have."""
    envs = source.value.get("envs") if isinstance(source.value, dict) else None
    for index, env in enumerate(envs if isinstance(envs, list) else ()):
        for name in notifiers if isinstance(env, dict) else ():
            for path, repos in _repos(env.get(name), ("envs", index, name)):
                if _never_match(repos, env.get("repos", ["*"])):
                    text = "can never match: none of them is in the environment's repos"
                    yield ConfigError(*source.positions[path], path, f"{text}; correct them")


def _repos(own: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Of a destination, or of each in a list."""
    several = isinstance(own, list)
    for n, one in enumerate(own if several else [own]):
        if isinstance(one, dict):
            yield (*path, *([n] if several else []), "repos"), one.get("repos")


def _never_match(repos: Any, patterns: Any) -> bool:
    """Whether `repos` are names that match none of `patterns`. False for lists that contain a
    pattern or have other errors."""
    both = [*repos, *patterns] if isinstance(repos, list) and isinstance(patterns, list) else [0]
    if not repos or not patterns or not all(isinstance(one, str) for one in both):
        return False
    if any(set("*?[") & set(repo) for repo in repos):
        return False
    return not any(
        fnmatchcase(repo.lower(), pattern.lower()) for repo in repos for pattern in patterns
    )

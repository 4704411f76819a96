"""Chains of environments: deploy.yml's `after`, and what is wrong with it.

An environment of deploy.yml may be a pattern, and be for some repositories only, so that a chain
goes from one entry of the file to another for those repositories that both have.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from handlers import durations
from webhook.config.destinations import OneOrSeveral, Strict, as_tuple
from webhook.config.environments import Config, Environment
from webhook.config.errors import covers, invalid, suggestion
from webhook.config.gates import may_overlap
from webhook.config.routing import matches_any, route
from webhook.config.source import ConfigError, Path, Source
from webhook.gates.contract import keys_of

_SHORTEST, _LONGEST = timedelta(minutes=1), timedelta(days=30)
_PATTERN = set("*?")

# Patterns of repositories, all of which hold.
_Repos: TypeAlias = tuple[str, ...]


def _soak(value: Any) -> timedelta:
    try:
        found = durations.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise invalid(str(error)) from None
    if not _SHORTEST <= found <= _LONGEST:
        raise invalid("is out of bounds; a soak is 1m to 720h")
    return found


def _environment(value: str) -> str:
    if not value:
        raise invalid("must not be empty", with_value=False)
    if _PATTERN & set(value):
        raise invalid("is a pattern; write the name of one environment")
    return value


def _each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    names = [one.lower() for one in values]
    if twice := next((one for one in values if names.count(one.lower()) > 1), ""):
        raise invalid(f"has '{twice}' twice; remove one", with_value=False)
    return values


_After = Annotated[
    tuple[Annotated[str, AfterValidator(_environment)], ...],
    BeforeValidator(as_tuple),
    AfterValidator(_each_once),
    OneOrSeveral,
]
_Soak = Annotated[
    timedelta | None,
    BeforeValidator(_soak),
    WithJsonSchema({"type": "string", "pattern": "^(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}),
]


class PromotionKeys(Strict):
    after: _After = ()
    """Environments in which the newest deployment must be a success of the same commit."""
    soak: _Soak = None
    """For how long it must have been one: 30m, 12h."""
    promote: Literal["auto"] | None = None
    """auto: the relay asks for the deployment by itself as soon as that is so."""

    @field_validator("soak", "promote")
    @classmethod
    def _after_something(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("after") == ():
            raise invalid("needs `after`, the environment that comes first", with_value=False)
        return value


def promotion_of(environment: Strict) -> PromotionKeys:
    return keys_of(environment, PromotionKeys)


def comes_before(config: Config, repo: str, environment: str) -> bool:
    """Whether any environment may come after it."""
    return bool(_behind(config, repo, environment))


def promoted_to(config: Config, repo: str, environment: str) -> list[Environment]:
    """Those that come right after it, in the file's order; without those whose name is a pattern,
    of which nobody knows which there are."""
    return [
        one
        for one in _behind(config, repo, environment)
        if not _PATTERN & set(one.name) and route(config, repo, one.name) is one
    ]


def _behind(config: Config, repo: str, environment: str) -> list[Environment]:
    name = environment.lower()
    return [
        one
        for one in config.envs
        if any(name == before.lower() for before in promotion_of(one).after)
        and matches_any(one.repos, repo)
    ]


def chain_errors(environments: Sequence[Environment], source: Source) -> Iterator[ConfigError]:
    """Of all environments of the file."""
    for index, environment in enumerate(environments):
        keys, path = promotion_of(environment), ("envs", index)
        for number, name in enumerate(keys.after):
            if message := _wrong(environments, index, name):
                one: Path = (*path, "after", number)
                one = one if one in source.positions else one[:-1]
                yield ConfigError(*source.positions[one], one, message)
        if keys.promote and _PATTERN & set(environment.name):
            message = "needs one environment, and the name here is a pattern; add an entry for each"
            yield ConfigError(*source.positions[*path, "promote"], (*path, "promote"), message)
        if keys.soak and keys.soak >= environment.wait_limit:
            limit = durations.write(environment.wait_limit.total_seconds())
            message = f"is not less than wait_limit ({limit}), which ends the wait; raise that"
            yield ConfigError(*source.positions[*path, "soak"], (*path, "soak"), message)


def _wrong(environments: Sequence[Environment], index: int, name: str) -> str:
    """With one environment of an `after`; "" if nothing is."""
    repos = environments[index].repos
    if next(_routes(environments, repos, name), None) is None:
        known = [one.name for one in environments if _shared(one.repos, repos)]
        names = [one for one in known if one != environments[index].name]
        return f"'{name}' is no environment of this file for these repos; {suggestion(name, names)}"
    circle = _circle(environments, index, name)
    if circle and index == min(circle):
        back = [environments[one].name for one in (*circle[2:], *circle[:1])]
        chain = ", after ".join([environments[index].name, name, *(back if circle[1:] else ())])
        return f"makes a circle, in which nothing can ever start: {chain}; remove one of these"
    return ""


def _circle(environments: Sequence[Environment], start: int, name: str) -> list[int]:
    """The entries from `start` through `name` back to `start`; none if that leads elsewhere."""
    seen: set[tuple[int, _Repos]] = set()

    def search(before: str, repos: _Repos, way: list[int]) -> list[int]:
        for index, shared in _routes(environments, repos, before):
            if index == start:
                return way
            if (index, shared) in seen:
                continue
            seen.add((index, shared))
            for further in promotion_of(environments[index]).after:
                if found := search(further, shared, [*way, index]):
                    return found
        return []

    return search(name, environments[start].repos, [start])


def _routes(
    environments: Sequence[Environment], repos: _Repos, name: str
) -> Iterator[tuple[int, _Repos]]:
    """The entries to which that environment of such repositories may belong, and of which of them:
    the first that matches counts."""
    for index, one in enumerate(environments):
        shared = _shared(one.repos, repos) if matches_any([one.name], name) else ()
        if shared:
            yield index, shared
            if all(covers(map(str.lower, one.repos), repo.lower()) for repo in repos):
                return


def _shared(some: _Repos, others: _Repos) -> _Repos:
    """The repositories that both have, each by the narrower pattern."""
    pairs = [(one.lower(), other.lower()) for one in some for other in others]
    both = (
        one if covers([other], one) else other for one, other in pairs if may_overlap(one, other)
    )
    return tuple(dict.fromkeys(both))

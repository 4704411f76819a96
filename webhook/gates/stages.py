"""The stages of a repository: its environments in order, and from which one a commit comes to each.

deploy.yml's `after` says so; where it does not, production comes after all others.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from webhook.config.environments import Config, Environment
from webhook.gates.chains import promotion_of

_PATTERN = frozenset("*?[")

Route: TypeAlias = Callable[[str, str], Environment | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """`transient`: it comes and goes, as a preview does. `before`: from which its commits come."""

    name: str
    production: bool
    transient: bool = False
    before: tuple[str, ...] = ()


def is_literal(environment: Environment) -> bool:
    return not _PATTERN & set(environment.name)


def in_order(
    config: Config, repo: str, environments: Iterable[Stage], routed: Route
) -> list[Stage]:
    """Those that others follow first, production last; else in the order of deploy.yml.
    `routed`: as `webhook.config.routing.route`, of this `config`."""
    stages = {one.name.lower(): one for one in environments}
    entries = {name: routed(repo, name) for name in stages}
    after = {name: _after(entries[name], stages) for name in stages}
    numbers = {id(one): number for number, one in enumerate(config.envs)}

    def position(name: str) -> tuple[bool, int, int, str]:
        number = numbers.get(id(entries[name]), len(numbers))
        return stages[name].production, _depth(name, after), number, name

    names = sorted(stages, key=position)
    default = _last_before_production(names, stages, entries)
    return [
        replace(
            stages[name],
            before=tuple(stages[one].name for one in after[name])
            or (default if stages[name].production and not _has_after(entries[name]) else ()),
        )
        for name in names
    ]


def _after(entry: Environment | None, stages: Mapping[str, Stage]) -> tuple[str, ...]:
    """Of those that are there."""
    names = [one.lower() for one in promotion_of(entry).after] if entry else []
    return tuple(one for one in names if one in stages)


def _has_after(entry: Environment | None) -> bool:
    return entry is not None and bool(promotion_of(entry).after)


def _depth(name: str, after: Mapping[str, tuple[str, ...]], most: int = 20) -> int:
    """How many come before it; deploy.yml has no circles, of which one would never end."""
    if most == 0:
        return 0
    return max((1 + _depth(one, after, most - 1) for one in after[name]), default=0)


def _last_before_production(
    names: list[str], stages: Mapping[str, Stage], entries: Mapping[str, Environment | None]
) -> tuple[str, ...]:
    """Of those that deploy.yml names; else of all that stay."""
    others = [one for one in names if not stages[one].production and not stages[one].transient]
    literal = [one for one in others if (entry := entries[one]) and is_literal(entry)]
    return tuple(stages[one].name for one in (literal or others)[-1:])

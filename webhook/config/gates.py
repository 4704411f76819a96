"""deploy.yml's keys of gates (`webhook.gates`): each gate brings its own, of an environment and at
the top of the file. Lists there come before those of an environment; anything else is a default.

A tool that starts by itself cannot be held by a gate, so that the two are refused together.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Protocol, get_args

from pydantic import BaseModel

from webhook.config.destinations import Strict
from webhook.config.source import ConfigError, Path, Source

_SET = re.compile(r"\[!?\]?[^\]]*\]")


class NoKeys(Strict):
    """Of a gate that has none."""


class FileEntry(Strict):
    """Of a list at the top of the file."""

    def may_cover(self, repos: Sequence[str], environment: str) -> bool:
        """Whether it may be for anything of an environment of deploy.yml; all are patterns."""
        return True


class GateKeys(Protocol):
    """`Keys`: keys of an environment. `FileKeys`: the same keys at the top of the file: lists of
    `FileEntry`, or a default. `key_in_use`: the key by which an environment wants this gate, "" if
    it does not. `errors`: what is wrong with its keys of all environments together."""

    @property
    def Keys(self) -> type[Strict]: ...  # noqa: N802

    @property
    def FileKeys(self) -> type[Strict]: ...  # noqa: N802

    @property
    def key_in_use(self) -> Callable[[Strict], str]: ...

    @property
    def errors(self) -> Callable[[Sequence[Any], Source], Iterable[ConfigError]]: ...


def no_errors(environments: Sequence[Any], source: Source) -> Iterable[ConfigError]:
    return ()


def models_of(gates: Sequence[GateKeys]) -> tuple[type[Strict], ...]:
    return tuple(gate.Keys for gate in gates if gate.Keys is not NoKeys)


def file_models_of(gates: Sequence[GateKeys]) -> tuple[type[Strict], ...]:
    return tuple(gate.FileKeys for gate in gates if gate.FileKeys is not NoKeys)


def entries_of(models: Sequence[type[Strict]]) -> dict[str, type[Strict]]:
    """Of keys that are mappings, or lists of them, the model of one."""
    fields = {name: field for one in models for name, field in one.model_fields.items()}
    found = {name: _mapping_in(field.annotation) for name, field in fields.items()}
    return {name: model for name, model in found.items() if model}


def _mapping_in(annotation: Any) -> type[Strict] | None:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation
    return next((one for part in get_args(annotation) if (one := _mapping_in(part))), None)


def of_file(environment: Strict, file: Strict, gates: Sequence[GateKeys]) -> dict[str, Any]:
    """The environment's keys, with the file's before them, or in their place."""
    names = [name for model in file_models_of(gates) for name in model.model_fields]
    return {name: _joined(getattr(file, name), getattr(environment, name)) for name in names}


def _joined(of_file: Any, own: Any) -> Any:
    if isinstance(of_file, tuple):
        return (*of_file, *own)
    return of_file if own is None else own


def without_environment(
    file: Strict,
    environments: Sequence[tuple[Sequence[str], str]],
    gates: Sequence[GateKeys],
    source: Source,
) -> Iterator[ConfigError]:
    """Entries at the top of the file that are for none of its environments, each of these with its
    repositories and its name."""
    message = "is for no environment of this file; correct its repos or environments"
    for name in (name for model in file_models_of(gates) for name in model.model_fields):
        entries: Any = getattr(file, name)
        for index, entry in enumerate(entries if isinstance(entries, tuple) else ()):
            if not any(entry.may_cover(*one) for one in environments):
                path: Path = (name, index)
                yield ConfigError(*source.positions[path], path, message)


def may_overlap(one: str, other: str) -> bool:
    """Whether there may be a text that both patterns match. A set of characters counts as any."""
    first, second = (_SET.sub("?", pattern.lower()) for pattern in (one, other))

    @cache
    def overlap(i: int, j: int) -> bool:
        if first[i : i + 1] == "*":
            return overlap(i + 1, j) or (j < len(second) and overlap(i, j + 1))
        if second[j : j + 1] == "*":
            return overlap(i, j + 1) or (i < len(first) and overlap(i + 1, j))
        if i == len(first) or j == len(second):
            return i == len(first) and j == len(second)
        return (first[i] == second[j] or "?" in (first[i], second[j])) and overlap(i + 1, j + 1)

    return overlap(0, 0)


def ineffective(
    environment: Strict, index: int, options: BaseModel, gates: Sequence[GateKeys], source: Source
) -> Iterator[ConfigError]:
    """Gates of an environment whose tool starts by itself."""
    if getattr(environment, "can_be_held", True):
        return
    by_rule = getattr(options, "held_by_protection_rule", False)
    for gate in gates:
        if key := gate.key_in_use(environment):
            own: Path = ("envs", index, key)
            path = own if own in source.keys else (key,)
            where = "" if path == own else f" of envs[{index}], which it covers"
            leave = "remove this" if path == own else "leave it out of what this covers"
            rule = (
                "or let GitHub ask the relay before the jobs of that environment run"
                " (protection_rule: true; docs/protection-rules.md), "
            )
            message = (
                f"cannot hold the tool{where}: it starts by itself, past every gate. Let the relay"
                " start it (mode: dispatch of github-actions, mode: promote of drone),"
                f" {rule if by_rule else ''}or {leave}"
            )
            yield ConfigError(*source.keys[path], path, message)

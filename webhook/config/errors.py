"""Errors in deploy.yml: their messages and positions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from webhook.config.source import ConfigError, Path, Source
from webhook.text import one_line

_INVALID = "invalid"
_MAPPINGS = {"model_type", "dict_type", "mapping_type", "model_attributes_type", "dataclass_type"}
_LISTS = {"list_type", "tuple_type", "set_type", "frozen_set_type"}
_MESSAGES = {
    "missing": "is missing",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    **dict.fromkeys(_MAPPINGS, "must have keys with values"),
    **dict.fromkeys(_LISTS, "must be a list, like [a, b]"),
}


def invalid(message: str, *, with_value: bool = True) -> PydanticCustomError:
    """An error that a validator of these models raises. By default the message follows the value,
    as it is written in the file."""
    return PydanticCustomError(
        _INVALID, "{message}", {"message": message, "with_value": with_value}
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"known here: {', '.join(names) or 'none'}{hint}"


@dataclass(frozen=True, slots=True)
class Known:
    """`keys` of each mapping, of lists those of an entry; `examples` of the destinations of each
    notifier."""

    keys: Mapping[str, tuple[str, ...]]
    examples: Mapping[str, str]


def errors_of(invalid: ValidationError, source: Source, known: Known) -> Iterator[ConfigError]:
    """Without errors that only follow from others: at a position that has one already, and a list
    that is too short because all of its items are invalid."""
    reported = {(error.line, error.column) for error in source.errors}
    for details in invalid.errors(include_url=False):
        path = _path(details, source)
        line, column = _position(details, path, source)
        emptied = details["type"] == "too_short" and details["input"]
        if (line, column) not in reported and not emptied:
            yield ConfigError(line, column, path, _message(details, path, source, known))


def unreachable_environments(source: Source) -> Iterator[ConfigError]:
    """Environments whose deployments all belong to an earlier one."""
    envs = source.value.get("envs") if isinstance(source.value, dict) else None
    earlier: list[tuple[int, str, list[str]]] = []
    for index, env in enumerate(envs if isinstance(envs, list) else ()):
        name, repos = _scope(env)
        if not name or not repos:
            continue
        for other, other_name, other_repos in earlier:
            if covers([other_name], name) and all(covers(other_repos, repo) for repo in repos):
                position = source.positions["envs", index, "name"]
                message = f"can never match: envs[{other}] before it takes all; remove or move it"
                yield ConfigError(*position, ("envs", index, "name"), message)
                break
        earlier.append((index, name, repos))


def _scope(env: Any) -> tuple[str, list[str]]:
    """Name and repositories; empty if they have other errors, which come first."""
    name, repos = (env.get("name"), env.get("repos", ["*"])) if isinstance(env, dict) else (0, 0)
    if not isinstance(name, str) or not isinstance(repos, list):
        return "", []
    if not all(isinstance(repo, str) for repo in repos):
        return "", []
    return name.lower(), [repo.lower() for repo in repos]


def covers(patterns: Iterable[str], later: str) -> bool:
    """Whether `patterns` match everything that `later` matches. A `*` that matches another pattern
    as plain text also matches everything that it stands for; `?` and `[` do not."""
    return any(
        pattern == later or (not set("?[") & set(pattern) and fnmatchcase(later, pattern))
        for pattern in patterns
    )


def _path(details: ErrorDetails, source: Source) -> Path:
    """Without what pydantic adds: the handler that chose the model, members of unions."""
    steps = list(details["loc"])
    if steps[:1] == ["envs"]:
        del steps[2:3]
    path: Path = ()
    for step in steps[:-1]:
        path = (*path, step) if (*path, step) in source.positions else path
    last = tuple(steps[-1:])
    known = path + last in source.positions or details["type"] == "missing"
    return path + last if known else path


def _position(details: ErrorDetails, path: Path, source: Source) -> tuple[int, int]:
    if details["type"] == "extra_forbidden" and path in source.keys:
        return source.keys[path]
    while path not in source.positions:
        path = path[:-1]
    return source.positions[path]


def _message(details: ErrorDetails, path: Path, source: Source, known: Known) -> str:
    kind, context = details["type"], details.get("ctx", {})
    written = f"'{one_line(source.written[path], 60)}'" if path in source.written else "this"
    if kind == _INVALID:
        subject = f"{written} " if context["with_value"] else ""
        return f"{subject}{context['message']}"
    if kind == "extra_forbidden":
        return _unknown_key(path, source, known)
    if kind == "string_type":
        return _not_text(details["input"], written)
    if kind == "bool_type":
        return f"must be true or false, not {written}"
    if kind == "literal_error":
        return _not_of(context["expected"], written)
    message = _MESSAGES.get(kind) or str(context.get("error", details["msg"]))
    examples = [known.examples[str(key)] for key in path[-2:] if key in known.examples]
    return f"{message}, as in {examples[0]}" if kind in _MAPPINGS and examples else message


def _unknown_key(path: Path, source: Source, known: Known) -> str:
    key = str(path[-1])
    match path[:-1]:
        case ("envs", _):
            keys = known.keys["envs"]
        case ("envs", int(index), "with"):
            keys = known.keys[f"with:{source.value['envs'][index]['handler']}"]
        case ("envs", _, str(name), *_) if f"envs.{name}" in known.keys:
            keys = known.keys[f"envs.{name}"]
        case ("envs", _, str(name), *_) if name in known.examples:
            keys = known.keys[name]
        case (str(name), *_) if name != "envs" and name in known.keys:
            keys = known.keys[name]
        case ():
            keys = known.keys[""]
        case _:
            return "is not a key here; remove it"
    return f"is not a key; {suggestion(key, keys)}"


def _not_of(expected: str, written: str) -> str:
    only = expected.strip("'")
    if "'" in only:
        return f"{written} is not one of {expected}"
    return f"{written} cannot be here; write {only}"


def _not_text(value: Any, written: str) -> str:
    if value is None:
        return "is empty; write a value (YAML takes what follows # for a comment) or remove the key"
    if isinstance(value, list | dict):
        return "must be text, not a list or keys"
    kind = "true or false" if isinstance(value, bool) else "a number"
    return f"must be text, and YAML reads {written} as {kind}; put it in quotes"

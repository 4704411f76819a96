"""The words for what is wrong in deploy.yml, and where it is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from webhook.config.source import Fault, Path, Source
from webhook.text import one_line

# In Gitploy's deploy.yml, but not acted on here. To skip over `review` would deploy unreviewed.
_GITPLOY_KEYS = {
    "task",
    "auto_merge",
    "required_contexts",
    "payload",
    "dynamic_payload",
    "deployable_ref",
    "auto_deploy_on",
    "serialization",
    "review",
    "frozen_windows",
}
_GITPLOY_WORDS = "is a key of Gitploy's that this relay does not act on yet; remove it"
_AT_FAULT = "at_fault"
_MAPPINGS = {"model_type", "dict_type", "mapping_type", "model_attributes_type", "dataclass_type"}
_LISTS = {"list_type", "tuple_type", "set_type", "frozen_set_type"}
_WORDS = {
    "missing": "is missing",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    **dict.fromkeys(_MAPPINGS, "wants keys with values"),
    **dict.fromkeys(_LISTS, "wants a list, like [a, b]"),
}


def at_fault(words: str, *, names_value: bool = True) -> PydanticCustomError:
    """A fault that a validator of the file's own models finds; by default its words follow the
    value, as it is written in the file."""
    return PydanticCustomError(_AT_FAULT, "{words}", {"words": words, "names_value": names_value})


def suggestion(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    mean = f"; did you mean '{close[0]}'?" if close else ""
    return f"known here: {', '.join(names) or 'none'}{mean}"


@dataclass(frozen=True, slots=True)
class Known:
    """`keys` of each mapping; `examples` of the destinations of each notifier."""

    keys: Mapping[str, tuple[str, ...]]
    examples: Mapping[str, str]


def faults_of(error: ValidationError, source: Source, known: Known) -> Iterator[Fault]:
    """Faults that only follow from others are left out: those at a place that has one already,
    and a list that is too short because all of its items are at fault."""
    taken = {(fault.line, fault.column) for fault in source.faults}
    for details in error.errors(include_url=False):
        path = _path(details, source)
        line, column = _place(details, path, source)
        emptied = details["type"] == "too_short" and details["input"]
        if (line, column) not in taken and not emptied:
            yield Fault(line, column, path, _words(details, path, source, known))


def never_matches(source: Source) -> Iterator[Fault]:
    """Environments that an earlier one takes everything from."""
    envs = source.value.get("envs") if isinstance(source.value, dict) else None
    earlier: list[tuple[int, str, list[str]]] = []
    for index, env in enumerate(envs if isinstance(envs, list) else ()):
        name, repos = _scope(env)
        if not name or not repos:
            continue
        for other, other_name, other_repos in earlier:
            if _covers([other_name], name) and all(_covers(other_repos, repo) for repo in repos):
                place = source.places["envs", index, "name"]
                words = f"can never match: envs[{other}] before it takes all; remove or move it"
                yield Fault(*place, ("envs", index, "name"), words)
                break
        earlier.append((index, name, repos))


def _scope(env: Any) -> tuple[str, list[str]]:
    """Nothing of what has other faults: those come first."""
    name, repos = (env.get("name"), env.get("repos", ["*"])) if isinstance(env, dict) else (0, 0)
    if not isinstance(name, str) or not isinstance(repos, list):
        return "", []
    if not all(isinstance(repo, str) for repo in repos):
        return "", []
    return name.lower(), [repo.lower() for repo in repos]


def _covers(patterns: list[str], later: str) -> bool:
    """Whether all that `later` matches is matched before. A `*` that matches another pattern as
    if it were plain text also matches all that stands for; `?` and `[` do not."""
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
        path = (*path, step) if (*path, step) in source.places else path
    last = tuple(steps[-1:])
    known = path + last in source.places or details["type"] == "missing"
    return path + last if known else path


def _place(details: ErrorDetails, path: Path, source: Source) -> tuple[int, int]:
    if details["type"] == "extra_forbidden" and path in source.keys:
        return source.keys[path]
    while path not in source.places:
        path = path[:-1]
    return source.places[path]


def _words(details: ErrorDetails, path: Path, source: Source, known: Known) -> str:
    kind, context = details["type"], details.get("ctx", {})
    written = f"'{one_line(source.written[path], 60)}'" if path in source.written else "this"
    if kind == _AT_FAULT:
        subject = f"{written} " if context["names_value"] else ""
        return f"{subject}{context['words']}"
    if kind == "extra_forbidden":
        return _unknown_key(path, source, known)
    if kind == "string_type":
        return _not_text(details["input"], written)
    if kind == "bool_type":
        return f"wants true or false, not {written}"
    if kind == "literal_error":
        return _not_of(context["expected"], written)
    # These may quote the value, and with it a secret that was filled in.
    said = _WORDS.get(kind) or _hidden(str(context.get("error", details["msg"])), source.secrets)
    examples = [known.examples[str(key)] for key in path[-2:] if key in known.examples]
    return f"{said}, as in {examples[0]}" if kind in _MAPPINGS and examples else said


def _unknown_key(path: Path, source: Source, known: Known) -> str:
    key = str(path[-1])
    match path[:-1]:
        case ("envs", _):
            if key in _GITPLOY_KEYS:
                return _GITPLOY_WORDS
            keys = known.keys["envs"]
        case ("envs", int(index), "with"):
            keys = known.keys[f"with:{source.value['envs'][index]['handler']}"]
        case ("envs", _, str(name), *_) if name in known.examples:
            keys = known.keys[name]
        case (str(name), *_) if name in known.examples:
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
        return "wants text, not a list or keys"
    kind = "true or false" if isinstance(value, bool) else "a number"
    return f"wants text, and YAML reads {written} as {kind}; put it in quotes"


def _hidden(words: str, secrets: set[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        words = words.replace(secret, "***")
    return words

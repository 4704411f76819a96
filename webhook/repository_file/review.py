"""A change of a repository's file, as its reviewers need to see it: what is wrong in it, and which
gates it loosens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from webhook.config.environments import Environment
from webhook.config.source import ConfigError
from webhook.repository_file.loosening import demands_of, demands_of_file, loosened
from webhook.repository_file.model import FileEnvironment, RepositoryFile
from webhook.repository_file.tighten import tighten

# The operator's environment of a name, where the repository's file is to tighten it; else why not.
RouteOf = Callable[[str], Environment | str]
Kind = Literal["error", "loosened", "warning", "held", "ignored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`error`: nothing may start with it. `held`: it would loosen a gate, and something else says
    the same all the same. `ignored`: it has no effect. `line`: of the new file, 0 for none."""

    kind: Kind
    text: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`before`, `after`: the two files; `default`: that at the head of the default branch where the
    change is for another branch, whose copy only adds to it. None: there is none."""

    before: RepositoryFile | None
    after: RepositoryFile | None
    default: RepositoryFile | None = None
    of_default_branch: bool = True


def review(change: Change, route_of: RouteOf) -> list[Finding]:
    after = change.after or RepositoryFile()
    findings = [_finding("error", one) for one in after.errors]
    for name in _names(change):
        found = route_of(name)
        if isinstance(found, str):
            findings.append(
                Finding(kind="ignored", text=f"{name}: {found}", line=_line(after, name))
            )
        elif not after.errors_for(name):
            findings += _loosened(change, found, name)
    return [*findings, *(_finding("warning", one) for one in after.warnings)]


def _loosened(change: Change, environment: Environment, name: str) -> Iterator[Finding]:
    before, after = (
        one.environment(name) if one else None for one in (change.before, change.after)
    )
    in_fact = _holds_no_more(change, environment, name)
    for (key, item), text in loosened(demands_of_file(before), demands_of_file(after)).items():
        line = _line_of(after, key)
        if found := in_fact.get((key, item)):
            yield Finding(kind="loosened", text=f"{name}: {key}: {found}", line=line)
        else:
            yield Finding(kind="held", text=f"{name}: {key}: {text}", line=line)


def _holds_no_more(
    change: Change, environment: Environment, name: str
) -> dict[tuple[str, str], str]:
    if change.of_default_branch:
        before = tighten(environment, change.before, None, name)
        after = tighten(environment, change.after, None, name)
    else:
        before = tighten(environment, change.default, change.before, name)
        after = tighten(environment, change.default, change.after, name)
    if before.denial:
        return {}
    return loosened(demands_of(before.environment), demands_of(after.environment))


def _names(change: Change) -> list[str]:
    """Of the environments of both files, each once."""
    every = (
        one.name for file in (change.after, change.before) if file for one in file.environments
    )
    return list({name.lower(): name for name in reversed(list(every))}.values())[::-1]


def _finding(kind: Kind, error: ConfigError) -> Finding:
    path = ".".join(str(step) for step in error.path)
    text = f"{path}: {error.message}" if path else error.message
    return Finding(kind=kind, text=text, line=error.line, column=error.column)


def _line(file: RepositoryFile, name: str) -> int:
    return _line_of(file.environment(name), "name")


def _line_of(environment: FileEnvironment | None, key: str) -> int:
    if environment is None:
        return 0
    return environment.lines.get(key) or environment.lines.get("name", 0)

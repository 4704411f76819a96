"""A change of a repository's file, as its reviewers need to see it: what is wrong in it, and which
gates it loosens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from webhook.config.environments import Environment
from webhook.config.source import ConfigError
from webhook.repository_file.loosening import demands_of, demands_of_file, loosened
from webhook.repository_file.model import FileEnvironment, RepositoryFile
from webhook.repository_file.tighten import Tightened, tighten

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
            line = _line_of(after.environment(name), "name")
            findings.append(Finding(kind="ignored", text=f"{name}: {found}", line=line))
        elif not after.errors_for(name):
            findings += _of_environment(change, found, name)
    return [*findings, *(_finding("warning", one) for one in after.warnings)]


def _of_environment(change: Change, environment: Environment, name: str) -> Iterator[Finding]:
    own = change.after.environment(name) if change.after else None
    before, after = (
        _tightened(change, environment, name, file) for file in (change.before, change.after)
    )
    if after.denial:
        text = f"{name}: {after.denial}. {after.way_out}"
        yield Finding(kind="error", text=text, line=_line_of(own, "review"))
        return
    if before.denial:
        return  # nothing could start at all
    in_fact = loosened(demands_of(before.environment), demands_of(after.environment))
    old = change.before.environment(name) if change.before else None
    removed = loosened(demands_of_file(old), demands_of_file(own))
    for (key, item), text in (removed | in_fact).items():
        kind: Kind = "loosened" if (key, item) in in_fact else "held"
        yield Finding(kind=kind, text=f"{name}: {key}: {text}", line=_line_of(own, key))


def _tightened(
    change: Change, environment: Environment, name: str, file: RepositoryFile | None
) -> Tightened:
    if change.of_default_branch:
        return tighten(environment, file, None, name)
    return tighten(environment, change.default, file, name)


def _names(change: Change) -> list[str]:
    """Of the environments of both files, each once."""
    every = (
        one.name for file in (change.after, change.before) if file for one in file.environments
    )
    return list({name.lower(): name for name in reversed(list(every))}.values())[::-1]


def _finding(kind: Kind, error: ConfigError) -> Finding:
    text = str(error).removeprefix(f"{error.line}:{error.column}: ")
    return Finding(kind=kind, text=text, line=error.line, column=error.column)


def _line_of(environment: FileEnvironment | None, key: str) -> int:
    if environment is None:
        return 0
    return environment.lines.get(key) or environment.line

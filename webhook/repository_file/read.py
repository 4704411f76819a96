"""Reads a repository's deploy.yml as Gitploy does, and says what Gitploy swallows.

Errors: none are raised; they are in the `RepositoryFile`.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace

import yaml

from webhook.config.errors import suggestion
from webhook.config.source import ConfigError, NotYaml, Path, compose
from webhook.repository_file.document import Document, TooManyErrors, scalars
from webhook.repository_file.environment import read_environment
from webhook.repository_file.keys import DELIVERYBOTS, FILE, ignored
from webhook.repository_file.model import (
    MOST_BYTES,
    MOST_ENVIRONMENTS,
    FileEnvironment,
    RepositoryFile,
)
from webhook.repository_file.variables import (
    NOT_IMPLEMENTED,
    BadSubstitution,
    Substituted,
    gitploys,
    substitute,
)
from webhook.text import one_line

_EXAMPLE = "write envs: and below it - name: production"
# Keys that people give to what they use by an alias.
_OF_ANCHORS = ("x-", ".")
_NAMES = tuple(gitploys(rollback=False))
_NEW_LINE = re.compile(r"\r\n|\r|\n")


def read(text: bytes, *, rollback: bool = False) -> RepositoryFile:
    """`rollback`: whether Gitploy's variables are those of a rollback."""
    if len(text) > MOST_BYTES:
        return _invalid(1, 1, f"is larger than {MOST_BYTES // 1024} KB; shorten it")
    try:
        raw = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("latin-1")
        return _invalid(len(_NEW_LINE.findall(before)) + 1, 1, "is not UTF-8; save it as UTF-8")
    try:
        substituted = substitute(raw, gitploys(rollback=rollback))
    except BadSubstitution as error:
        message = f"'${{' {error}; Gitploy reads ${{ everywhere, so write $${{ for a plain ${{"
        return _invalid(*Document(raw, Substituted()).position_of(error.offset), message)
    document = Document(raw, substituted)
    try:
        return _read(document, compose(substituted.text), substituted)
    except NotYaml as error:
        at = substituted.offsets[min(error.index, len(substituted.offsets) - 1)]
        line, column = document.position_of(at)
        hint = _hint(_NEW_LINE.split(raw)[line - 1])
        return _invalid(line, column, f"{error}{hint}")
    except TooManyErrors:
        return RepositoryFile(errors=tuple(sorted(document.errors)))


def _invalid(line: int, column: int, message: str) -> RepositoryFile:
    return RepositoryFile(errors=(ConfigError(line, column, (), message),))


def _hint(line: str) -> str:
    r"""`"v\\.*"` is `"v\.*"` by the time that it is YAML."""
    if "\\\\" not in line:
        return ""
    return r"; Gitploy turns \\ into \ first: write patterns in single quotes, as in 'v\.*'"


def _read(document: Document, node: yaml.Node | None, substituted: Substituted) -> RepositoryFile:
    envs = _envs(document, node)
    approvers = _approvers(document, node)
    read = [
        read_environment(document, one, ("envs", index), approvers)
        for index, one in enumerate(envs)
    ]
    _add_duplicates(document, envs, read)
    _add_unknown_variables(document, node, envs, substituted)
    errors = sorted(document.errors)
    environments = tuple(
        replace(one, errors=tuple(error for error in errors if error.path[:2] == ("envs", index)))
        for index, one in enumerate(read)
    )
    return RepositoryFile(environments, tuple(errors), tuple(sorted(document.warnings)))


def _envs(document: Document, node: yaml.Node | None) -> list[yaml.Node]:
    if node is None:
        document.errors.append(ConfigError(1, 1, (), f"is empty; {_EXAMPLE}, or delete the file"))
        return []
    if not isinstance(node, yaml.MappingNode):
        document.error(node, (), f"is not Gitploy's deploy.yml, which begins with envs; {_EXAMPLE}")
        return []
    entries = document.mapping(node, ())
    entry = entries.get("envs")
    if entry is None:
        is_deliverybots = any(_is_target(one.value) for one in entries.values())
        what = "is deliverybot's deploy.yml, not Gitploy's" if is_deliverybots else "has no envs"
        document.error(node, (), f"{what}; {_EXAMPLE}")
        return []
    for key, one in entries.items():
        if key not in (*FILE, "approvers") and not key.startswith(_OF_ANCHORS):
            document.warn(one.key, one.path, ignored(key, FILE))
    if not isinstance(entry.value, yaml.SequenceNode):
        document.error(entry.value, entry.path, f"must be a list; {_EXAMPLE}")
        return []
    found = document.items(entry.value, entry.path)
    if not found:
        document.error(entry.value, entry.path, f"is empty; {_EXAMPLE}")
    if len(found) > MOST_ENVIRONMENTS:
        message = f"has more than {MOST_ENVIRONMENTS} environments; write fewer"
        document.error(entry.value, entry.path, message)
        return []
    return found


def _is_target(node: yaml.Node) -> bool:
    """Whether it looks like a target of deliverybot's."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return any(isinstance(key, yaml.ScalarNode) and key.value in DELIVERYBOTS for key, _ in pairs)


def _approvers(document: Document, node: yaml.Node | None) -> tuple[str, ...]:
    """Of Gitploy's oldest files, at the top."""
    if not isinstance(node, yaml.MappingNode):
        return ()
    entry = next((value for key, value in node.value if key.value == "approvers"), None)
    if entry is None:
        return ()
    path = ("approvers",)
    message = "is Gitploy's oldest key, and does nothing but where an environment has approval"
    document.warn(entry, path, f"{message}; write reviewers in the review of each environment")
    return document.texts(entry, path)


def _add_duplicates(
    document: Document, envs: Sequence[yaml.Node], read: Sequence[FileEnvironment]
) -> None:
    """Gitploy takes the first, too, but tells upper and lower case apart: what it holds back by the
    second one, nothing would hold back here."""
    first: dict[str, FileEnvironment] = {}
    for index, (node, one) in enumerate(zip(envs, read, strict=True)):
        other = first.setdefault(one.name.lower(), one)
        if other is one or not one.name:
            continue
        name, path = one_line(one.name, 60), ("envs", index)
        if other.name == one.name:
            message = f"is in line {other.line} already, and does nothing here; remove one"
            document.warn(node, path, f"'{name}' {message}")
        else:
            message = f"is in line {other.line} in another spelling; remove one"
            document.error(node, path, f"'{name}' {message}")


def _add_unknown_variables(
    document: Document, node: yaml.Node | None, envs: Sequence[yaml.Node], found: Substituted
) -> None:
    """Gitploy puts ERR_NOT_IMPLEMENTED; in a comment, that is nothing."""
    if not found.unknown or node is None:
        return
    spans = sorted((one.start_mark.index, one.end_mark.index) for one in scalars(node))
    errors = []
    for one in found.unknown:
        at = bisect_left(found.offsets, one.offset)
        path: Path = next(
            (
                ("envs", index)
                for index, env in enumerate(envs)
                if env.start_mark.index <= at < env.end_mark.index
            ),
            (),
        )
        name = one_line(one.name, 60)
        message = f"${{{name}}} is not a variable of Gitploy's; {suggestion(name, _NAMES)}"
        error = ConfigError(*document.position_of(one.offset), path, message)
        before = bisect_right(spans, (at, len(found.text))) - 1
        in_value = before >= 0 and at < spans[before][1]
        if in_value:
            errors.append(error)
        else:
            document.add_warning(error)
    lines = {one.line for one in errors}
    document.errors = [
        one
        for one in document.errors
        if one.line not in lines or NOT_IMPLEMENTED not in one.message
    ]
    for error in errors:
        document.add_error(error)

"""YAML of a repository's file -> values as Go's yaml.v3 decodes them into Gitploy's types.

What a value is, its type there decides: `name: on` and `name: 2024` are text, `serialization: on`
is true. Anchors, aliases and merge keys work; what they expand to is bounded.

Source: gopkg.in/yaml.v3, decode.go and resolve.go.
Errors: `NotYaml` and `TooManyErrors` where there is more than the bounds allow; others are
collected, with their place in the file as it was before variables were substituted.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from webhook.config.source import NO_NUMBER, ConfigError, NotYaml, Path, number_of
from webhook.repository_file.variables import Substituted
from webhook.text import one_line

_MOST_ERRORS = 100
_MOST_WARNINGS = 1_000
_MOST_VALUES = 5_000
_DEEPEST = 30
_LONGEST_SHOWN = 60
_TAG = "tag:yaml.org,2002:"
_PLAIN = {f"{_TAG}{name}" for name in ("str", "null", "bool", "int", "float", "timestamp", "value")}
_TRUE, _FALSE = {"true", "yes", "on", "y"}, {"false", "no", "off", "n"}
_NEW_LINE = re.compile(r"\r\n|\r|\n")
_UNUSABLE = re.compile(r"[\x00\ud800-\udfff]")


class TooManyErrors(Exception):
    """There is no need to read on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value."""

    key: yaml.Node
    value: yaml.Node
    path: Path


class Document:
    """`values`: how many were read."""

    def __init__(self, raw: str, substituted: Substituted) -> None:
        self.offsets = substituted.offsets
        self.line_starts = [0, *(match.end() for match in _NEW_LINE.finditer(raw))]
        self.constructor = yaml.constructor.SafeConstructor()
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []
        self.values = 0

    def position(self, node: yaml.Node) -> tuple[int, int]:
        return self.position_of(self.offsets[node.start_mark.index])

    def position_of(self, offset: int) -> tuple[int, int]:
        """Of an offset in the raw text."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def error(self, node: yaml.Node, path: Path, message: str) -> None:
        self.add_error(ConfigError(*self.position(node), path, message))

    def warn(self, node: yaml.Node, path: Path, message: str) -> None:
        self.add_warning(ConfigError(*self.position(node), path, message))

    def add_error(self, one: ConfigError) -> None:
        self.errors.append(one)
        if len(self.errors) >= _MOST_ERRORS:
            raise TooManyErrors

    def add_warning(self, one: ConfigError) -> None:
        """Of very many, the first ones are enough."""
        if len(self.warnings) < _MOST_WARNINGS:
            self.warnings.append(one)

    def mapping(self, node: yaml.Node, path: Path) -> dict[str, Entry]:
        """Its entries, by key; none, with an error, if it is no mapping."""
        if not isinstance(node, yaml.MappingNode):
            self.error(node, path, f"must have keys with values, not {shown(node)}")
            return {}
        return self._entries(node, path, 0)

    def items(self, node: yaml.Node, path: Path) -> list[yaml.Node]:
        """Of a list; none, with an error, if it is none."""
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._count(item)
            return list(node.value)
        if not is_null(node):
            self.error(node, path, f"must be a list, like [a, b], not {shown(node)}")
        return []

    def text(self, node: yaml.Node, path: Path) -> str | None:
        """None: it is empty, or is no text, with an error."""
        if not isinstance(node, yaml.ScalarNode):
            self.error(node, path, "must be text, not a list or keys")
            return None
        if node.tag not in _PLAIN or _UNUSABLE.search(node.value):
            self.error(node, path, "is not text; remove its tag, NUL or half character")
            return None
        return None if is_null(node) else str(node.value)

    def texts(self, node: yaml.Node, path: Path) -> tuple[str, ...]:
        found = enumerate(self.items(node, path))
        return tuple(text for i, one in found if (text := self.text(one, (*path, i))) is not None)

    def boolean(self, node: yaml.Node, path: Path) -> bool | None:
        if is_null(node):
            return None
        if isinstance(node, yaml.ScalarNode):
            value = node.value.lower()
            if value in _TRUE and (value != "true" or node.style is None):
                return True
            if value in _FALSE and (value != "false" or node.style is None):
                return False
        hint = " without quotes" if shown(node).lower() in ("'true'", "'false'") else ""
        self.error(node, path, f"must be true or false{hint}, not {shown(node)}")
        return None

    def number(self, node: yaml.Node, path: Path) -> int | None:
        value = self.plain(node, path) if isinstance(node, yaml.ScalarNode) else ""
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value is not None:
            self.error(node, path, f"must be a whole number, not {shown(node)}")
        return None

    def plain(self, node: yaml.Node, path: Path, depth: int = 0) -> Any:
        """Whatever it is, as JSON has it."""
        self._count(node)
        if depth > _DEEPEST:
            raise NotYaml.at(node.start_mark, "values are nested too deeply")
        if isinstance(node, yaml.MappingNode):
            entries = self.mapping(node, path)
            return {key: self.plain(one.value, one.path, depth + 1) for key, one in entries.items()}
        if isinstance(node, yaml.SequenceNode):
            found = enumerate(self.items(node, path))
            return [self.plain(one, (*path, i), depth + 1) for i, one in found]
        assert isinstance(node, yaml.ScalarNode)
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool" if node.value.lower() in ("true", "false"):
                return node.value.lower() == "true"
            # Sexagesimal numbers are YAML 1.1's.
            case "int" | "float" as kind if ":" not in node.value:
                return self._number(node, kind, path)
        return self.text(node, path)

    def _number(self, node: yaml.ScalarNode, kind: str, path: Path) -> int | float | None:
        number = number_of(self.constructor, node, kind)
        if number is None:
            self.error(node, path, NO_NUMBER)
        return number

    def _entries(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Entry]:
        """Its own ones, and those of its merge keys: the first counts."""
        own: dict[str, Entry] = {}
        merges = []
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                merges.append((key, value))
                continue
            self._count(key)
            if not isinstance(key, yaml.ScalarNode):
                self.error(key, path, "has a key that is not text")
                continue
            entry = Entry(key, value, (*path, one_line(key.value, _LONGEST_SHOWN)))
            if key.value in own:
                line, _ = self.position(own[key.value].key)
                self.error(key, entry.path, f"is there twice, first in line {line}; remove one")
            else:
                own[key.value] = entry
        merged: dict[str, Entry] = {}
        for key, value in merges:
            for one in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                self._count(one)
                if isinstance(one, yaml.MappingNode) and depth < _DEEPEST:
                    for name, entry in self._entries(one, path, depth + 1).items():
                        merged.setdefault(name, entry)
                else:
                    self.error(key, (*path, "<<"), "must be an alias of keys with values")
        return merged | own

    def _count(self, node: yaml.Node) -> None:
        self.values += 1
        if self.values > _MOST_VALUES:
            raise NotYaml.at(node.start_mark, f"it has more than {_MOST_VALUES} values")


def is_null(node: yaml.Node) -> bool:
    return bool(node.tag == f"{_TAG}null")


def shown(node: yaml.Node) -> str:
    """As an error names it."""
    if isinstance(node, yaml.ScalarNode):
        return f"'{one_line(node.value, _LONGEST_SHOWN)}'" if node.value else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "keys with values"


def scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """All of them, each once."""
    seen: set[int] = set()
    left = [node]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, yaml.ScalarNode):
            yield one
        elif isinstance(one, yaml.MappingNode):
            left += [part for pair in one.value for part in pair]
        else:
            left += one.value

"""YAML text -> plain values, with the position of each, and with `${NAME}` filled in.

Stricter than YAML where YAML surprises: no duplicate keys, keys are text, no merge keys, no tags
beyond YAML's plain types, a bound on depth and on what aliases expand to. `$${` stands for `${`.

Units: lines and columns from 1; a path is the keys and indexes that lead to a value.
Errors: none are raised; `Source.errors` collects them.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from webhook.values import misread, names_secret

Path = tuple[str | int, ...]
# Secrets are hidden in all text; hiding short ones like "1" or "no" would garble it.
_SHORTEST_SECRET = 4
_DEEPEST = 30
_MOST_VALUES = 20_000
VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{", re.ASCII)
_CUT = re.compile(r"(?::\s+|[\[{,]\s*)#\S")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True, order=True)
class ConfigError:
    line: int
    column: int
    path: Path = field(compare=False)
    message: str

    def __str__(self) -> str:
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        path = "".join(steps).removeprefix(".")
        return f"{self.line}:{self.column}: {path}{': ' if path else ''}{self.message}"


@dataclass(slots=True)
class Source:
    """`written` has each scalar as it is in the file: safe to show, as it contains no secret."""

    value: Any = None
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    errors: list[ConfigError] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set, repr=False)


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _DEEPEST:
            mark = parent.start_mark if parent else None
            raise yaml.MarkedYAMLError(problem="values are nested too deeply", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


NO_NUMBER = "is not a number that fits; put it in quotes if it is text"


class NotYaml(ValueError):
    """`index`: of the character, from 0."""

    def __init__(self, message: str, line: int, column: int, index: int) -> None:
        super().__init__(f"cannot be read as YAML: {message}")
        self.line = line
        self.column = column
        self.index = index

    @classmethod
    def at(cls, mark: yaml.Mark | None, message: str) -> "NotYaml":
        return (
            cls(message, mark.line + 1, mark.column + 1, mark.index)
            if mark
            else cls(message, 1, 1, 0)
        )


def read(text: str, environ: Mapping[str, str]) -> Source:
    """If the text is not YAML, `value` is None and there is one error."""
    reader = _Reader(environ)
    try:
        node = compose(text)
        if node is not None:
            reader.source.value = reader.value(node, ())
        return reader.source
    except NotYaml as error:
        message = f"{error}{_escape_hint(text, error.index)}"
        return Source(errors=[ConfigError(error.line, error.column, (), message)])


def compose(text: str) -> yaml.Node | None:
    """Raises `NotYaml`."""
    loader = None
    try:
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
        return node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(part for part in (error.context, error.problem) if part)
        message += _comment_hint(text, error.context, mark.line + 1 if mark else 1)
        raise NotYaml.at(mark, message) from None
    except yaml.reader.ReaderError as error:
        line, column = _line_and_column(text, error.position)
        message = f"the character U+{error.character:04X} is not allowed"
        raise NotYaml(message, line, column, error.position) from None
    except (ValueError, OverflowError):
        # PyYAML lets these out for escapes and directives with numbers out of range.
        line, column, at = (loader.line, loader.column, loader.index) if loader else (0, 0, 0)
        raise NotYaml("a number is out of range", line + 1, column + 1, at) from None


def number_of(
    constructor: yaml.constructor.SafeConstructor, node: yaml.ScalarNode, kind: str
) -> int | float | None:
    """None for one that JSON or the store cannot keep. `kind`: float, or int."""
    try:
        if kind == "float":
            number = constructor.construct_yaml_float(node)
        else:
            number = constructor.construct_yaml_int(node)
        # It overflows for an integer beyond any float.
        return number if math.isfinite(number) and abs(number) < 2**63 else None
    except (ValueError, OverflowError, IndexError):
        return None


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self.constructor = yaml.constructor.SafeConstructor()
        self.environ = environ
        self.source = Source()

    def value(self, node: yaml.Node, path: Path) -> Any:
        # Aliases are read again at each use: what they expand to is bounded here.
        if len(self.source.positions) >= _MOST_VALUES or len(path) > _DEEPEST:
            raise NotYaml.at(node.start_mark, "more than aliases may expand to")
        self.source.positions[path] = _position(node)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        self.error(node, path, f"has the tag {node.tag}, which is not supported; remove it")
        return None

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, path)
            if key is None:
                continue
            inner = (*path, key)
            if key in values:
                line, _ = self.source.keys[inner]
                self.error(key_node, inner, f"is there twice, first in line {line}; remove one")
                continue
            self.source.keys[inner] = _position(key_node)
            values[key] = self.value(value_node, inner)
        return values

    def key(self, node: yaml.Node, path: Path) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "str":
            if not _UNSTORABLE.search(node.value):
                return str(node.value)
            message = "has a key with NUL or half a character; remove it"
        elif node.tag == _TAG + "merge":
            message = "has a merge key (<<), which is not supported; repeat the keys"
        elif isinstance(node, yaml.ScalarNode):
            message = (
                f"has the key {node.value}, which YAML does not read as text; put it in quotes"
            )
        else:
            message = "has a key that is not text"
        self.error(node, path, message)
        return None

    def scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        self.source.written[path] = node.value
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool" if node.value.lower() in self.constructor.bool_values:
                return self.constructor.construct_yaml_bool(node)
            case "int" | "float" as kind:
                return self.number(node, kind, path)
            # A date stays text: nothing in deploy.yml needs a date.
            case "str" | "timestamp" | "value":
                return self.text(node, path)
        self.error(node, path, f"has the tag {node.tag}, which is not supported; remove it")
        return None

    def number(self, node: yaml.ScalarNode, kind: str, path: Path) -> int | float | None:
        number = number_of(self.constructor, node, kind)
        if number is None:
            self.error(node, path, NO_NUMBER)
        return number

    def text(self, node: yaml.ScalarNode, path: Path) -> str:
        def fill(match: re.Match[str]) -> str:
            name = match[1]
            if match[0] == "$${":
                return "${"
            if name is None:
                self.error(node, path, "has a '${' without NAME}; write $${ for a plain ${")
                return ""
            found = self.environ.get(name, "")
            if not found:
                self.error(node, path, f"needs ${{{name}}}, but {name} is not set; set it")
            elif names_secret(name) and (wrong := misread(found.strip())) and "\n" not in found:
                self.error(node, path, f"needs ${{{name}}}, which {wrong}")
            if len(found) >= _SHORTEST_SECRET:
                self.source.secrets.add(found)
            return found

        text = VARIABLE.sub(fill, node.value)
        if _UNSTORABLE.search(text):
            self.error(node, path, "holds NUL or half a character; remove it")
            return ""
        return text

    def error(self, node: yaml.Node, path: Path, message: str) -> None:
        self.source.errors.append(ConfigError(*_position(node), path, message))


def _position(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _comment_hint(text: str, context: str | None, line: int) -> str:
    """The most common mistake in braces: # begins a comment, which contains the closing brace."""
    if not (context or "").startswith("while parsing a flow"):
        return ""
    cut = [n for n, one in enumerate(text.split("\n")[:line], 1) if _CUT.search(one)]
    if not cut:
        return ""
    return f'; is there a # outside quotes in line {cut[-1]}? write "#channel" in quotes'


def _escape_hint(text: str, index: int) -> str:
    """The most common mistake in patterns."""
    if text[index - 1 : index] != "\\":
        return ""
    return "; write patterns in single quotes, where \\ is itself, as in 'v\\.*'"


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")

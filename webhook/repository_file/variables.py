"""Gitploy's variables in a deploy.yml: `${NAME}` and what drone/envsubst 1.0.3 does with it, over
the raw text, comments too, before it is YAML.

Source: github.com/drone/envsubst, v1.0.3, its scanner and functions, with what is odd about them:
`${V:?x}` and `${V:+x}` are defaults, as `${V:-x}` is; outside braces `$$` is `$`, and a backslash
before another one or before a slash vanishes. Nothing of the process's environment is looked at.

Errors: `BadSubstitution`, with the offset in the raw text.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from webhook.repository_file.glob import without_prefix, without_suffix

# What Gitploy puts for the name of any other variable.
NOT_IMPLEMENTED = "ERR_NOT_IMPLEMENTED"
# Replacements may multiply what they get.
_LONGEST = 128 * 1024
_DEEPEST = 10
_SPECIAL = re.compile(r"[$\\]")
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)


def gitploys(*, rollback: bool) -> dict[str, str]:
    return {
        "GITPLOY_DEPLOY_TASK": "" if rollback else "deploy",
        "GITPLOY_ROLLBACK_TASK": "rollback" if rollback else "",
        "GITPLOY_IS_ROLLBACK": "true" if rollback else "false",
    }


class BadSubstitution(ValueError):
    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Unknown:
    """A variable that does not exist. `offset`: of its `${` in the raw text."""

    name: str
    offset: int


@dataclass(slots=True)
class Substituted:
    """`offsets`: for each character, where it comes from in the raw text; one more for the end."""

    text: str = ""
    offsets: list[int] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)


def substitute(raw: str, values: Mapping[str, str]) -> Substituted:
    scanner = _Scanner(raw, values)
    found = Substituted(unknown=scanner.unknown)
    parts: list[str] = []
    while scanner.position < len(raw):
        begin = scanner.position
        if raw.startswith("${", begin):
            scanner.position += 2
            text = scanner.expression(begin)
            found.offsets += [begin] * len(text)
        else:
            text = scanner.plain()
            found.offsets += range(scanner.position - len(text), scanner.position)
        parts.append(text)
        if len(found.offsets) > _LONGEST:
            raise BadSubstitution(begin, "gives more text than a deploy.yml may have")
    found.offsets.append(len(raw))
    found.text = "".join(parts)
    return found


class _Scanner:
    """Evaluates while it reads. `position`: of the next character."""

    def __init__(self, raw: str, values: Mapping[str, str]) -> None:
        self.raw = raw
        self.values = values
        self.position = 0
        self.depth = 0
        self.unknown: list[Unknown] = []

    @property
    def next(self) -> str:
        return self.raw[self.position : self.position + 1]

    def plain(self) -> str:
        """What is as it stands: up to the next character that may be special, or that one."""
        self.skip_escape()
        special = _SPECIAL.search(self.raw, self.position + 1)
        begin, self.position = self.position, special.start() if special else len(self.raw)
        return self.raw[begin : self.position]

    def skip_escape(self) -> None:
        if self.raw[self.position : self.position + 2] in ("$$", r"\\", r"\/"):
            self.position += 1

    def expression(self, begin: int) -> str:
        """What is behind `${`, with its closing brace."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise BadSubstitution(begin, "has too many others within it")
        if self.next == "#":
            self.position += 1
            text = str(len(self._value(begin).encode()))
        else:
            value = self._value(begin)
            text = self._operator(begin)(value)
        if self.next != "}":
            raise BadSubstitution(begin, self._unexpected())
        self.position += 1
        self.depth -= 1
        if len(text) > _LONGEST:
            raise BadSubstitution(begin, "gives more text than a deploy.yml may have")
        return text

    def _unexpected(self) -> str:
        if self.next in ("-", "+", "?"):
            return f"has a '{self.next}' without a colon; write :- for a default"
        return f"has a '{self.next}' where its }} should be" if self.next else "has no } at its end"

    def _value(self, begin: int) -> str:
        name = self._while(lambda one: one.isalnum() or one == "_")
        if not name:
            raise BadSubstitution(begin, "has no name of a variable")
        if name not in self.values:
            self.unknown.append(Unknown(name, begin))
        return self.values.get(name, NOT_IMPLEMENTED)

    def _operator(self, begin: int) -> Callable[[str], str]:
        if self.next == "=":
            return self._default(begin, 1)
        if self.raw[self.position : self.position + 2] in (":=", ":-", ":?", ":+"):
            return self._default(begin, 2)
        operators = {
            ":": self._substring,
            "^": self._case,
            ",": self._case,
            "#": self._strip,
            "%": self._strip,
            "/": self._replace,
        }
        operator = operators.get(self.next)
        return operator(begin) if operator else str

    def _default(self, begin: int, length: int) -> Callable[[str], str]:
        self.position += length
        parts = []
        while self.next not in ("}", ""):
            parts.append(self._parameter(begin, until="}"))
        text = "".join(parts)
        return lambda value: value or text

    def _substring(self, begin: int) -> Callable[[str], str]:
        self.position += 1
        arguments = [self._parameter(begin, until=":}")]
        if self.next == ":":
            self._while(lambda one: one == ":")
            arguments.append(self._parameter(begin, until="}"))
        if not all(_NUMBER.fullmatch(one) for one in arguments):
            return str
        first, *rest = map(int, arguments)
        if rest and rest[0] < 0:
            raise BadSubstitution(begin, "has a negative length")
        return lambda value: _slice(value, first, *rest)

    def _case(self, begin: int) -> Callable[[str], str]:
        first = self.position
        while self.next in ("^", ",") and self.position < first + 2:
            self.position += 1
        match self.raw[first : self.position]:
            case "^^":
                return str.upper
            case ",,":
                return str.lower
            case "^":
                return lambda value: value[:1].upper() + value[1:]
            case ",":
                return lambda value: value[:1].lower() + value[1:]
        return str

    def _strip(self, begin: int) -> Callable[[str], str]:
        kind = self.next
        self.position += 1
        longest = self.next == kind
        self.position += longest
        pattern = self._parameter(begin, until="}")
        strip = without_prefix if kind == "#" else without_suffix
        return lambda value: strip(value, pattern, longest=longest)

    def _replace(self, begin: int) -> Callable[[str], str]:
        self.position += 1
        kind = self.next if self.next in ("/", "#", "%") else ""
        self.position += len(kind)
        old = self._parameter(begin, until="/", escapes=True)
        if self.next != "/":
            raise BadSubstitution(begin, "has no second slash; write /old/new")
        self._while(lambda one: one == "/")
        new = "" if self.next == "}" else self._parameter(begin, until="}", escapes=True)
        match kind:
            case "/":
                return lambda value: value.replace(old, new)
            case "#":
                return lambda value: (
                    new + value.removeprefix(old) if value.startswith(old) else value
                )
            case "%":
                return lambda value: value.removesuffix(old) + new if value.endswith(old) else value
        return lambda value: value.replace(old, new, 1)

    def _parameter(self, begin: int, *, until: str, escapes: bool = False) -> str:
        """One expression, or text up to one of those characters or to an expression."""
        if self.raw.startswith("${", self.position):
            inner = self.position
            self.position += 2
            return self.expression(inner)
        found = []
        while self.next and not self.raw.startswith("${", self.position):
            escaped = self.position
            if escapes:
                self.skip_escape()
            if self.position == escaped and self.next in until:
                break
            found.append(self.next)
            self.position += 1
        if not found:
            raise BadSubstitution(begin, "lacks something before its end")
        return "".join(found)

    def _while(self, accepts: Callable[[str], bool]) -> str:
        begin = self.position
        while self.next and accepts(self.next):
            self.position += 1
        return self.raw[begin : self.position]


def _slice(value: str, first: int, length: int | None = None) -> str:
    first = max(0, len(value) + first) if first < 0 else first
    return value[first:] if length is None else value[first : first + length]

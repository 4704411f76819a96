"""A subset of Spinnaker's expressions: `${trigger['payload']['ref']}`, with `==` and `!=`.

Source: https://spinnaker.io/docs/guides/user/pipeline/expressions
    https://github.com/spinnaker/kork, ExpressionTransform.java
Errors: `ExpressionError`. Orca leaves such a text unchanged.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_EXPRESSION = re.compile(r"\$\{([^{}]*)\}")
_ACCESS = r"\.\w+|\['[^']*'\]"
_PATH = re.compile(rf"(\w+)((?:{_ACCESS})*)")
_COMPARED = re.compile(r"(.+?)\s*(==|!=)\s*(null|true|false|-?\d+|'[^']*')")


class ExpressionError(Exception):
    """An expression that Spinnaker cannot evaluate, or that this stand-in does not support."""


def render(value: Any, context: Mapping[str, Any]) -> Any:
    """The value with its expressions evaluated, those in keys too."""
    if isinstance(value, dict):
        return {str(render(k, context)): render(v, context) for k, v in value.items()}
    if isinstance(value, list):
        return [render(item, context) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    try:
        return _render_text(value, context)
    except ExpressionError:
        return value


def evaluate(expression: str, context: Mapping[str, Any]) -> Any:
    """`expression` is without `${` and `}`; None is null."""
    if compared := _COMPARED.fullmatch(expression.strip()):
        same = evaluate(compared[1], context) == _literal(compared[3])
        return same if compared[2] == "==" else not same
    if not (path := _PATH.fullmatch(expression.strip())) or path[1] not in context:
        raise ExpressionError(f"'{expression}'")
    found = context[path[1]]
    for access in re.findall(_ACCESS, path[2]):
        if not isinstance(found, Mapping):
            raise ExpressionError(f"'{expression}': cannot read {access}")
        found = found.get(access.strip(".[]'"))
    return found


def check(text: str) -> None:
    """Errors: `ExpressionError` for what this stand-in does not support, in any context."""
    for expression in _EXPRESSION.findall(text):
        compared = _COMPARED.fullmatch(expression.strip())
        if not _PATH.fullmatch(compared[1] if compared else expression.strip()):
            raise ExpressionError(f"'{expression}' is not supported by this stand-in")


def with_defaults(text: str) -> str:
    """The text with `${name:default}` replaced by the default, as Spring does in YAML files.

    Source: https://docs.spring.io/spring-boot/reference/features/external-config.html
    """
    return _EXPRESSION.sub(lambda m: m[1].partition(":")[2] if ":" in m[1] else m[0], text)


def _render_text(text: str, context: Mapping[str, Any]) -> Any:
    if alone := _EXPRESSION.fullmatch(text):
        value = evaluate(alone[1], context)
        return text if value is None else value

    def as_text(match: re.Match[str]) -> str:
        value = evaluate(match[1], context)
        return match[0] if value is None else java_text(value)

    return _EXPRESSION.sub(as_text, text)


def java_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _literal(text: str) -> Any:
    return text[1:-1] if text.startswith("'") else json.loads(text)

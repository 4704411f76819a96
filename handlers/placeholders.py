"""Fills `{ref}`, `{payload.key}` and the like into what an operator wrote in deploy.yml.

`{{` and `}}` stand for the braces themselves. Whoever may create a deployment chooses its values,
so they are filled in only if they cannot be mistaken for something else.

Errors: `ValueError` for a template that can never be filled, when it is read; `Rejected` for a
deployment whose values do not fit.
"""

import json
import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator

from handlers.contract import Deployment
from handlers.errors import Rejected

NAMES = ("ref", "sha", "environment", "repo", "task", "id", "creator")
REPORT_NAMES = ("report_url", "report_api", "report_token")
_ALL = (*NAMES, *REPORT_NAMES)

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PAYLOAD_KEY = re.compile(r"payload(\.[^.]+)+")


def _checked(text: str) -> str:
    for token in _TOKEN.finditer(text):
        name = token[1]
        if token[0] in ("{", "}"):
            raise ValueError(f"a lone '{token[0]}' in '{text}'; for a brace itself, double it")
        if name is not None and name not in _ALL and not _PAYLOAD_KEY.fullmatch(name):
            known = ", ".join(f"{{{known}}}" for known in (*_ALL, "payload.key"))
            raise ValueError(f"unknown placeholder '{{{name}}}'; known: {known}")
    return text


Template = Annotated[str, AfterValidator(_checked)]
"""A string with placeholders, for a handler's options."""


def fill(template: str, deployment: Deployment) -> str:
    def value(token: re.Match[str]) -> str:
        if token[1] is None:
            return token[0][0]
        return plain(f"{{{token[1]}}}", _value(token[1], deployment))

    return _TOKEN.sub(value, template)


def fill_argument(template: str, deployment: Deployment) -> str:
    """As `fill`, for one argument of a command, which must not become an option by its value."""
    argument = fill(template, deployment)
    if argument.startswith("-") and not template.startswith("-"):
        raise Rejected(f"'{argument}', filled in for '{template}', would be read as an option")
    return argument


def plain(name: str, value: str) -> str:
    # Surrogates (Cs) come from JSON escapes and cannot be handed to a program at all.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise Rejected(f"{name} contains a control character")
    return value


def payload(deployment: Deployment) -> Any:
    """The payload; GitHub's older clients send an object as a string with JSON inside."""
    if not isinstance(deployment.payload, str):
        return deployment.payload
    try:
        inside = json.loads(deployment.payload)
    except (ValueError, RecursionError):
        return deployment.payload
    return inside if isinstance(inside, dict) else deployment.payload


def _value(name: str, deployment: Deployment) -> str:
    if name in NAMES:
        return str(getattr(deployment, name))
    if name in REPORT_NAMES:
        return str(getattr(deployment.report, name.removeprefix("report_")))
    found = payload(deployment)
    for key in name.split(".")[1:]:
        found = found.get(key) if isinstance(found, dict) else None
    if found is None:
        raise Rejected(f"the deployment's payload has no '{name.removeprefix('payload.')}'")
    return as_text(found)


def payload_values(deployment: Deployment) -> dict[str, str]:
    """The payload's own keys, if it is an object, for tools whose parameters are text."""
    found = payload(deployment)
    return {key: as_text(value) for key, value in found.items()} if isinstance(found, dict) else {}


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

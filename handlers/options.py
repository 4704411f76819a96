"""Options shared by handlers under `with:` in deploy.yml: checked types, and templates.

A template has placeholders such as `{ref}` and `{payload.key}`; `{{` and `}}` stand for the braces
themselves. Whoever may create a deployment chooses its values, so a value is filled in only if it
cannot be mistaken for something else.

Errors: `ValueError` with the remedy, when deploy.yml is read; `Rejected` for a deployment whose
values do not fit.
"""

import ipaddress
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from yarl import URL

from handlers import durations
from handlers.contract import Deployment
from handlers.errors import Rejected

# yarl silently removes line breaks and tabs from an address.
_NEVER = re.compile(r"[\x00-\x20\x7f{}\\]")
_NUMBERS = re.compile(r"[0-9.]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.I)


def address(text: str) -> URL:
    """An absolute address that can be called. Errors: `ValueError` with the remedy."""
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    is_valid = not _NEVER.search(text) and url.scheme in ("http", "https")
    if not (is_valid and url.port and url.raw_host and _is_host(url.raw_host)):
        raise ValueError(f"'{text}' is not an address; write https://host or https://host/path")
    return url


def _is_host(host: str) -> bool:
    """Stricter than yarl: rejects at the start what the resolver or aiohttp would reject later."""
    try:
        if ":" in host or _NUMBERS.fullmatch(host):
            return bool(ipaddress.ip_address(host))
    except ValueError:
        return False
    return all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split("."))


def _base_url(text: str) -> str:
    address(text)
    if set("@?#") & set(text):
        raise ValueError("an address here has no user, password, query or fragment; leave them out")
    return text.rstrip("/")


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    try:
        return durations.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"'{value}' {error}") from None


def _file(text: str) -> str:
    if not Path(text).is_absolute():
        raise ValueError(f"'{text}' must be an absolute path")
    try:
        readable = Path(text).is_file() and os.access(text, os.R_OK)
    except OSError:  # the relay may not search a directory above it
        readable = False
    if not readable:
        raise ValueError(f"there is no file '{text}' that the relay can read")
    return text


def _text(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("has a line break, or a space at an end; remove it (from the variable)")
    return text


BaseUrl = Annotated[str, AfterValidator(_base_url)]
"""The address of a tool, without a slash at its end."""

Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": "^(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}),
]

File = Annotated[str, AfterValidator(_file)]
"""The absolute path of a file that exists."""

Text = Annotated[str, Field(min_length=1), AfterValidator(_text)]
"""A name or a token: one line, which fits into a header."""


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


def pieces(template: str) -> Iterator[tuple[str, bool]]:
    """Its texts, and its placeholders with their braces; whether it is a placeholder."""
    end = 0
    for token in _TOKEN.finditer(template):
        yield template[end : token.start()], False
        yield (token[0][0], False) if token[1] is None else (token[0], True)
        end = token.end()
    yield template[end:], False


def placeholders(template: str) -> list[str]:
    """Their names, without braces."""
    return [text[1:-1] for text, is_value in pieces(template) if is_value]


def fill(template: str, deployment: Deployment) -> str:
    def value(token: re.Match[str]) -> str:
        if token[1] is None:
            return token[0][0]
        return plain(f"{{{token[1]}}}", _value(token[1], deployment))

    return _TOKEN.sub(value, template)


def fill_argument(template: str, deployment: Deployment) -> str:
    """As `fill`, for one argument of a command, which a value must not turn into an option."""
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

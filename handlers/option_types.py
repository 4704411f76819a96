"""What several handlers take under `with:` in deploy.yml. Errors: `ValueError` with the remedy."""

import ipaddress
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from yarl import URL

from handlers import durations

# yarl takes line breaks and tabs out of an address without a word.
_NEVER = re.compile(r"[\x00-\x20\x7f{}\\]")
_NUMBERS = re.compile(r"[0-9.]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.I)


def address(text: str) -> URL:
    """An absolute address that can be called. Errors: ValueError, with what to write."""
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    sound = not _NEVER.search(text) and url.scheme in ("http", "https")
    if not (sound and url.port and url.raw_host and _is_host(url.raw_host)):
        raise ValueError(f"'{text}' is not an address; write https://host or https://host/path")
    return url


def _is_host(host: str) -> bool:
    """What yarl takes and the resolver or aiohttp would refuse later is refused at the start."""
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
    except OSError:  # a directory above it that may not be searched
        readable = False
    if not readable:
        raise ValueError(f"there is no file '{text}' that the relay can read")
    return text


def _text(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("has a line break, or a space at an end; take it out (of the variable)")
    return text


BaseUrl = Annotated[str, AfterValidator(_base_url)]
"""The address of a tool, without a slash at its end."""

Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": "^(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}),
]

File = Annotated[str, AfterValidator(_file)]
"""The absolute path of a file that is there."""

Text = Annotated[str, Field(min_length=1), AfterValidator(_text)]
"""A name or a token: one line, which fits into a header."""

"""What several handlers take under `with:` in deploy.yml. Errors: `ValueError` with the remedy."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from yarl import URL

from handlers import durations


def _base_url(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"'{text}' is not an address; write https://host or https://host/path")
    if url.user or url.password or url.query_string or url.fragment:
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
    if not Path(text).is_file():
        raise ValueError(f"there is no file '{text}' that the relay can read")
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

Text = Annotated[str, Field(min_length=1)]

"""The types of settings: pydantic reads a variable's text with them.

Errors: ValueError, which says what is wrong and the remedy, and never shows a secret.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from webhook.values import NOT_SHOWN, misread, shown, unquoted

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?", re.ASCII)
_SHORTEST_SECRET = 16
_LONGEST_NAME = 100
FOREVER = "forever"
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", re.ASCII)
_DAYS = re.compile(r"([0-9]{1,5})d")
# What is the name of a file rather than a key.
_PATH = re.compile(r"(?:~|\.{1,2})?/[^\n]*|[^\n]*\.(?:pem|key|crt|der|txt)", re.I)
# Hiding shorter lines of a PEM would garble any text.
_SHORTEST_LINE = 16
_KEY_REMEDY = "use the .pem file that GitHub makes under the App's settings, Private keys"


def _error(message: str) -> WrapValidator:
    """Replaces pydantic's own error; `{}` stands for the value, if it may be shown."""

    def validate(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise ValueError(message.format(shown(str(value)))) from None

    return WrapValidator(validate)


def _digits(value: Any) -> Any:
    """Python's int also accepts +1, 1_000 and digits of other alphabets."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,5}", value):
        raise ValueError("not a number")
    return value


def _items(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    items = tuple(item.strip() for item in value.split(","))
    if not all(items):
        raise ValueError("has an empty item; write values with one comma between them")
    return items


def _host(text: str) -> str:
    scheme, separator, _ = text.partition("://")
    if separator:
        raise ValueError(
            f"must not begin with {shown(f'{scheme}://')}; write the host alone, and the scheme"
            " into GITPLOY_SERVER_PROTO"
        )
    if not text.isascii():
        raise ValueError(
            f"{shown(text)} is not in the form in which browsers send it; write its ASCII form,"
            " which begins with xn--"
        )
    match = _HOST.fullmatch(text)
    if not match or int(match[1] or 0) > 65535:
        path = "; the relay needs a host of its own, not a path" if text.partition("/")[2] else ""
        raise ValueError(
            f"{shown(text)} is not host or host:port; write it like relay.example.com{path}"
        )
    return text.lower()


def _base_url(text: str) -> str:
    parts = _split(text)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must not hold user, password, ? or #; write scheme, host and path")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{shown(text)} is not a URL; write it like https://HOST/PATH")
    if parts.hostname == "github.com":
        raise ValueError("is GitHub's website; write https://api.github.com, its API")
    return text.rstrip("/")


def _store_url(text: str) -> str:
    parts = _split(text)
    if parts.scheme not in ("postgres", "postgresql"):
        raise ValueError("is not a PostgreSQL URL; write postgresql://USER:PASSWORD@HOST/DATABASE")
    url = "postgresql" + text[text.index(":") :]
    try:
        conninfo_to_dict(url)
    except ProgrammingError:  # its message quotes the part
        raise ValueError(
            "cannot be read as a PostgreSQL URL; write a % in user or password as %25, and other"
            " characters but letters and digits likewise; options are NAME=VALUE after ?"
        ) from None
    return url


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or port is wrong; correct it") from None
    if any(character.isspace() for character in text):
        raise ValueError("is not a URL: it holds whitespace; remove it")
    return parts


def _unbroken(text: Any) -> Any:
    if isinstance(text, str) and any(character.isspace() for character in text):
        raise ValueError("has white space inside; remove it, or make a new one without")
    return text


def _long_enough(text: str) -> str:
    if len(text) < _SHORTEST_SECRET:
        raise ValueError(
            f"has less than {_SHORTEST_SECRET} characters; copy it again, as a whole, from the"
            " Slack app's Basic Information, App Credentials"
        )
    return text


def _several(kind: str, where: str = "") -> AfterValidator:
    """Of secrets that a comma separates: each by itself, since another one may hold a comma."""

    def validate(items: tuple[str, ...]) -> tuple[str, ...]:
        for item in items:
            if error := misread(item):
                raise ValueError(error)
            _unbroken(item)
        if any(len(item) < _SHORTEST_SECRET for item in items):
            separated = "; a comma separates several, so none can contain one" * (len(items) > 1)
            raise ValueError(
                f"has a {kind} of less than {_SHORTEST_SECRET} characters{separated}; make one"
                f" with python -c 'import secrets; print(secrets.token_urlsafe(32))'{where}"
            )
        return items

    return AfterValidator(validate)


def _scopes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    scopes = tuple(sorted({*re.split(r"[\s,]+", value)} - {""}))
    if "chat:write" not in scopes:
        raise ValueError("lacks chat:write, without which nothing can be posted; add it")
    return scopes


def _kept(least: timedelta, reason: str) -> BeforeValidator:
    """How long something is kept, None for `forever`."""

    def validate(text: Any) -> timedelta | None:
        if text == FOREVER:
            return None
        match = _DAYS.fullmatch(str(text))
        if not match:
            raise ValueError(f"{shown(str(text))} is not a number of days; write 90d, or {FOREVER}")
        kept = timedelta(days=int(match[1]))
        if kept < least:
            raise ValueError(f"is too short; {reason}: write {least.days}d or more, or {FOREVER}")
        return kept

    return BeforeValidator(validate)


def _private_key_file(text: str) -> str:
    path = shown(text) if _PATH.fullmatch(text) else NOT_SHOWN
    try:
        return _private_key(Path(text).read_text("ascii").strip())
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}"
        raise ValueError(f"{reason}; {_KEY_REMEDY}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a PEM file; {_KEY_REMEDY}") from None


def _private_key(text: str) -> str:
    """The PEM; `\\n` may stand for line ends, and it may be in base64, or in quotes."""
    if _PATH.fullmatch(text) or (len(text) < _LONGEST_NAME and Path(text).is_file()):
        raise ValueError("is the path of a file; set GITPLOY_GITHUB_PRIVATE_KEY_PATH to it instead")
    pem = _pem(unquoted(text).replace("\\n", "\n"))
    try:
        key = load_private_key(pem)
    except TypeError:
        raise ValueError(f"is encrypted; {_KEY_REMEDY}, without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"is not a private key that can be loaded; {_KEY_REMEDY}") from None
    if isinstance(key, RSAPrivateKey):
        return pem
    raise ValueError(f"is not an RSA key; {_KEY_REMEDY}")


@lru_cache(maxsize=4)  # its checks take 30 ms, and each token of GitHub's needs the key
def load_private_key(pem: str) -> PrivateKeyTypes:
    return load_pem_private_key(pem.encode(), password=None)


def _pem(text: str) -> str:
    if not text.startswith("-----BEGIN"):
        try:
            text = base64.b64decode("".join(text.split()), validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            raise ValueError(f"is neither a PEM nor a PEM in base64; {_KEY_REMEDY}") from None
    if "PUBLIC KEY-----" in text or "BEGIN CERTIFICATE" in text:
        raise ValueError(f"is a public key or certificate, not a private key; {_KEY_REMEDY}")
    return text.replace("\r\n", "\n").strip() + "\n"


def _logins(value: Any) -> tuple[str, ...]:
    logins = tuple(item.strip() for item in str(value).split(",") if item.strip())
    for login in logins:
        if not _LOGIN.fullmatch(login):
            raise ValueError(
                f"{shown(login)} is not a GitHub login; write it without @, as in octocat"
            )
    return logins


Host = Annotated[str, AfterValidator(_host)]
Proto = Annotated[Literal["http", "https"], _error("{} is not http or https; write one of them")]
# Without a slash at its end.
BaseUrl = Annotated[str, AfterValidator(_base_url)]
# With a slash at its end, as slack-sdk needs it.
SlackUrl = Annotated[str, AfterValidator(lambda text: _base_url(text) + "/")]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
Items = Annotated[tuple[str, ...], BeforeValidator(_items)]
WebhookSecrets = Annotated[Items, _several("secret", ", and set it in the GitHub App too")]
SecretKeys = Annotated[Items, _several("key")]
ClientSecret = Annotated[str, AfterValidator(_unbroken), AfterValidator(_long_enough)]
SlackSecret = Annotated[str, AfterValidator(_unbroken), AfterValidator(_long_enough)]
SlackScopes = Annotated[tuple[str, ...], BeforeValidator(_scopes)]
Logins = Annotated[tuple[str, ...], BeforeValidator(_logins)]
AppId = Annotated[
    str,
    Field(pattern=r"^[0-9]+$"),
    _error("{} is not a number; take the App ID from the App's settings"),
]
PrivateKey = Annotated[str, AfterValidator(_private_key)]
PrivateKeyFile = Annotated[str, AfterValidator(_private_key_file)]
BotToken = Annotated[
    str,
    Field(pattern=r"^xoxb-"),
    _error("does not begin with xoxb-; take the Bot User OAuth Token of the Slack app"),
    BeforeValidator(_unbroken),
]
AppToken = Annotated[
    str,
    Field(pattern=r"^xapp-"),
    _error(
        "does not begin with xapp-; make one at the Slack app's Basic Information,"
        " App-Level Tokens, with the scope connections:write"
    ),
    BeforeValidator(_unbroken),
]
Port = Annotated[
    int,
    Field(ge=0, le=65535),
    BeforeValidator(_digits),
    _error("{} is not a port; write a number from 0 to 65535"),
]
Processes = Annotated[
    int,
    Field(ge=1, le=99),
    BeforeValidator(_digits),
    _error("{} is not a number of processes; write one from 1 to 99"),
]
# GitHub redelivers what is 3 days old, an Enterprise Server 7: a redelivery is known by the first.
# docs.github.com, "Redelivering webhooks".
KeptRequests = Annotated[
    timedelta | None,
    _kept(timedelta(days=8), "GitHub may redeliver for 7 days, and would start deployments again"),
]
KeptOutput = Annotated[timedelta | None, _kept(timedelta(days=1), "people read it after the end")]


def private_key_forms(pem: str) -> Iterator[str]:
    """Every form in which the key could appear in output."""
    for text in (pem, pem.strip()):
        yield from (text, text.replace("\n", "\\n"), base64.b64encode(text.encode()).decode())
    yield from (
        line
        for line in pem.splitlines()
        if len(line) >= _SHORTEST_LINE and not line.startswith("-----")
    )


def store_url_forms(url: str) -> Iterator[str]:
    """The URL and its passwords, encoded and decoded; nothing if it has no password."""
    parts = urlsplit(url)
    written = [*filter(None, [parts.password]), *parse_qs(parts.query).get("password", [])]
    if written:
        yield url
    for password in written:
        yield from (password, unquote(password))

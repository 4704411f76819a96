"""One setting's text -> its value.

Errors: ValueError, with what is wrong and the remedy, and never with the value of a secret.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?", re.ASCII)
_SHORTEST_KEY = 16
# Lines of a PEM shorter than this would garble any text they are hidden in.
_SHORTEST_LINE = 16
_KEY_REMEDY = "use the .pem file that GitHub makes under the App's settings, Private keys"


def host(text: str) -> str:
    scheme, separator, _ = text.partition("://")
    if separator:
        raise ValueError(
            f"must not begin with '{scheme}://'; write the host alone, and the scheme into "
            "GITPLOY_SERVER_PROTO"
        )
    match = _HOST.fullmatch(text)
    if not match or int(match[1] or 0) > 65535:
        raise ValueError(f"'{text}' is not host or host:port; write it like relay.example.com")
    return text


def proto(text: str) -> str:
    if text not in ("http", "https"):
        raise ValueError(f"'{text}' is not http or https; write one of them")
    return text


def base_url(text: str) -> str:
    """Without a slash at its end."""
    parts = _split(text)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must not hold user, password, ? or #; write scheme, host and path")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{text}' is not a URL; write it like https://HOST/PATH")
    if parts.hostname == "github.com":
        raise ValueError("is GitHub's website; write https://api.github.com, its API")
    return text.rstrip("/")


def slack_url(text: str) -> str:
    """With a slash at its end, as slack-sdk wants it."""
    return base_url(text) + "/"


def app_id(text: str) -> str:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"'{text}' is not a number; take the App ID from the App's settings")
    return text


def webhook_secrets(text: str) -> tuple[str, ...]:
    return _items(text)


def secret_keys(text: str) -> tuple[str, ...]:
    keys = _items(text)
    if any(len(key) < _SHORTEST_KEY for key in keys):
        raise ValueError(
            f"has a key of less than {_SHORTEST_KEY} characters; make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return keys


def bot_token(text: str) -> str:
    if not text.startswith("xoxb-"):
        raise ValueError(
            "does not begin with xoxb-; take the Bot User OAuth Token of the Slack app"
        )
    return text


def app_token(text: str) -> str:
    if not text.startswith("xapp-"):
        raise ValueError(
            "does not begin with xapp-; make one at the Slack app's Basic Information,"
            " App-Level Tokens, with the scope connections:write"
        )
    return text


def slack_scopes(text: str) -> tuple[str, ...]:
    scopes = tuple(sorted({*re.split(r"[\s,]+", text.strip())} - {""}))
    if "chat:write" not in scopes:
        raise ValueError("lacks chat:write, without which nothing can be posted; add it")
    return scopes


def store_url(text: str) -> str:
    parts = _split(text)
    if parts.scheme not in ("postgres", "postgresql"):
        raise ValueError("is not a PostgreSQL URL; write postgresql://USER:PASSWORD@HOST/DATABASE")
    return "postgresql" + text[text.index(":") :]


def store_passwords(url: str) -> Iterator[str]:
    """As they are written in the URL and as they are meant."""
    parts = urlsplit(url)
    written = [parts.password or ""]
    written += parse_qs(parts.query).get("password", [])
    yield from {form for password in written for form in (password, unquote(password)) if form}


def port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError(f"'{text}' is not a port; write a number from 0 to 65535")
    return int(text)


def processes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 2 and int(text) > 0):
        raise ValueError(f"'{text}' is not a number of processes; write one from 1 to 99")
    return int(text)


def private_key_file(text: str) -> str:
    try:
        return private_key(Path(text).read_text("ascii").strip())
    except OSError as error:
        raise ValueError(f"'{text}' cannot be read: {error.strerror}; {_KEY_REMEDY}") from None
    except UnicodeDecodeError:
        raise ValueError(f"'{text}' is not a PEM file; {_KEY_REMEDY}") from None


def private_key(text: str) -> str:
    """The PEM; it may come with `\\n` for line ends, or in base64, where lines do not fit."""
    pem = _pem(text.replace("\\n", "\n"))
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise ValueError(f"is encrypted; {_KEY_REMEDY}, without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"is not a private key that can be loaded; {_KEY_REMEDY}") from None
    if isinstance(key, RSAPrivateKey):
        return pem
    raise ValueError(f"is not an RSA key; {_KEY_REMEDY}")


def private_key_forms(pem: str) -> Iterator[str]:
    """Every form in which the key could show up in somebody's output."""
    for text in (pem, pem.strip()):
        yield from (text, text.replace("\n", "\\n"), base64.b64encode(text.encode()).decode())
    yield from (
        line
        for line in pem.splitlines()
        if len(line) >= _SHORTEST_LINE and not line.startswith("-----")
    )


def _pem(text: str) -> str:
    if not text.startswith("-----BEGIN"):
        try:
            text = base64.b64decode("".join(text.split()), validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            raise ValueError(f"is neither a PEM nor a PEM in base64; {_KEY_REMEDY}") from None
    if "PUBLIC KEY-----" in text or "BEGIN CERTIFICATE" in text:
        raise ValueError(f"is a public key or certificate, not a private key; {_KEY_REMEDY}")
    return text.replace("\r\n", "\n").strip() + "\n"


def _items(text: str) -> tuple[str, ...]:
    items = tuple(item.strip() for item in text.split(","))
    if not all(items):
        raise ValueError("has an empty item; write values with one comma between them")
    return items


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or port is wrong; correct it") from None
    if any(character.isspace() for character in text):
        raise ValueError("is not a URL: it holds whitespace; remove it")
    return parts

"""Values from the environment: what shells, `.env` files and pasting leave in them, and whether an
error may show one. Whoever sets a variable may have pasted any secret into it.
"""

import re
from collections.abc import Iterable

from handlers.text import STARS, redacted

# Of both ends; chats and word processors write the curved ones.
_QUOTES = ('""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\u201e\u201c")
_UNEXPANDED = re.compile(
    r"\$\{\w+(?::?[-?+=][^}]*)?\}|\$\(\w+[ )]|\A\$[A-Z_][A-Z0-9_]*\Z", re.ASCII
)
# A PEM, and the same in base64.
_PEM = ("-----BEGIN", "LS0tLS1CRUdJTi")
_TOKEN = re.compile(r"xox[a-z]-|xapp-|gh[a-z]_|github_pat_|gpr_|whsec_|bearer ", re.I)
_USER = re.compile(r":/{1,2}[^/?#\s]*@")
# Random characters as in keys and digests; words in a path are shorter or have no digits.
_RANDOM = re.compile(
    r"(?=[A-Za-z+]*\d)(?=\d*[A-Za-z])[A-Za-z0-9+]{20,}"
    r"|(?=[\w+-]*\d)(?=[\w+-]*[A-Z])(?=[\w+-]*[a-z])[\w+-]{20,}",
    re.ASCII,
)
_QUOTED = re.compile(r"'[^']*'?")
_LONGEST = 255
# So many characters of a secret are a part that could be recognised.
_PART = 8
# Variables with such names hold secrets.
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|PRIVATE_?KEY")
NOT_SHOWN = "(its value is not shown, as it may be a secret)"


def is_pem(text: str) -> bool:
    return unquoted(text).startswith(_PEM)


def unquoted(text: str) -> str:
    return text[1:-1].strip() if _in_quotes(text) else text


def misread(text: str) -> str:
    """What is wrong with how a value of one line was written, and the remedy; "" if nothing is."""
    if _in_quotes(text):
        return "is in quotes, which count as a part of the value here; leave them out"
    if _UNEXPANDED.search(text):
        return "holds a ${…} or $(…) that was not filled in; write the value itself"
    if not text.isprintable():
        return "has a line break or an invisible character inside; remove it"
    return ""


def _in_quotes(text: str) -> bool:
    return len(text) > 1 and text[0] + text[-1] in _QUOTES


def shown(text: str) -> str:
    """The value for an error, in quotes, unless it could be a secret."""
    hidden = (
        len(text) > _LONGEST
        or not text.isprintable()
        or text.startswith(_PEM)
        or any(pattern.search(text) for pattern in (_TOKEN, _USER, _RANDOM))
    )
    return NOT_SHOWN if hidden else f"'{text}'"


def without(secrets: Iterable[str], message: str) -> str:
    """An error that may quote what secrets were filled into: cut, or on one line."""
    texts = list(secrets)
    message = redacted(message, texts)
    if _holds_part_of(texts, message):
        message = _QUOTED.sub(f"'{STARS.decode()}'", message)
    return f"{NOT_SHOWN} is not valid" if _holds_part_of(texts, message) else message


def _holds_part_of(secrets: list[str], message: str) -> bool:
    return any(
        secret[at : at + _PART] in message
        for secret in secrets
        for at in range(len(secret) - _PART + 1)
    )


def names_secret(variable: str) -> bool:
    return bool(_SECRET_NAME.search(variable.upper()))

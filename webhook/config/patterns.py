"""Gitploy's patterns of refs: RE2, found anywhere in the text.

Source: github.com/google/re2/wiki/Syntax. Python's `re` reads some of it otherwise, and needs
exponential time for what a repository's file may hold.
"""

import re
from functools import lru_cache
from typing import Annotated, Any

import re2
from pydantic import BeforeValidator, WithJsonSchema

from webhook.config.errors import invalid
from webhook.text import one_line

_LONGEST = 1000
# Of one pattern, as 256 are kept.
_MOST_MEMORY = 2**20
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")
_FULL_REFS = (b"refs/heads/", b"refs/tags/")
_SYNTAX = "github.com/google/re2/wiki/Syntax"


def error_of(pattern: str) -> str:
    """What is wrong with it, with the remedy; "" if nothing."""
    if not pattern:
        return "is empty; write a pattern, or remove the key"
    if len(pattern) > _LONGEST:
        return f"is longer than {_LONGEST} characters; write a shorter one"
    try:
        _compiled(pattern)
    except UnicodeEncodeError:
        return "holds half a character; remove it"
    except re2.error as error:
        [reason] = error.args
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        return f"is not a pattern of RE2 ({one_line(text, 100)}); see {_SYNTAX}"
    return ""


def is_found(pattern: str, text: str) -> bool:
    """Anywhere in it, unless the pattern says otherwise by ^ and $."""
    return _compiled(pattern).search(text) is not None


def is_anchored(pattern: str) -> bool:
    """Whether it says where the text begins and ends; others are found in more than people
    expect: `main` in `maintenance`."""
    plain = _CLASS.sub("", _ESCAPED.sub("", pattern))
    begins = pattern.startswith(("^", r"\A"))
    ends = pattern.endswith(r"\z") or plain.endswith(("$", ".*"))
    return begins and ends and not _has_bare_choice(plain)


def warning_of(pattern: str) -> str:
    """Of one that is not anchored; "" of others."""
    if is_anchored(pattern):
        return ""
    text = "is found anywhere in the name of a ref, as main is in maintenance"
    return f"{text}; write ^({pattern})$ if it stands for the whole name"


def full_ref_error(pattern: str) -> str:
    """Of one for the full names of refs (refs/heads/main) that is found in none; "" of others."""
    begins = next((one for one in ("^", r"\A") if pattern.startswith(one)), "")
    if not begins or _has_bare_choice(_CLASS.sub("", _ESCAPED.sub("", pattern))):
        return ""
    try:
        least, most = _compiled(pattern).possiblematchrange(max(map(len, _FULL_REFS)))
    except re2.error:
        return ""  # it may be found in anything
    if any(_may_begin(one, least, most) for one in _FULL_REFS):
        return ""
    rest = pattern.removeprefix(begins)
    for part in ("refs/", "heads/", "tags/"):
        rest = rest.removeprefix(part)
    return (
        "is never found: the full name of what was pushed begins with refs/heads/ or refs/tags/;"
        f" write ^refs/heads/{rest} for a branch, ^refs/tags/{rest} for a tag"
    )


def _may_begin(start: bytes, least: bytes, most: bytes) -> bool:
    """Whether a text with that start may begin with something between the two."""
    shorter = any(least <= start[:size] <= most for size in range(len(start)))
    return shorter or least[: len(start)] <= start <= most


def _has_bare_choice(pattern: str) -> bool:
    """a|b outside parentheses: ^ and $ belong to one of them each."""
    depth = 0
    for one in pattern:
        depth += (one == "(") - (one == ")")
        if one == "|" and depth == 0:
            return True
    return False


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # it would write to stderr
    options.max_mem = _MOST_MEMORY
    return re2.compile(pattern, options)


def _patterns(value: Any) -> Any:
    """One pattern in the file. Tightened by the repository's own file, there are more of them, and
    each has to be found."""
    if isinstance(value, list | dict):
        text = "must be one pattern, as text; write a|b for either of two"
        raise invalid(text, with_value=False)
    if not isinstance(value, str):
        raise invalid("must be one pattern, as text; put it in quotes", with_value=False)
    if error := error_of(value):
        raise invalid(error, with_value=bool(value))
    return (value,)


Patterns = Annotated[
    tuple[str, ...], BeforeValidator(_patterns), WithJsonSchema({"type": "string", "minLength": 1})
]

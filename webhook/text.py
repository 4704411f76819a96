"""Text for people: on one line, as a link, as a list that is cut.

`handlers.text` has what the tools' side needs too; handlers import nothing of the relay.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from handlers import text as handlers_text

# Of a status on GitHub, and of what is stored for the page.
LONGEST_DESCRIPTION = 140
LONGEST_KEPT = 1000
# Addresses in statuses may be longer than those of a tool.
LONGEST_URL = 8000

# Whitespace, control characters, and the marks that turn the direction of text around, with which
# one line could be made to look like another. The joiners inside emoji stay.
_INVISIBLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_URL_CHARACTERS = "/:?#[]@!$&'()*+,;=%-._~"
_LINK_URL = re.compile(r"https?://[\w.:%@\[\]~-]+(?:[/?#].*)?", re.ASCII | re.IGNORECASE)


def one_line(text: str, limit: int = LONGEST_DESCRIPTION) -> str:
    """One line of at most `limit` characters."""
    line = _INVISIBLE.sub(" ", text).strip()
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def length_error(what: str, text: str, longest: int) -> str:
    """What is wrong with what a person wrote; "" if nothing is."""
    if len(text) <= longest:
        return ""
    too_long = f"A {what} has at most {longest} characters, and this one has {len(text)}"
    return f"{too_long}; shorten it, or link to the rest"


def web_url(value: Any) -> str:
    """The value, if it is an address that pages may link to; empty otherwise."""
    return handlers_text.web_url(value, LONGEST_URL)


def link_url(url: str, *, quoted: str = "") -> str:
    """The address with only what may stand in a URL, for a link; "" if it is no web address.
    `quoted`: characters of a URL that would end the link."""
    safe = quote(
        url, safe=_URL_CHARACTERS.translate({ord(one): "" for one in quoted}), errors="replace"
    )
    return safe if _LINK_URL.fullmatch(safe) else ""


def and_more(names: Sequence[str], *, most: int | None = None, limit: int | None = None) -> str:
    """'a, b and 3 more': at most `most` names in at most `limit` characters, but at least one."""
    for count in range(min(len(names), most or len(names)), 1, -1):
        text = _first(names, count)
        if limit is None or len(text) <= limit:
            return text
    return _first(names, 1)


def _first(names: Sequence[str], count: int) -> str:
    left = len(names) - count
    return ", ".join(names[:count]) + (f" and {left} more" if left > 0 else "")


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Times have their zone, as GitHub writes them: what reads them, and `--since`, demand it."""
    return escaped(json.dumps(value, default=_json_value, ensure_ascii=False, indent=indent))


def _json_value(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return str(value)


_CONTROL = re.compile(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(document: str) -> str:
    """The same JSON, in which nothing controls the terminal."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", document)

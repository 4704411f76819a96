"""The elements of a page that have the same form wherever they stand: text, times and links.

Text from outside is one line without control characters.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from webhook.text import one_line

# Characters of a line that are shown.
LONGEST_LINE = 1000
# GitHub sends no login for an account that was deleted.
SOMEBODY = "somebody"


@dataclass(frozen=True, slots=True)
class Moment:
    iso: str
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """Plain text where `url` is empty."""

    url: str
    text: str


def line(text: str) -> str:
    return one_line(text, LONGEST_LINE)


def moment(at: datetime, form: str = "%d %b, %H:%M:%S") -> Moment:
    utc = at.astimezone(UTC)
    return Moment(utc.isoformat(timespec="seconds"), f"{utc:{form}} UTC")


def day_and_time(at: datetime) -> Moment:
    """Of something planned: nobody plans by the second."""
    return moment(at, "%a %d %b %Y, %H:%M")


def version(ref: str, sha: str) -> str:
    """The commit, with the branch or tag that named it."""
    short = line(sha[:7])
    return short if ref == sha else f"{line(ref)} @ {short}"

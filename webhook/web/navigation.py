"""Where a page of the relay leads to, and which part of them it is in itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from webhook.web import paths


@dataclass(frozen=True, slots=True)
class NavEntry:
    """`letter`: goes there after the key g. `current`: as aria-current; "true" for a page below."""

    text: str
    url: str
    letter: str
    current: Literal["page", "true", ""]


# `under`: addresses of pages that belong to it besides its own.
_Entries: TypeAlias = tuple[tuple[str, str, str, tuple[str, ...]], ...]
_ENTRIES: _Entries = (
    ("Board", paths.BOARD, "b", ("/environments/", "/deployments/")),
    ("Deliveries", paths.DELIVERIES, "d", ("/deliveries/",)),
    ("Insights", paths.INSIGHTS, "i", ("/insights/",)),
    ("Health", paths.HEALTH, "h", ("/health/",)),
    ("Audit", paths.AUDIT, "a", ("/audit/",)),
)
_OPERATORS_ENTRIES = (*_ENTRIES, ("Configuration", paths.CONFIGURATION, "c", ("/configuration/",)))


def navigation(path: str, *, operator: bool = False) -> tuple[NavEntry, ...]:
    """For who is signed in, whatever they may see there: an entry that comes and goes is not found
    again. Who is an `operator` stays one."""
    return tuple(_entries(path, _OPERATORS_ENTRIES if operator else _ENTRIES))


def _entries(path: str, entries: _Entries) -> Iterator[NavEntry]:
    for text, url, letter, under in entries:
        below: Literal["true", ""] = "true" if path.startswith(under) else ""
        yield NavEntry(text, url, letter, "page" if path == url else below)

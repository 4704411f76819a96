"""Which deliveries a page shows: what its address says, and which of them the viewer may see.

Operators see all. Who administers a repository on GitHub sees that repository's; those of no
repository, and what was missed, are the operators'.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

from handlers import durations
from webhook.github.events import storable
from webhook.store.deliveries import Selection, State
from webhook.store.recovery import MissedSelection
from webhook.web import paths
from webhook.web.auth.viewer import Viewer, not_found
from webhook.web.given import number
from webhook.web.services import PageServices

Tab = Literal["all", "failed", "dead", "missed"]
TABS: Mapping[Tab, str] = {
    "all": "All",
    "failed": "Failed",
    "dead": "Dead letters",
    "missed": "Missed",
}
# Parameters of the address, but for the page's own.
FIELDS = ("tab", "event", "outcome", "repo", "deployment", "since", "until", "q")
_EVENT = re.compile(r"[a-z_]{1,60}", re.ASCII)
# Or its beginning; `listed-…` is of a delivery that nobody sent.
_GUID = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}|listed-[0-9]{1,18}", re.ASCII | re.IGNORECASE)
_LONGEST = 200
# What is in between can be reckoned with, and stored.
_FIRST_YEAR, _LAST_YEAR = 1970, 9000


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """`given`: as in the address. `errors`: what of it is not understood. `guid`: it names one."""

    given: Mapping[str, str]
    tab: Tab
    selection: Selection
    errors: tuple[str, ...] = ()

    def value(self, name: str) -> str:
        return self.given.get(name, "")

    @property
    def guid(self) -> str:
        text = self.value("q")
        return text.lower() if _GUID.fullmatch(text) else ""

    @property
    def narrows(self) -> bool:
        return any(name != "tab" for name in self.given)

    def path(self, base: str = paths.DELIVERIES, **changed: str) -> str:
        return paths.with_query(base, **{**self.given, **changed})

    @property
    def of_missed(self) -> MissedSelection:
        """What of it can be said of a delivery that has not arrived."""
        chosen = self.selection
        return MissedSelection(event=chosen.event, since=chosen.since, until=chosen.until)

    @property
    def cleared(self) -> str:
        return paths.with_query(paths.DELIVERIES, tab=self.value("tab"))

    def in_tab(self, tab: Tab) -> str:
        return self.path(tab="" if tab == "all" else tab)


def read_filter(
    args: Mapping[str, str], services: PageServices, repo_ids: frozenset[int] | None
) -> DeliveryFilter:
    """`repo_ids`: of which the viewer may see deliveries; None: of all."""
    given = {name: storable(args.get(name, "").strip()[:_LONGEST]) for name in FIELDS}
    given = {name: value for name, value in given.items() if value}
    tab = cast("Tab", given.get("tab", "all"))
    if tab not in TABS:
        tab = "all"
        del given["tab"]
    reading = _Reading(services, [])
    selection = replace(reading.selection(given, repo_ids), **_of_tab(tab))
    return DeliveryFilter(given, tab, selection, tuple(reading.errors))


def _of_tab(tab: Tab) -> dict[str, Any]:
    match tab:
        case "failed":
            return {"failing": True}
        case "dead":
            return {"outcome": "failed"}
    return {}


@dataclass(frozen=True, slots=True)
class _Reading:
    services: PageServices
    errors: list[str]

    def selection(self, given: Mapping[str, str], repo_ids: frozenset[int] | None) -> Selection:
        text = given.get("q", "")
        return Selection(
            since=self._time(given.get("since", "")),
            until=self._time(given.get("until", "")),
            event=self._event(given.get("event", "")),
            outcome=self._outcome(given.get("outcome", "")),
            deployment_id=self._number(given.get("deployment", "")),
            repo_ids=self._repositories(given.get("repo", ""), repo_ids),
            text="" if _GUID.fullmatch(text) else text,
        )

    def _time(self, text: str) -> datetime | None:
        if not text:
            return None
        try:
            return _moment(text, self.services.clock())
        except (ValueError, OverflowError):
            example = "2h or 3d, or a moment of UTC, as 2026-11-28 02:04"
            self.errors.append(f"“{text}” is no time: write how long ago, as {example}")
            return None

    def _event(self, text: str) -> str:
        if text and not _EVENT.fullmatch(text):
            self.errors.append(
                f"“{text}” is no event: write one of GitHub's, as deployment or push"
            )
            return ""
        return text

    def _outcome(self, text: str) -> State | None:
        if text and text not in get_args(State):
            several = ", ".join(get_args(State))
            self.errors.append(f"“{text}” is no outcome: choose one of {several}")
            return None
        return cast("State", text) or None

    def _number(self, text: str) -> int | None:
        found = number(text)
        if text and found is None:
            self.errors.append(f"“{text}” is no number of a deployment")
        return found

    def _repositories(self, name: str, seen: frozenset[int] | None) -> frozenset[int] | None:
        """Those of the name that are seen; a name that is not known has none."""
        if not name:
            return seen
        known = self.services.permissions.repositories().values()
        named = frozenset(one.repo_id for one in known if one.name.casefold() == name.casefold())
        return named if seen is None else named & seen


def _moment(text: str, now: datetime) -> datetime:
    if not re.match(r"[0-9]{4}-", text):
        return now - durations.parse_with_days(text)
    at = datetime.fromisoformat(text)
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise ValueError
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def seen_by(viewer: Viewer, *, for_act: bool = False) -> frozenset[int] | None:
    """The repositories of which they see deliveries; None: all, and those of none."""
    return None if viewer.operator else viewer.with_permission("admin", for_act=for_act)


def is_seen(viewer: Viewer, repo_id: int | None) -> bool:
    """A delivery of that repository, or of none."""
    return viewer.operator or bool(repo_id and viewer.may(repo_id, "admin"))


def require_seen(viewer: Viewer, repo_id: int | None) -> None:
    """Raises the uniform 404."""
    if not is_seen(viewer, repo_id):
        raise not_found()

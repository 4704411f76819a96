"""What keeps a deployment from starting, as plain data: why, until when, and the way out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from webhook.text import LONGEST_DESCRIPTION, one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """`gate`: the name of the gate that says so. `until`: None where no end is known. `way_out`:
    who can end it, and how. `denies`: it is refused, for good. `for_person`: somebody is asked for
    an answer, and is to be notified; `asks`: who, logins and organization/team."""

    gate: str
    reason: str
    until: datetime | None = None
    way_out: str = ""
    denies: bool = False
    for_person: bool = False
    asks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "until": self.until and self.until.isoformat()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        until = document["until"]
        typed = {
            "until": until and datetime.fromisoformat(until),
            "asks": tuple(document["asks"]),
        }
        return cls(**{**document, **typed})


def describe(blockers: Sequence[Blocker], now: datetime) -> str:
    """The status on GitHub: all of them where they fit, each with its end and its way out; else
    all, in short."""
    full = "; ".join(_in_full(one, now) for one in blockers)
    if len(full) <= LONGEST_DESCRIPTION:
        return full
    short = "; ".join(_in_short(one, now) for one in blockers)
    if len(short) <= LONGEST_DESCRIPTION:
        return short
    room = (LONGEST_DESCRIPTION - 2 * (len(blockers) - 1)) // len(blockers)
    return "; ".join(one_line(_in_short(one, now), room) for one in blockers)


def _in_full(one: Blocker, now: datetime) -> str:
    return ". ".join(part for part in (_in_short(one, now), one.way_out) if part)


def _in_short(one: Blocker, now: datetime) -> str:
    return one.reason if one.denies else f"{one.reason} ({end_of(one, now)})"


def end_of(one: Blocker, now: datetime) -> str:
    if one.until is None:
        return "no known end"
    return f"until {moment(one.until, now)}"


def moment(at: datetime, now: datetime) -> str:
    """Short: with the day where it is not today."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    day = (
        ""
        if at.date() == now.date()
        else f"{at:%a %d %b} "
        if at.year == now.year
        else f"{at:%d %b %Y} "
    )
    return f"{day}{at:%H:%M} UTC"


def next_end(blockers: Iterable[Blocker]) -> datetime | None:
    """When one of them ends by itself."""
    return min((one.until for one in blockers if one.until), default=None)

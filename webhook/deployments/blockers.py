"""What keeps a deployment from starting, as plain data: why, until when, and the way out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from webhook.text import LONGEST_DESCRIPTION, LONGEST_KEPT, one_line


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


def in_full(blockers: Iterable[Blocker], now: datetime) -> str:
    """Where there is room for all of it."""
    return "; ".join(
        f"{one.reason}{_in_brackets(one, now)}" + (f". {one.way_out}" if one.way_out else "")
        for one in blockers
    )


NO_KNOWN_END = "no known end"
# Characters that say what is meant: of a reason where there is room for more than reasons, of one
# where there is not, and of a way out.
_READABLE, _RECOGNIZABLE, _WAY_OUT = 32, 16, 24


def describe(blockers: Sequence[Blocker], now: datetime, before: str = "") -> str:
    """The status on GitHub: each with its end and its way out. Where there is no room for that,
    the ways out go first, those of the last ones before the others; then the ends; and no reason
    is left out for the length of another. `before`: what it begins with."""
    room = LONGEST_DESCRIPTION - len(before)
    reasons = [one_line(one.reason, LONGEST_KEPT) for one in blockers]
    ways = [one_line(one.way_out, LONGEST_KEPT) for one in blockers]
    ends = [_in_brackets(one, now) for one in blockers]
    nothing = [""] * len(blockers)
    forms = [
        *(
            (ends, [*ways[:kept], *nothing[kept:]], _READABLE)
            for kept in range(len(blockers), -1, -1)
        ),
        (ends, nothing, _RECOGNIZABLE),
        (nothing, nothing, _RECOGNIZABLE),
    ]
    for tails, shown, least in forms:
        text = _fitted(reasons, tails, shown, least, room)
        if text is not None:
            return before + text
    return one_line(before + "; ".join(one_line(reason, _RECOGNIZABLE) for reason in reasons))


def _fitted(
    reasons: Sequence[str], ends: Sequence[str], ways: Sequence[str], least: int, room: int
) -> str | None:
    """Reasons and ways out share the room that the ends leave; None where it is too little."""
    fixed = sum(map(len, ends)) + sum(2 for way in ways if way) + 2 * max(0, len(reasons) - 1)
    texts = [*reasons, *ways]
    leasts = [least] * len(reasons) + [_WAY_OUT] * len(ways)
    shares = _shares(texts, leasts, room - fixed)
    if shares is None:
        return None
    cut = [one_line(text, share) for text, share in zip(texts, shares, strict=True)]
    each = zip(cut[: len(reasons)], ends, cut[len(reasons) :], strict=True)
    return "; ".join(f"{reason}{end}" + (f". {way}" if way else "") for reason, end, way in each)


def _shares(texts: Sequence[str], leasts: Sequence[int], room: int) -> list[int] | None:
    """How many characters of each: short ones leave theirs to the others. None where not even the
    least of each fits."""
    shares = [min(len(text), least) for text, least in zip(texts, leasts, strict=True)]
    spare = room - sum(shares)
    if spare < 0:
        return None
    missing = {index: len(text) - shares[index] for index, text in enumerate(texts)}
    for done, index in enumerate(sorted(missing, key=missing.__getitem__)):
        given = min(missing[index], spare // (len(texts) - done))
        shares[index] += given
        spare -= given
    return shares


def _in_brackets(one: Blocker, now: datetime) -> str:
    return "" if one.denies else f" ({end_of(one, now)})"


def end_of(one: Blocker, now: datetime) -> str:
    if one.until is None:
        return NO_KNOWN_END
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

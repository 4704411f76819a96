"""Where the time of a deployment went: from the request to the end, as a bar and a table.

The gates' shares overlap: each says for how long that one held the deployment back. What goes on
has a beginning instead of a duration, so that the same is shown until something happens.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from handlers import durations
from webhook.deployments.phases import Phase
from webhook.store.deployments import DeploymentRow
from webhook.store.durations import GateWait, Usual
from webhook.store.timeline import TimelineEntry
from webhook.web.pages.elements import Moment, line, moment

# What GitHub counts in whole seconds says nothing below.
_ON_ITS_WAY = timedelta(seconds=10)
# Of the bar, in its own units; a phase is never too narrow to be seen.
WIDTH, _NARROWEST = 1000.0, 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateShare:
    """`text`: for how long it held the deployment back, "" for nothing; `since`: it holds now."""

    gate: str
    text: str
    since: Moment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseView:
    """`kind` is the drawing: way, accept, wait, queue or run. `text`: its duration. `usual`: that
    of most there, "" if unknown. `x` and `width`: in the bar, of which what goes on takes a
    half."""

    kind: str
    name: str
    since: Moment
    text: str
    usual: str
    goes_on: bool
    gates: tuple[GateShare, ...]
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasesView:
    """`total`: "" while it goes on. `summary`: the bar in a sentence, for who does not see it.
    `sample`: how many successes `usual` was made of."""

    phases: tuple[PhaseView, ...]
    asked: Moment
    ended: Moment | None
    total: str
    summary: str
    sample: int

    @property
    def overlap(self) -> bool:
        return any(len(one.gates) > 1 for one in self.phases)


@dataclass(frozen=True, slots=True)
class _Span:
    kind: str
    name: str
    since: datetime
    until: datetime
    goes_on: bool = False

    @property
    def seconds(self) -> float:
        return max(0.0, (self.until - self.since).total_seconds())

    @property
    def worth_a_line(self) -> bool:
        return self.kind in ("run", "wait") or self.goes_on or self.seconds >= 1


def build_phases(
    row: DeploymentRow,
    timeline: Sequence[TimelineEntry],
    now: datetime,
    waits: Mapping[str, GateWait],
    usual: Usual | None,
) -> PhasesView | None:
    """None: only its statuses are known, or nothing took any time."""
    if row.requested_at is None:
        return None
    spans = [one for one in _spans(row, timeline, now, waits) if one.worth_a_line]
    end = row.ended_at or now
    total = (end - row.created_at).total_seconds()
    if not spans:
        return None
    names = [f"{one.name} {_text(one)}" for one in spans]
    return PhasesView(
        phases=tuple(_views(spans, waits, usual)),
        asked=moment(row.created_at),
        ended=moment(row.ended_at) if row.ended_at else None,
        total=durations.write(max(0, round(total))) if row.ended_at else "",
        summary=", ".join(names),
        sample=usual.sample if usual else 0,
    )


def _spans(
    row: DeploymentRow,
    timeline: Sequence[TimelineEntry],
    now: datetime,
    waits: Mapping[str, GateWait],
) -> Iterator[_Span]:
    """One after the other, without a gap."""
    assert row.requested_at is not None
    end, known = row.ended_at or now, row.requested_at
    if known - row.created_at >= _ON_ITS_WAY:
        yield _Span("way", "On its way to the relay", row.created_at, known)
    running = _running_at(timeline) if row.phase is not Phase.SUPERSEDED else None
    started = row.started_at or running
    # What ended before it started has only waited.
    accepted = min(started or end, end)
    held = bool(waits or row.blockers) or any(one.held for one in timeline)
    if held or accepted > known or not started:
        kind, name = ("wait", "Waited for gates") if held else ("accept", "Accepted")
        open_end = started is None and row.ended_at is None
        yield _Span(kind, name, known, max(known, accepted), goes_on=open_end)
    if started is None:
        return
    begun = min(running or (end if row.ended_at is None else started), end)
    if begun > started:
        tool = line(row.handler) or "its tool"
        open_end = running is None and row.ended_at is None
        yield _Span("queue", f"Queued by {tool}", started, begun, goes_on=open_end)
    if running is not None or row.ended_at is not None:
        name = "Runs" if row.ended_at is None else "Ran"
        yield _Span("run", name, max(started, begun), end, goes_on=row.ended_at is None)


def _running_at(timeline: Sequence[TimelineEntry]) -> datetime | None:
    """When its tool said first that it runs."""
    found = (one.at for one in timeline if one.counted and one.state == Phase.IN_PROGRESS)
    return next(found, None)


def _views(
    spans: Sequence[_Span], waits: Mapping[str, GateWait], usual: Usual | None
) -> Iterator[PhaseView]:
    over = sum(one.seconds for one in spans if not one.goes_on)
    seconds = [over if one.goes_on else one.seconds for one in spans]
    x = 0.0
    for one, width in zip(spans, _widths(seconds), strict=True):
        yield PhaseView(
            kind=one.kind,
            name=one.name,
            since=moment(one.since),
            text=_text(one),
            usual=_usual(one.kind, usual),
            goes_on=one.goes_on,
            gates=tuple(_shares(waits)) if one.kind == "wait" else (),
            x=round(x, 1),
            width=round(width, 1),
        )
        x += width


def _widths(seconds: Sequence[float]) -> list[float]:
    """Of the whole width, by duration; what would be too narrow takes from the others."""
    total = sum(seconds)
    if not total:
        return [WIDTH / len(seconds)] * len(seconds)
    wide = [max(_NARROWEST, WIDTH * one / total) for one in seconds]
    scale = WIDTH / sum(wide)
    return [one * scale for one in wide]


def _shares(waits: Mapping[str, GateWait]) -> Iterator[GateShare]:
    """Those that hold it now, then the longest first."""
    for gate, wait in sorted(waits.items(), key=lambda one: (not one[1].since, -one[1].seconds)):
        yield GateShare(
            gate=line(gate.replace("_", " ")),
            text="" if wait.since and not wait.seconds else durations.write(round(wait.seconds)),
            since=moment(wait.since) if wait.since else None,
        )


def _usual(kind: str, usual: Usual | None) -> str:
    if usual is None:
        return ""
    seconds = {"accept": usual.waited, "wait": usual.waited, "run": usual.ran}.get(kind)
    return "" if seconds is None else durations.write(max(0, round(seconds)))


def _text(one: _Span) -> str:
    return "goes on" if one.goes_on else durations.write(round(one.seconds))

"""An environment on the board: what is there, what is newest, and what is in the way.

Units: times are shown in UTC. Text from outside is one line without control characters; escaping is
the templates'.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from webhook.deployments.automatic import cause_of
from webhook.deployments.difference import on_github
from webhook.deployments.drift import Drift
from webhook.deployments.freezes import frozen_until
from webhook.deployments.labels import Label, phase_label
from webhook.deployments.locks import Lock, name_of, short_reason
from webhook.deployments.phases import FAILED, Phase
from webhook.gates.freeze import FREEZE, FrozenWindow
from webhook.store.board import BoardDeployment, InFlight
from webhook.text import one_line
from webhook.text import web_url as checked_url
from webhook.web import paths
from webhook.web.pages.board.data import EnvironmentData
from webhook.web.pages.board.filters import Filters
from webhook.web.pages.elements import Link, Moment, day_and_time, line, moment

# Characters of what makes something wait; its page has all of it.
_PHRASE, _REF = 90, 60
# That are kept: those of some boards.
_MOST_CELLS = 4096
_INACTIVE = Label("\N{HEAVY MINUS SIGN}", "inactive", "past")
# Of many cells it is the same.
web_url = lru_cache(maxsize=4096)(checked_url)
_NEVER = Label("•", "nothing deployed", "other")


@dataclass(frozen=True, slots=True)
class Version:
    """`ref`: "" where it is the commit itself."""

    ref: str
    sha: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveView:
    """What is there: the last success. `page`: of that deployment."""

    version: Version
    since: Moment
    page: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestView:
    """The newest deployment, where it is another one than what is there. `version`: its ref and
    commit, which are linked on its page."""

    version: str
    since: Moment
    page: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Of a lock or a freeze. `until`: None where no end is known."""

    text: str
    until: Moment | None
    reason: str


@dataclass(frozen=True, slots=True)
class DriftView:
    text: str
    url: str


# While nothing changes in an environment, its cell is the same one: so comparing what is made of
# cells is quick.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """`named`: it is production, or deploy.yml names it. `label`: of the newest deployment.
    `others`: what waits or runs besides that. `states`: by which it is found; `texts` and `shas`:
    what a search finds."""

    environment: Link
    production: bool
    named: bool
    label: Label
    live: LiveView | None
    newest: NewestView | None
    others: str
    locks: tuple[Hindrance, ...]
    freeze: Hindrance | None
    drifts: tuple[DriftView, ...]
    same_as: str
    states: frozenset[str]
    texts: tuple[str, ...]
    shas: tuple[str, ...]

    def matches(self, filters: Filters) -> bool:
        return (
            (not filters.production or self.production)
            and (not filters.state or filters.state in self.states)
            and filters.environment.lower() in ("", self.environment.text.lower())
            and filters.finds(self.texts, self.shas)
        )


class Freezes:
    """Which windows hold at one moment: asked once each, as many environments share them."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._known: dict[tuple[int, ...], Hindrance | None] = {}

    def of(self, windows: Sequence[FrozenWindow]) -> Hindrance | None:
        key = tuple(map(id, windows))
        if key not in self._known:
            self._known[key] = self._hindrance(windows)
        return self._known[key]

    def _hindrance(self, windows: Sequence[FrozenWindow]) -> Hindrance | None:
        held = [one for one in windows if one.window.end_at(self._now)]
        if not held:
            return None
        until = frozen_until([one.window for one in windows], self._now)
        labels = " and ".join(dict.fromkeys(one.label for one in held))
        return Hindrance(
            "Frozen", day_and_time(until) if until else None, one_line(labels, _PHRASE)
        )


@lru_cache(maxsize=_MOST_CELLS)
def build_cell(
    repo_id: int, repo: str, data: EnvironmentData, freeze: Hindrance | None, *, named: bool
) -> Cell:
    """Whoever looks: of one environment there is one. `named`: by deploy.yml."""
    name, newest = data.stage.name, data.newest
    label = _label(data)
    locks = tuple(_lock(one, repo_id, name) for one in data.locks)
    freeze = freeze or _freeze_of_its_own(data.in_flight)
    drifts = tuple(_drift(one, sha, data) for one, sha in data.drifts)
    shown = [one for one in (data.live, newest) if one]
    return Cell(
        environment=Link(paths.environment(repo, name), line(name)),
        production=data.stage.production,
        named=data.stage.production or named,
        label=label,
        live=_live(data.live) if data.live else None,
        newest=_newest(newest, data) if newest and newest is not data.live else None,
        others=_others(data),
        locks=locks,
        freeze=freeze,
        drifts=drifts,
        same_as=line(" and ".join(data.same_as)),
        states=frozenset(_states(label, data, bool(freeze))),
        texts=(repo, name, *(text for one in shown for text in (one.ref, one.by))),
        shas=tuple(one.sha for one in shown),
    )


def _label(data: EnvironmentData) -> Label:
    newest = data.newest
    if newest is None:
        return _NEVER
    if newest.phase is Phase.INACTIVE:
        return _INACTIVE
    flight = next((one for one in data.in_flight if one.id == newest.id), None)
    return phase_label(
        newest.phase,
        held=flight is not None and flight.held,
        started=newest.started,
        blocked=flight is not None and bool(flight.blockers),
    )


def _version(one: BoardDeployment) -> Version:
    base, sha = web_url(one.repo_url), line(one.sha[:7])
    ref = "" if one.ref == one.sha else one_line(one.ref, _REF)
    return Version(ref, Link(on_github(base, "commit", one.sha) if base else "", sha))


def _by(one: BoardDeployment | InFlight) -> str:
    """Who asked for it, and that a rule did where that was so."""
    who = one_line(one.by, _REF)
    if cause_of(one.action) is None:
        return who
    return f"{who}, automatically" if who else "automatically"


def _live(one: BoardDeployment) -> LiveView:
    return LiveView(
        version=_version(one),
        since=moment(one.since, "%d %b %Y, %H:%M"),
        page=paths.deployment(one.repo, one.id),
        by=_by(one),
    )


def _newest(one: BoardDeployment, data: EnvironmentData) -> NewestView:
    flight = next((other for other in data.in_flight if other.id == one.id), None)
    version = _version(one)
    sha = version.sha.text
    return NewestView(
        version=f"{version.ref} @ {sha}" if version.ref else sha,
        since=moment(one.since, "%d %b %Y, %H:%M"),
        page=paths.deployment(one.repo, one.id),
        by=_by(one),
        reason=reason_of(flight) if flight else "",
    )


def reason_of(one: InFlight) -> str:
    """Why it waits: the first of its reasons."""
    if not one.blockers:
        return ""
    first, more = one_line(one.blockers[0].reason, _PHRASE), len(one.blockers) - 1
    return f"{first} (and {more} more)" if more else first


def _others(data: EnvironmentData) -> str:
    others = [one for one in data.in_flight if data.newest is None or one.id != data.newest.id]
    waiting = sum(1 for one in others if one.blockers)
    running = len(others) - waiting
    parts = [f"{running} more in progress"] if running else []
    parts += [f"{waiting} more waiting" if waiting > 1 else "1 more waits"] if waiting else []
    return ", ".join(parts)


def _lock(lock: Lock, repo_id: int, environment: str) -> Hindrance:
    own = lock.repo_id == repo_id and lock.environment.lower() == environment.lower()
    scope = "" if own else f" ({name_of(lock)})"
    until = day_and_time(lock.expires_at) if lock.expires_at else None
    return Hindrance(line(f"Locked by {lock.owner}{scope}"), until, line(short_reason(lock)))


def _freeze_of_its_own(in_flight: Sequence[InFlight]) -> Hindrance | None:
    """By the repository's own file, which something waits for."""
    for blocker in (one for flight in in_flight for one in flight.blockers):
        if blocker.gate == FREEZE.name:
            until = day_and_time(blocker.until) if blocker.until else None
            reason = blocker.reason.removeprefix("Frozen: ")
            return Hindrance("Frozen", until, one_line(reason, _PHRASE))
    return None


def _drift(one: Drift, sha: str, data: EnvironmentData) -> DriftView:
    base = web_url(data.live.repo_url) if data.live else ""
    pair = f"{data.live.sha}...{sha}" if data.live else ""
    return DriftView(line(one.text), on_github(base, "compare", pair) if base else "")


def _states(label: Label, data: EnvironmentData, frozen: bool) -> Iterator[str]:
    newest, in_flight = data.newest, data.in_flight
    if label.kind == "hold" or any(one.blockers or one.held for one in in_flight):
        yield "waiting"
    if any(not one.blockers and not one.held for one in in_flight):
        yield "running"
    if newest and newest.phase in FAILED:
        yield "failed"
    if newest and newest.phase is Phase.SUCCESS:
        yield "succeeded"
    if data.locks:
        yield "locked"
    if frozen:
        yield "frozen"
    if data.drifts:
        yield "drift"

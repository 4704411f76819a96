"""What would happen with a delivery, as plain data, and what differs between two of these."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

NOTHING = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRoute:
    """`environment`: that of deploy.yml, whose name is in `line` of the file `source`; "" for none.
    `known`: the names that deploy.yml has for the repository."""

    asked: str
    environment: str
    source: str
    line: int
    handler: str
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedGate:
    """`way_out`: who can end it."""

    gate: str
    verdict: Literal["allows", "waits", "refuses"]
    until: datetime | None = None
    reason: str = ""
    way_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedCall:
    """A request, or a command with its `argv`, `cwd` and the names of its `variables`. `hidden`:
    names of headers whose values are not shown."""

    method: str = ""
    url: str = ""
    headers: Mapping[str, str]
    hidden: tuple[str, ...] = ()
    body: Any = None
    argv: tuple[str, ...] = ()
    cwd: str = ""
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStatus:
    """`when`: what it depends on; "" for nothing. `to`: what it is on GitHub."""

    state: str
    description: str = ""
    when: str = ""
    to: Literal["status", "answer to the protection rule"] = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMessage:
    """`when`: "now", else when there would be one; `text` is "" then."""

    destination: str
    notifier: str
    purpose: str
    when: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """`delivery`: a GUID, or a file. `about`: what it says. `outcome` and `reason`: as the list of
    deliveries would have them. `creator`: whether deployments of theirs are taken. `known`: what
    the store knows of the deployment already. `phase`: in which it would be then. `notes`: on the
    calls. `unknown`: what nobody can know before, or only GitHub, a tool or a person."""

    delivery: str
    event: str
    about: str = ""
    repository: str = ""
    deployment: int | None = None
    outcome: str
    reason: str = ""
    creator: str = ""
    route: SimulatedRoute | None = None
    phase: str = ""
    gates: tuple[SimulatedGate, ...] = ()
    calls: tuple[SimulatedCall, ...] = ()
    notes: tuple[str, ...] = ()
    statuses: tuple[SimulatedStatus, ...] = ()
    messages: tuple[SimulatedMessage, ...] = ()
    known: str = ""
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """`aspect`: outcome, environment, handler, gates, channels, or a part of the request."""

    aspect: str
    before: str
    after: str

    @property
    def kind(self) -> tuple[str, ...]:
        """Equal for those that say the same of several deliveries: requests have values of each."""
        of_request = self.aspect.startswith("request")
        return (self.aspect,) if of_request else (self.aspect, self.before, self.after)


def changes(before: Simulation, after: Simulation) -> tuple[Change, ...]:
    return (
        *_pairs("outcome", _outcome(before), _outcome(after)),
        *_pairs("environment", _environment(before), _environment(after)),
        *_pairs("handler", _handler(before), _handler(after)),
        *_pairs("gates", _gates(before), _gates(after)),
        *_request(before, after),
        *_pairs("channels", _channels(before), _channels(after)),
    )


def _pairs(aspect: str, before: str, after: str) -> Iterator[Change]:
    if before != after:
        yield Change(aspect, before or NOTHING, after or NOTHING)


def _outcome(one: Simulation) -> str:
    parts = (one.outcome, one.phase, one.reason)
    return ": ".join(part for part in parts if part)


def _environment(one: Simulation) -> str:
    return one.route.environment if one.route else ""


def _handler(one: Simulation) -> str:
    return one.route.handler if one.route else ""


def _gates(one: Simulation) -> str:
    held = (gate for gate in one.gates if gate.verdict != "allows")
    return "; ".join(f"{gate.gate} {gate.verdict} ({gate.reason})" for gate in held)


def _channels(one: Simulation) -> str:
    return ", ".join(f"{m.destination} ({m.purpose}, {m.when})" for m in one.messages)


def _request(before: Simulation, after: Simulation) -> Iterator[Change]:
    """By the parts of it that differ."""
    old, new = _parts(before.calls), _parts(after.calls)
    if not old or not new:
        yield from _pairs("request", _in_short(before.calls), _in_short(after.calls))
        return
    for name in dict.fromkeys([*old, *new]):
        yield from _pairs(f"request: {name}", old.get(name, ""), new.get(name, ""))


def _in_short(calls: Sequence[SimulatedCall]) -> str:
    return ", then ".join((one.url and f"{one.method} {one.url}") or one.argv[0] for one in calls)


def _parts(calls: Sequence[SimulatedCall]) -> dict[str, str]:
    several = len(calls) > 1
    return {
        f"{number}. {name}" if several else name: value
        for number, call in enumerate(calls, 1)
        for name, value in _parts_of(call)
    }


def _parts_of(call: SimulatedCall) -> Iterator[tuple[str, str]]:
    if call.method:
        yield "method", call.method
        yield "url", call.url
        yield from ((f"header {name}", value) for name, value in call.headers.items())
        yield from ((f"header {name}", "hidden") for name in call.hidden)
        yield from _flat("body", call.body)
        return
    yield from ((f"argument {number}", one) for number, one in enumerate(call.argv))
    yield "cwd", call.cwd
    yield from ((f"variable {name}", "set") for name in call.variables)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif value is not None:
        yield name, value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One delivery; `changes`: none, it is the same."""

    after: Simulation
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of several deliveries alike; `changes` are those of the first. `deliveries`: all of them."""

    event: str
    repository: str
    environment: str
    changes: tuple[Change, ...]
    deliveries: tuple[str, ...]


def grouped(compared: Iterable[Compared]) -> list[Difference]:
    """Most deliveries first."""
    groups: dict[tuple[Any, ...], list[Compared]] = {}
    for one in compared:
        if one.changes:
            kinds = tuple(change.kind for change in one.changes)
            groups.setdefault((*_where(one.after), kinds), []).append(one)
    found = [_difference(several) for several in groups.values()]
    return sorted(found, key=lambda one: -len(one.deliveries))


def _where(one: Simulation) -> tuple[str, str, str]:
    return one.event, one.repository, one.route.asked if one.route else ""


def _difference(several: Sequence[Compared]) -> Difference:
    event, repository, environment = _where(several[0].after)
    return Difference(
        event=event,
        repository=repository,
        environment=environment,
        changes=several[0].changes,
        deliveries=tuple(one.after.delivery for one in several),
    )

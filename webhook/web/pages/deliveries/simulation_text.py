"""What would happen with a delivery, as text: facts that have a name, and some lines each."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC

from webhook.deployments.simulation import (
    SimulatedCall,
    SimulatedMessage,
    SimulatedStatus,
    Simulation,
)
from webhook.text import and_more, json_text, one_line
from webhook.web.pages.terminal_text import harmless

RESULTS = {"done": "processed", "ignored": "ignored", "failed": "failed"}
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Fact:
    """`lines`: parts of them come from outside, and must not control the terminal."""

    name: str
    lines: Sequence[str]

    @classmethod
    def of(cls, name: str, *texts: str) -> "Fact":
        return cls(name, [one_line(text, _LONGEST) for text in texts if text])


def facts_of(found: Simulation) -> Iterator[Fact]:
    then = f", {found.phase}" if found.phase else ""
    yield Fact.of("delivery", f"{found.delivery}: {found.event}")
    yield Fact.of("about", found.about)
    yield Fact.of("outcome", _joined(f"{RESULTS[found.outcome]}{then}", found.reason))
    yield Fact.of("known", found.known)
    yield Fact.of("route", _route(found))
    yield Fact.of("creator", found.creator)
    yield Fact.of("gates", *_gates(found))
    yield from map(_call, found.calls)
    yield Fact.of("before", *(f"{note}." for note in found.notes))
    yield Fact.of("GitHub", *map(_status, found.statuses))
    yield from map(_message, found.messages)
    yield Fact.of("unknown", *(f"{text}." for text in found.unknown))


def _joined(first: str, rest: str) -> str:
    return f"{first}: {rest}" if rest else first


def _route(found: Simulation) -> str:
    route = found.route
    if route is None:
        return ""
    if not route.environment:
        known = f"known here: {and_more(list(route.known))}" if route.known else "none is known"
        return f"none for '{route.asked}'; {known}"
    at = f"{route.source}, line {route.line}" if route.line else route.source
    return f"{route.environment} ({at}), deployed by {route.handler}"


def _gates(found: Simulation) -> Iterator[str]:
    held = [gate for gate in found.gates if gate.verdict != "allows"]
    for gate in held:
        until = f" until {gate.until.astimezone(UTC):%F %R} UTC" if gate.until else ""
        way_out = f". {gate.way_out}" if gate.way_out else ""
        yield f"{gate.gate} {gate.verdict}{until}: {gate.reason}{way_out}"
    if found.gates:
        yield "all others allow it" if held else "all allow it"


def _status(status: SimulatedStatus) -> str:
    when = f" ({status.when})" if status.when else ""
    return f"{status.to}: {_joined(status.state, status.description)}{when}"


def _message(message: SimulatedMessage) -> Fact:
    when = "" if message.when == "now" else f": {message.when}"
    text = [f"| {line}" for line in harmless(message.text).splitlines()]
    first = one_line(f"{message.destination}, {message.purpose}{when}", _LONGEST)
    return Fact(message.notifier, [first, *text])


def _call(call: SimulatedCall) -> Fact:
    if call.argv:
        where = call.cwd or "the directory of the relay"
        names = f"with the variables {', '.join(call.variables)}"
        return Fact.of("runs", json.dumps(call.argv, ensure_ascii=False), f"in {where}", names)
    headers = [f"{name}: {value}" for name, value in call.headers.items()]
    hidden = [f"{name}: (hidden)" for name in call.hidden]
    sent = Fact.of("sends", f"{call.method} {call.url}", *headers, *hidden)
    if call.body is None:
        return sent
    body = call.body if isinstance(call.body, str) else json_text(call.body, indent=2)
    return Fact(sent.name, [*sent.lines, *harmless(body).splitlines()])

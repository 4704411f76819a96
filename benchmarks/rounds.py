"""One receiver under one load, and the medians of several."""

import contextlib
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from benchmarks.load import Load, Result
from benchmarks.processes import Usage, running
from benchmarks.receivers import Receiver
from sandbox.sandbox import free_ports

# Deliveries, or seconds: until node has compiled what is hot.
_WARM_UP, _WARM_UP_WITHIN = 2000, 3


@dataclass(frozen=True)
class Amount:
    """Ends with the first of both: so many deliveries, or so many seconds."""

    connections: int
    deliveries: int = 100_000
    seconds: float = 60


@dataclass(frozen=True)
class Round:
    """Of one receiver: a second's deliveries, milliseconds, MB, and µs of its CPU a delivery."""

    rate: float
    p50: float
    p99: float
    max: float
    rss_mb: float
    cpu_us: float
    failed: int


@dataclass
class Results:
    """`sent` are the deliveries that the relay acknowledged with a 202, `stored` those of them that
    its store has."""

    rounds: dict[tuple[int, str], list[Round]] = field(default_factory=lambda: defaultdict(list))
    missing: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    stored: int = 0

    @property
    def lost(self) -> int:
        return self.sent - self.stored

    def medians(self, processes: int) -> dict[str, dict[str, float]]:
        of_each = {name: r for (count, name), r in self.rounds.items() if count == processes}
        found = {name: _medians(rounds) for name, rounds in of_each.items()}
        for values in found.values():
            if "relay" in found:
                values["ratio_to_relay"] = round(values["rate"] / found["relay"]["rate"], 3)
        return found


def _medians(rounds: Sequence[Round]) -> dict[str, float]:
    names = ("rate", "p50", "p99", "rss_mb", "cpu_us")
    found = {name: statistics.median(getattr(one, name) for one in rounds) for name in names}
    found["max"] = max(one.max for one in rounds)
    found["failed"] = sum(one.failed for one in rounds)
    return {name: round(value, 2) for name, value in found.items()}


@contextlib.contextmanager
def _nothing(_port: int) -> Iterator[None]:
    yield


def measure(
    receiver: Receiver,
    processes: int,
    amount: Amount,
    results: Results,
    beside: Callable[[int], AbstractContextManager[None]] = _nothing,
) -> None:
    """`beside`: what else the port has to bear meanwhile."""
    [port] = free_ports(1)
    environ = {**receiver.environ, **receiver.varies(processes)}
    environ["WEB_CONCURRENCY"] = str(processes)
    if receiver.relay is not None:
        receiver.relay.empty()
    with running(receiver.command(port), environ, port, receiver.folder) as server:
        Load(port, total=_WARM_UP, seconds=_WARM_UP_WITHIN).run(8 * processes)
        server.find_processes()
        status = "202" if receiver.relay else "2"
        load = Load(port, total=amount.deliveries, seconds=amount.seconds, status=status)
        with beside(port):
            before = server.usage()
            result = load.run(amount.connections)
            after = server.usage()
    results.rounds[processes, receiver.name].append(_round(result, before, after))
    if receiver.name == "relay" and receiver.relay is not None:
        results.sent += len(result.acknowledged)
        results.stored += receiver.relay.stored(load.deliveries.prefix)


def _round(result: Result, before: Usage, after: Usage) -> Round:
    return Round(
        result.rate,
        result.percentile(50),
        result.percentile(99),
        result.percentile(100),
        after.rss_mb,
        (after.cpu - before.cpu) / len(result.times) * 1e6,
        result.failed,
    )


def report(results: Results, processes: Sequence[int], console: Console) -> None:
    for count in processes:
        console.print(_table(results, count))
    for name, reason in results.missing.items():
        console.print(f"{name}: left out, {reason}")
    console.print(
        f"The relay acknowledged {results.sent:,} deliveries; {results.stored:,} of them are in"
        " its store."
    )


def _table(results: Results, processes: int) -> Table:
    found = Table(
        "", *("req/s", "ratio", "p50 ms", "p99 ms", "max ms", "RSS MB", "CPU µs", "failed"),
        box=None, pad_edge=False, title=f"WEB_CONCURRENCY={processes}",
    )  # fmt: skip
    for column in found.columns[1:]:
        column.justify = "right"
    for name, values in results.medians(processes).items():
        found.add_row(
            name,
            f"{values['rate']:,.0f}",
            f"{values.get('ratio_to_relay', 0):.2f}",
            *(f"{values[key]:,.1f}" for key in ("p50", "p99", "max")),
            *(f"{values[key]:,.0f}" for key in ("rss_mb", "cpu_us", "failed")),
        )
    return found

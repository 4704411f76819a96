"""POST /webhook beside its peers: the same signed deliveries to each in turn, round after round."""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from benchmarks.load import Load
from benchmarks.processes import running
from benchmarks.receivers import NAMES, Receiver, receivers
from sandbox.sandbox import free_ports

# The commit whose code is `relay-before`: before the intake was made quicker.
BEFORE = "6b9c03e"
LARGEST = 100_000
_WARM_UP = 0.5


@dataclass(frozen=True)
class Round:
    """Of one receiver: a second's deliveries, milliseconds, MB, and µs of its CPU a delivery."""

    rate: float
    p50: float
    p99: float
    max: float
    rss_mb: float
    cpu_us: float


@dataclass
class Results:
    """`sent` are the deliveries that the relay acknowledged with a 202, `stored` those of them that
    its store has."""

    rounds: dict[tuple[int, str], list[Round]] = field(default_factory=lambda: defaultdict(list))
    missing: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    stored: int = 0
    failed: int = 0

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
    return {name: round(value, 2) for name, value in found.items()}


def measure(
    receiver: Receiver, processes: int, connections: int, seconds: float, results: Results
) -> None:
    [port] = free_ports(1)
    environ = {**receiver.environ, **receiver.varies(processes)}
    environ["WEB_CONCURRENCY"] = str(processes)
    if receiver.relay is not None:
        receiver.relay.empty()
    with running(receiver.command(port), environ, port, receiver.folder) as server:
        Load(port, seconds=_WARM_UP).run(8 * processes)
        server.find_processes()
        before = server.usage()
        status = "202" if receiver.relay else "2"
        load = Load(port, total=LARGEST, seconds=seconds, status=status)
        result = load.run(connections)
        after = server.usage()
    count = len(result.times)
    results.rounds[processes, receiver.name].append(
        Round(
            result.rate,
            result.percentile(50),
            result.percentile(99),
            result.percentile(100),
            after.rss_mb,
            (after.cpu - before.cpu) / count * 1e6,
        )
    )
    results.failed += result.failed
    if receiver.name == "relay" and receiver.relay is not None:
        results.sent += count
        results.stored += receiver.relay.stored(load.deliveries.prefix)


def run(arguments: argparse.Namespace, progress: Console) -> Results:
    results = Results()
    with receivers(arguments.only, arguments.before, results.missing) as found:
        for number in range(arguments.rounds):
            for processes in arguments.processes:
                for receiver in found:
                    progress.print(
                        f"round {number + 1}, {processes} processes: {receiver.name}",
                        highlight=False,
                    )
                    measure(receiver, processes, arguments.connections, arguments.seconds, results)
    return results


def report(results: Results, processes: Sequence[int], console: Console) -> None:
    for count in processes:
        table = Table(
            "", *("req/s", "ratio", "p50 ms", "p99 ms", "max ms", "RSS MB", "CPU µs"),
            box=None, pad_edge=False, title=f"WEB_CONCURRENCY={count}",
        )  # fmt: skip
        for column in table.columns[1:]:
            column.justify = "right"
        for name, v in results.medians(count).items():
            table.add_row(
                name,
                f"{v['rate']:,.0f}",
                f"{v.get('ratio_to_relay', 0):.2f}",
                *(f"{v[key]:,.1f}" for key in ("p50", "p99", "max")),
                *(f"{v[key]:,.0f}" for key in ("rss_mb", "cpu_us")),
            )
        console.print(table)
    for name, reason in results.missing.items():
        console.print(f"{name}: left out, {reason}", highlight=False)
    console.print(
        f"The relay acknowledged {results.sent:,} deliveries; {results.stored:,} of them are in"
        f" its store. {results.failed:,} requests to any of them failed.",
        highlight=False,
    )


_EPILOG = (
    """
Each verifies the signature of every delivery and responds with 2xx:
"""
    + "\n".join(f"  {name:18} {what}" for name, what in NAMES.items())
    + """

ratio_to_relay is the median rate of a receiver by that of the relay with the same number of
processes: above 1, it is quicker than the relay. p50, p99 (milliseconds), rss_mb (the most that its
processes took) and cpu_us (of its processes, for one delivery) are medians of the rounds, max is
the slowest request of all. sent counts the deliveries that the relay acknowledged with 202, stored
those of them that are in its store afterwards: it fails where one is missing.

With 2 processes, node's run in its cluster, gidgethub's share the port, and adnanh, which is one
process by nature, may use 2 cores (GOMAXPROCS).
"""
)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="script/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    names = ",".join(NAMES)
    found.add_argument("--rounds", type=int, default=3)
    found.add_argument("--seconds", type=float, default=3, help="of load on each, each round")
    found.add_argument("--connections", type=int, default=64)
    found.add_argument("--processes", type=_numbers, default="1,2")
    found.add_argument("--only", type=_names, default=names, help=f"of {names}")
    found.add_argument("--before", default=BEFORE, help="the commit that is `relay-before`")
    found.add_argument("--short", action="store_true", help="one round, of a second each")
    found.add_argument("--json", action="store_true", help="one object instead of tables")
    return found


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(NAMES):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(NAMES)}")
    return names


def main(argv: Sequence[str]) -> None:
    arguments = parser().parse_args(argv)
    if arguments.short:
        arguments.rounds, arguments.seconds = 1, min(arguments.seconds, 1)
    results = run(arguments, Console(stderr=True))
    if arguments.json:
        of_each = {str(count): results.medians(count) for count in arguments.processes}
        counts = {"stored": results.stored, "sent": results.sent, "failed": results.failed}
        sys.stdout.write(
            json.dumps({"processes": of_each, **counts, "missing": results.missing}) + "\n"
        )
    else:
        report(results, arguments.processes, Console())
    sys.exit(1 if results.stored < results.sent else 0)

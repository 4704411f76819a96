"""Many deliveries at once beside Probot; and the relay's usual load with and without requests that
never end, which nobody signed."""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import product

from rich.console import Console

from benchmarks.intake import BEFORE, names_of, numbers
from benchmarks.receivers import receivers
from benchmarks.rounds import Amount, Results, measure, report
from benchmarks.slow import beside

_EPILOG = """burst: the figures of each as in the intake's; all_2xx is whether each got a 2xx
in all rounds. slow_beside: the relay's p99 without and with so many unsigned requests that are slow
or never end, and the second by the first."""


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="script/bench --burst", description=__doc__, epilog=_EPILOG
    )
    found.add_argument("--rounds", type=int, default=3)
    found.add_argument("--deliveries", type=int, default=5000)
    found.add_argument("--connections", type=int, default=256)
    found.add_argument("--processes", type=numbers, default="1,2")
    found.add_argument("--only", type=names_of, default="relay,relay-before,probot")
    found.add_argument("--before", default=BEFORE, help="the commit that is `relay-before`")
    found.add_argument("--slow", type=int, default=1000, help="requests that never end; 0: none")
    found.add_argument("--seconds", type=float, default=3, help="of the load beside them")
    found.add_argument("--json", action="store_true", help="one object instead of tables")
    return found


def run(arguments: argparse.Namespace, progress: Console) -> tuple[Results, Results, Results]:
    """Of the burst, and of a load without and with slow requests."""
    burst, without, slow = Results(), Results(), Results()
    amount = Amount(arguments.connections, arguments.deliveries)
    usual = Amount(64, seconds=arguments.seconds)
    with receivers(arguments.only, arguments.before, burst.missing) as found:
        for number in range(arguments.rounds):
            for processes, receiver in product(arguments.processes, found):
                progress.print(f"round {number + 1}: {processes} x {receiver.name}")
                measure(receiver, processes, amount, burst)
                if arguments.slow and receiver.name == "relay":
                    measure(receiver, processes, usual, without)
                    measure(receiver, processes, usual, slow, beside(arguments.slow))
    return burst, without, slow


def document(
    processes: Sequence[int], burst: Results, without: Results, slow: Results
) -> dict[str, object]:
    bursts: dict[str, dict[str, object]] = {}
    compared = {}
    for count in processes:
        bursts[str(count)] = {
            name: {**values, "all_2xx": not values["failed"]}
            for name, values in burst.medians(count).items()
        }
        if "relay" in slow.medians(count):
            before, after = without.medians(count)["relay"], slow.medians(count)["relay"]
            compared[str(count)] = {
                "p99_without": before["p99"],
                "p99_with": after["p99"],
                "ratio": round(after["p99"] / before["p99"], 2),
                "failed": after["failed"],
            }
    every = (burst, without, slow)
    counts = {
        "stored": sum(results.stored for results in every),
        "sent": sum(results.sent for results in every),
    }
    return {"burst": bursts, "slow_beside": compared, **counts, "missing": burst.missing}


def main(argv: Sequence[str]) -> None:
    arguments = parser().parse_args(argv)
    results = run(arguments, Console(stderr=True, highlight=False))
    if arguments.json:
        sys.stdout.write(json.dumps(document(arguments.processes, *results)) + "\n")
    else:
        console = Console(highlight=False)
        titles = ("A burst", "A usual load", f"The same beside {arguments.slow} slow requests")
        for title, found in zip(titles, results, strict=True):
            if found.rounds:
                console.print(f"\n{title}")
                report(found, arguments.processes, console)
    sys.exit(1 if any(found.lost for found in results) else 0)

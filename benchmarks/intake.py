"""POST /webhook beside its peers: the same signed deliveries to each in turn, round after round."""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import product

from rich.console import Console

from benchmarks.receivers import NAMES, receivers
from benchmarks.rounds import Amount, Results, measure, report

# The commit whose code is `relay-before`: before the intake was made quicker.
BEFORE = "6b9c03e"


def run(arguments: argparse.Namespace, progress: Console) -> Results:
    results = Results()
    amount = Amount(arguments.connections, seconds=arguments.seconds)
    with receivers(arguments.only, arguments.before, results.missing) as found:
        for number in range(arguments.rounds):
            for processes, receiver in product(arguments.processes, found):
                progress.print(f"round {number + 1}: {processes} x {receiver.name}")
                measure(receiver, processes, amount, results)
    return results


_EPILOG = (
    """
Each verifies the signature of every delivery and responds with 2xx:
"""
    + "\n".join(f"  {name:18} {what}" for name, what in NAMES.items())
    + """

ratio_to_relay is the median rate of a receiver by that of the relay with the same number of
processes: above 1, it is quicker than the relay. p50, p99 (milliseconds), rss_mb (the most that its
processes took) and cpu_us (of its processes, for one delivery) are medians of the rounds, max is
the slowest request of all, failed those that got no 2xx. sent counts the deliveries that the relay
acknowledged with 202, stored those of them that are in its store afterwards: it fails where one is
missing.

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
    found.add_argument("--processes", type=numbers, default="1,2")
    found.add_argument("--only", type=names_of, default=names, help=f"of {names}")
    found.add_argument("--before", default=BEFORE, help="the commit that is `relay-before`")
    found.add_argument("--short", action="store_true", help="one round, of a second each")
    found.add_argument("--json", action="store_true", help="one object instead of tables")
    return found


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def names_of(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(NAMES):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(NAMES)}")
    return names


def main(argv: Sequence[str]) -> None:
    arguments = parser().parse_args(argv)
    if arguments.short:
        arguments.rounds, arguments.seconds = 1, min(arguments.seconds, 1)
    results = run(arguments, Console(stderr=True, highlight=False))
    if arguments.json:
        of_each = {str(count): results.medians(count) for count in arguments.processes}
        counts = {"stored": results.stored, "sent": results.sent}
        document = {"processes": of_each, **counts, "missing": results.missing}
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        report(results, arguments.processes, Console(highlight=False))
    sys.exit(1 if results.lost else 0)

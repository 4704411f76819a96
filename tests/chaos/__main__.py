"""All storms: `script/storm --NAME arguments` runs one, `script/storm --short` each in short.

A storm is a module with a `main` that takes its arguments, ends with 0 only where all held, and
whose last line on stdout says in short what happened: the seed and the counts.
"""

import argparse
import asyncio
import importlib
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

# Of each storm, so many seconds at most, in its short form.
WITHIN = 600
# CI has two cores, and a storm waits most of its time.
AT_ONCE = 2
MAIN = "main"


@dataclass(frozen=True)
class Storm:
    """`short`: the arguments of each of its short forms; `alone`: nothing may run beside it."""

    module: str
    short: Sequence[Sequence[str]]
    alone: bool = field(default=False, kw_only=True)


STORMS = {
    MAIN: Storm("tests.chaos.main_storm", [["--deployments=60", "--kills=12", "--hurried"]]),
    "outage": Storm(
        "tests.chaos.outage_storm",
        [
            [what, "--deployments=36", "--steps=12", "--pause=1"]
            for what in ("github", "slack", "store", "network")
        ],
    ),
    "tools": Storm("tests.chaos.storm", []),
    "gates": Storm(
        "tests.chaos.gates_storm", [["--deployments=9", "--kills=3", "--pause=0.15", "--hurried"]]
    ),
    "load": Storm(
        "tests.chaos.intake_storm", [["--deliveries=400", "--kills=2", "--connections=8"]]
    ),
    "fuzz": Storm("tests.chaos.fuzz", [["--requests=20000"]]),
    "rotation": Storm("tests.chaos.rotation", [["--pause=0.3"]]),
    "upgrade": Storm(
        "tests.chaos.upgrade_storm",
        [["--deployments=24", "--beside=8", "--pause=0.5", "--hurried"]],
    ),
    "restore": Storm(
        "tests.chaos.restore_storm", [["--deployments=24", "--pause=0.1", "--hurried"]]
    ),
    "disk": Storm("tests.chaos.disk", [["--rounds=1", "--lasts=8"]]),
    "memory": Storm("tests.chaos.memory", [["--rounds=2", "--deployments=3"]]),
    "hosts": Storm("tests.chaos.hosts", [["--rounds=1", "--lasts=16"]]),
}


async def run_short(names: Sequence[str], seed: int) -> int:
    """How many of them did not hold."""
    free = asyncio.Semaphore(AT_ONCE)
    runs = [(name, form) for name in names for form in STORMS[name].short]
    beside = [one for one in runs if not STORMS[one[0]].alone]
    results = await asyncio.gather(*(_run(name, form, seed, free) for name, form in beside))
    alone = [one for one in runs if STORMS[one[0]].alone]
    results += [await _run(name, form, seed, free) for name, form in alone]
    return results.count(False)


async def _run(name: str, form: Sequence[str], seed: int, free: asyncio.Semaphore) -> bool:
    async with free:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", STORMS[name].module, *form, f"--seed={seed}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(WITHIN):
                shown, log = await process.communicate()
        except TimeoutError:
            process.send_signal(signal.SIGINT)  # so that it stops what it has started
            shown, log = await process.communicate()
    held = process.returncode == 0
    lines = shown.decode().splitlines() or ["nothing was shown"]
    sys.stdout.write(f"{'held' if held else 'FAILED'}  {name} {lines[-1]}")
    sys.stdout.write(f" ({time.monotonic() - began:.0f} s)\n")
    if not held:
        sys.stderr.write("\n".join([log.decode(errors="replace"), *lines, ""]))
    sys.stdout.flush()
    return held


def main(arguments: Sequence[str]) -> int:
    name = arguments[0].removeprefix("--") if arguments else MAIN
    if name in STORMS:
        return int(importlib.import_module(STORMS[name].module).main(arguments[1:]))
    if name != "short":
        return int(importlib.import_module(STORMS[MAIN].module).main(arguments))
    parser = argparse.ArgumentParser(prog="script/storm --short", description=run_short.__doc__)
    parser.add_argument("names", nargs="*", help="not all, but these")
    parser.add_argument("--seed", type=int, default=7)
    parsed = parser.parse_args(arguments[1:])
    if unknown := set(parsed.names) - set(STORMS):
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(STORMS)}")
    return asyncio.run(run_short(parsed.names or [*STORMS], parsed.seed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

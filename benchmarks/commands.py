"""What a run of `true` costs.

script/bench --commands [--runs 200] [--at-once 1]

CPU of the worker's side and of all processes of the runs, and the time from `start` to the end as
announced. The runs' processes are counted when they have ended, whoever started them: this process
adopts orphans (prctl(2), PR_SET_CHILD_SUBREAPER; Linux).
"""

import argparse
import asyncio
import ctypes
import json
import os
import resource
import statistics
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from handlers.command import Command
from tests.handlers.runs import a_command, a_context, a_deployment

PR_SET_CHILD_SUBREAPER = 36


def cpu(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


async def runs(data_dir: Path, count: int, at_once: int) -> dict[str, float]:
    handler = a_command(data_dir, ["true"])
    slots = asyncio.Semaphore(at_once)
    ended: dict[int, asyncio.Event] = {number: asyncio.Event() for number in range(1, count + 2)}
    began, starts, ends = 0.0, [], []

    async def listen() -> None:
        async for number in Command.ends(a_context(data_dir)):
            ended[number].set()

    async def one(number: int) -> None:
        async with slots:
            deployment, at = a_deployment(id=number), perf_counter()
            assert await handler.find(deployment) is None
            run = await handler.start(deployment)
            starts.append(perf_counter() - at)
            await ended[number].wait()
            ends.append(perf_counter() - at)
            run = await handler.check(deployment, run)
            assert run.state.final
            await handler.read_output(deployment, 0)

    listening = asyncio.create_task(listen())
    await one(count + 1)  # what is started once
    starts.clear()
    ends.clear()
    before, began = cpu(resource.RUSAGE_SELF), perf_counter()
    await asyncio.gather(*(one(number) for number in range(1, count + 1)))
    took = perf_counter() - began
    listening.cancel()
    return {
        "worker_ms": (cpu(resource.RUSAGE_SELF) - before) / count * 1000,
        "start_p50_ms": statistics.median(starts) * 1000,
        "end_p50_ms": statistics.median(ends) * 1000,
        "runs_per_s": count / took,
    }


def plain_true(count: int) -> float:
    """What the program itself costs, to compare machines and moments."""
    before = cpu(resource.RUSAGE_CHILDREN)
    for _ in range(count):
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    return (cpu(resource.RUSAGE_CHILDREN) - before) / count * 1000


def measure(count: int, at_once: int) -> dict[str, float]:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    reader, writer = os.pipe()
    worker = os.fork()
    if not worker:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as directory:
            mine = asyncio.run(runs(Path(directory), count, at_once))
            mine["whole_worker"] = cpu(resource.RUSAGE_SELF)
            os.write(writer, json.dumps(mine).encode())
        os._exit(0)
    with suppress(ChildProcessError):
        while True:
            os.wait()
    results: dict[str, float] = json.loads(os.read(reader, 65536))
    others = cpu(resource.RUSAGE_CHILDREN) - results.pop("whole_worker")
    results["runs_processes_ms"] = others / (count + 1) * 1000
    results["plain_true_ms"] = plain_true(count)
    return results


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="script/bench --commands",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=1)
    given = parser.parse_args(arguments)
    measured = measure(given.runs, given.at_once)
    sys.stdout.write(json.dumps({name: round(value, 2) for name, value in measured.items()}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""From the webhook to the world: how soon statuses and messages are there, and what they cost.

script/bench --latency [--json] [...]
    --rates 1,10,50 --seconds 10 --workers 1     how soon, at a steady rate
    --batch 500 --batch-workers 1,4              how many a second; 0: not measured
    --statements                                 only: which SQL statements a deployment makes
    --in-flight 10000 --tool drone --seconds 60  only: many that wait for a tool, one worker
    --idle                                       only: memory, CPU and start without work

Real processes and an embedded PostgreSQL; GitHub and Slack are stand-ins that respond at once. Each
deployment runs the command `true`, in a Slack channel that had none for longest.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import idle, in_flight
from benchmarks.latency_report import report
from benchmarks.percentiles import percentiles
from benchmarks.stand_ins import EVENTS, StandIns
from benchmarks.store_counts import StatementLog, Store
from benchmarks.whole_relay import Relay, relay
from sandbox.sandbox import free_ports

TRUE = "handler: command\n    with: {run: ['true']}"
WARM_UP = 20
SETTLED_WITHIN = 90
Json = dict[str, Any]


@dataclass
class Bench:
    stand_ins: StandIns
    relay: Relay
    store: Store
    folder: Path

    async def paced(self, rate: float, seconds: float) -> Json:
        """Deployments at a steady rate."""
        return await self._measured(round(rate * seconds), 1 / rate)

    async def batch(self, count: int) -> Json:
        """As many at once."""
        return await self._measured(count, 0)

    async def _measured(self, count: int, pause: float) -> Json:
        self.stand_ins.forget()
        before, cpu, own = self.store.counts(), self.relay.cpu(), _own_cpu()
        began = time.monotonic()
        await self._send(count, pause)
        complete = await self.stand_ins.settled(SETTLED_WITHIN)
        own_used = _own_cpu() - own
        lasted = time.monotonic() - began
        await self._idle()
        used = {name: value - cpu[name] for name, value in self.relay.cpu().items()}
        counts = self.store.counts().since(before)
        return {
            "deployments": count,
            "complete": complete,
            "settled_s": round(lasted, 2),
            "ms": self._times(),
            "per_second": self._rates(began),
            "each": {
                **{name: round(value / count, 2) for name, value in counts.totals.items()},
                "jobs": round(counts.tables["schedule"][0] / count, 2),
                "job_updates": round(counts.tables["schedule"][1] / count, 2),
                "cpu_ms": {
                    **{name: round(value / count * 1000, 1) for name, value in used.items()},
                    "stand_ins": round(own_used / count * 1000, 1),
                },
            },
            "cpu_allows_per_second": {
                "a_worker": round(count / max(used["worker"], 0.01), 1),
                "the_machine": round(
                    count * (os.cpu_count() or 1) / max(sum(used.values()) + own_used, 0.01), 1
                ),
            },
        }

    async def _send(self, count: int, pause: float) -> None:
        began = time.monotonic()
        for number in range(count):
            await self.stand_ins.deploy()
            await asyncio.sleep(max(0, began + (number + 1) * pause - time.monotonic()))

    async def _idle(self) -> None:
        """Replies in threads are gathered for some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_WITHIN):
                while True:
                    if not self.store.is_busy():
                        return
                    await asyncio.sleep(0.5)

    def _times(self) -> Json:
        sent = self.stand_ins.sent
        # What was sent before may still be seen.
        seen = {id_: events for id_, events in self.stand_ins.seen.items() if id_ in sent}
        return {
            event: percentiles(
                [seen[id_][event] - at for id_, at in sent.items() if event in seen.get(id_, ())]
            )
            for event in EVENTS
        }

    def _rates(self, began: float) -> Json:
        """From the first request until the last of each."""
        found = {}
        for event in ("success", "edit"):
            times = [s[event] for s in self.stand_ins.seen.values() if event in s]
            found[event] = round(len(times) / (max(times) - began), 1) if times else 0
        return found

    async def statements(self, count: int, rate: float) -> Json:
        """Which statements a deployment makes, by kind; in a run of its own, as the log costs."""
        self.store.trace_jobs()
        self.store.log_statements()
        log = StatementLog(self.folder / "data/postgres/log")
        self.stand_ins.forget()
        await self._send(count, 1 / rate)
        await self.stand_ins.settled(SETTLED_WITHIN)
        await self._idle()
        kinds, jobs = log.by_kind(), self.store.traced_jobs()
        return {
            "deployments": count,
            "each": round(kinds.total() / count, 1),
            "kinds": [
                {"process": process, "statement": text, "each": round(n / count, 2)}
                for (process, text), n in kinds.most_common()
            ],
            "jobs": [
                {"task": task, "what": what, "each": round(n / count, 2)}
                for (task, what), n in sorted(jobs.items())
            ],
        }


@asynccontextmanager
async def bench(workers: int, environment: str = TRUE) -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name:
        folder = Path(name)
        stand_ins = StandIns()
        async with stand_ins.sandbox:
            [port] = free_ports(1)
            config = folder / "deploy.yml"
            config.write_text(stand_ins.deploy_yml(environment))
            environ = stand_ins.environ(folder / "data", config, port)
            async with relay(environ, folder, port, workers=workers) as started:
                store = Store(started.url)
                found = Bench(stand_ins, started, store, folder)
                await found.batch(WARM_UP)
                yield found
                await stand_ins.sender.close()
                store.close()


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measure(arguments: argparse.Namespace) -> Json:
    seconds = arguments.seconds
    if arguments.idle:
        return {"idle": await idle.measure(seconds or 20)}
    if arguments.in_flight:
        tool = arguments.tool
        return {"in_flight": await in_flight.measure(arguments.in_flight, tool, seconds or 60)}
    if arguments.statements:
        async with bench(arguments.workers) as one:
            return {"statements": await one.statements(100, 10)}
    found: Json = {"rates": {}, "batch": {}}
    if arguments.rates:
        async with bench(arguments.workers) as one:
            for rate in arguments.rates:
                found["rates"][f"{rate:g}"] = await one.paced(rate, seconds or 10)
    for workers in arguments.batch_workers if arguments.batch else ():
        async with bench(workers) as one:
            found["batch"][str(workers)] = await one.batch(arguments.batch)
    return found


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part]


def counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/bench --latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rates", type=numbers, default=[1.0, 10.0, 50.0])
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--batch-workers", type=counts, default=[1, 4])
    parser.add_argument("--statements", action="store_true")
    parser.add_argument("--in-flight", type=int)
    parser.add_argument("--tool", choices=[*in_flight.TOOLS], default="drone")
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def _load() -> float:
    """Processes that wanted a core, on average of a minute: more than there are spoil times."""
    return round(os.getloadavg()[0], 1)


def main(argv: Sequence[str]) -> None:
    arguments = parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that PostgreSQL is stopped too
    load = _load()
    found = {"cores": os.cpu_count(), "load_before": load, **uvloop.run(measure(arguments))}
    found["load_after"] = _load()
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        report(found)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Commands that print much, all at once, beside deliveries and other deployments.

script/bench --outputs [--commands 20] [--megabytes 5] [--seconds 10] [--endless] [--json]

Each command prints its share in pieces over the seconds; with --endless, as much as it can until
its time-out. Web, worker and PostgreSQL are real processes; GitHub is a stand-in in this one.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import psutil
import psycopg

from benchmarks.whole_relay import clean_environ, cpu_of, postmaster, responds, tree
from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY, Sandbox, free_ports

DEPLOY_YML = """
envs:
  - name: prints
    handler: command
    serialization: false
    with: {run: [PYTHON, "-c", "PROGRAM"]}
    timeout: TIMEOUT
  - name: quick
    handler: command
    serialization: false
    with: {run: ["true"]}
"""
# In lines, as a build prints them.
PRINTS = (
    "import sys, time; out = sys.stdout.buffer;"
    " line = b'2026-01-01 12:00:00 INFO step %05d of the build: compiled srv/app/module.py\\\\n';"
    " piece = b''.join(line % n for n in range(850))[:65536];"
    " count = int(MEGABYTES * 16); began = time.time();"
    " [(out.write(piece), out.flush(), time.sleep(max(0, began + SECONDS * (n + 1) / count"
    " - time.time()))) for n in range(count)]"
)
ENDLESS = "import os\\nwhile True: os.write(1, b'y\\\\n' * 32768)"
FINAL = ("success", "failure", "error")


@dataclass
class Measured:
    """Seconds, but for `bytes_stored` and `wal`."""

    deliveries: list[float] = field(default_factory=list)
    refused: int = 0
    quick: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    bytes_stored: int = 0
    wal: int = 0

    def document(self) -> dict[str, Any]:
        def spread(values: list[float]) -> dict[str, float]:
            ordered = sorted(values)
            return {
                "p50": round(median(ordered), 3),
                "p99": round(ordered[int(len(ordered) * 0.99)], 3),
                "max": round(ordered[-1], 3),
            }

        return {
            "delivery_seconds": spread(self.deliveries) | {"count": len(self.deliveries)},
            "not_202": self.refused,
            "seconds_to_success_of_true": spread(self.quick) | {"count": len(self.quick)},
            "seconds_after_the_due_end": spread(self.ends),
            "states": self.states,
            "cpu_seconds": {name: round(spent, 2) for name, spent in self.cpu.items()},
            "stored_mb": round(self.bytes_stored / 1e6, 2),
            "wal_mb": round(self.wal / 1e6, 2),
        }


class Bench:
    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments = arguments
        self.folder = folder
        self.sandbox = Sandbox()
        self.sandbox.github.rate_limits.per_hour = 1_000_000
        self.measured = Measured()

    async def run(self) -> Measured:
        async with self.sandbox, self._relay() as up:
            before, wal = self._cpu(up), self._wal()
            beside = [asyncio.create_task(it) for it in (self._deliver(), self._quick())]
            await asyncio.sleep(1)
            began = time.time()
            made = await asyncio.gather(
                *(self._deploy("prints") for _ in range(self.arguments.commands))
            )
            await asyncio.gather(*(self._ended(one, began) for one in made))
            for task in beside:
                task.cancel()
            self.measured.cpu = {
                name: spent - before.get(name, 0) for name, spent in self._cpu(up).items()
            }
            self.measured.wal = self._wal() - wal
            [stored] = self._query("select coalesce(sum(length(chunk)), 0) from output")
            self.measured.bytes_stored = int(stored)
            return self.measured

    @contextlib.asynccontextmanager
    async def _relay(self) -> AsyncIterator[psutil.Process]:
        [port] = free_ports(1)
        program = ENDLESS if self.arguments.endless else PRINTS
        for name in ("megabytes", "seconds"):
            program = program.replace(name.upper(), str(getattr(self.arguments, name)))
        config = self.folder / "deploy.yml"
        text = DEPLOY_YML.replace("PYTHON", json.dumps(sys.executable)).replace("PROGRAM", program)
        timeout = f"{self.arguments.seconds}s" if self.arguments.endless else "5m"
        config.write_text(text.replace("TIMEOUT", timeout))
        environ = self.sandbox.environ(self.folder / "data", config, port)
        self.url = f"http://127.0.0.1:{port}"
        with (self.folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "webhook", "up"),
                env={**clean_environ(), **environ},
                stdout=log,
                stderr=log,
            )
        try:
            await responds(f"{self.url}/workz")
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            await process.wait()

    async def _deploy(self, environment: str) -> Deployment:
        made: Deployment = await self.sandbox.github.create_deployment(
            REPOSITORY, environment=environment, required_contexts=[]
        )
        return made

    async def _ended(self, deployment: Deployment, began: float) -> None:
        await self.sandbox.github.wait_for(deployment.id, *FINAL, within=120)
        state = self.sandbox.github.states(deployment.id)[-1]
        self.measured.states[state] = self.measured.states.get(state, 0) + 1
        self.measured.ends.append(time.time() - began - self.arguments.seconds)

    async def _quick(self) -> None:
        """Another deployment each second."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._quick_one())
                await asyncio.sleep(1)

    async def _quick_one(self) -> None:
        began = time.time()
        deployment = await self._deploy("quick")
        await self.sandbox.github.wait_for(deployment.id, "success", within=120)
        self.measured.quick.append(time.time() - began)

    async def _deliver(self) -> None:
        """10 a second, of an event that nobody acts on."""
        body = json.dumps({"action": "created", "filler": "x" * 10_000}).encode()
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._deliver_one(session, body))
                await asyncio.sleep(0.1)

    async def _deliver_one(self, session: aiohttp.ClientSession, body: bytes) -> None:
        began = time.time()
        headers = self.sandbox.github.delivery_headers("star", body)
        async with session.post(f"{self.url}/webhook", data=body, headers=headers) as response:
            self.measured.refused += response.status != 202
        self.measured.deliveries.append(time.time() - began)

    def _cpu(self, up: psutil.Process) -> dict[str, float]:
        """Of the relay's processes. Those of a run count as children of the process that forks
        supervisors, once they have ended."""
        spent: defaultdict[str, float] = defaultdict(float)
        for process in tree(up):
            with contextlib.suppress(psutil.Error):
                own, ended = cpu_of(process.pid)
                kind = _kind(process)
                spent[kind] += own
                if kind == "supervisors":
                    spent["runs that ended"] += ended
        server = tree(psutil.Process(postmaster(self.folder)))
        spent["postgres"] = sum(cpu_of(process.pid)[0] for process in server)
        return spent

    def _wal(self) -> int:
        [lsn] = self._query("select pg_current_wal_lsn() - '0/0'")
        return int(lsn)

    def _query(self, query: str) -> tuple[Any, ...]:
        url = f"postgresql://postgres@/postgres?host={self.folder}/data/postgres"
        with psycopg.connect(url) as connection:
            return connection.execute(query).fetchone() or ()


def _kind(process: psutil.Process) -> str:
    """`up` and what it forks have the same command line, but other names."""
    if any(argument.endswith("supervise.py") for argument in process.cmdline()):
        return "supervisors"
    return {"relay-web": "web", "relay-worker-1": "worker"}.get(process.name(), "others")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="script/bench --outputs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--commands", type=int, default=20)
    parser.add_argument("--megabytes", type=float, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--endless", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as folder:
        measured = asyncio.run(Bench(given, Path(folder)).run()).document()
    if given.json:
        print(json.dumps(measured))  # noqa: T201
    else:
        for name, value in measured.items():
            print(f"{name}: {value}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])

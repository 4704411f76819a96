"""A relay whose processes run out of memory, one after the other; then what the other side saw.

    script/storm --memory --rounds 12 --seed 7

In each round a worker or a web process may not have more address space than it has (setrlimit(2),
RLIMIT_AS, as `ulimit -v` sets it), while deployments with large payloads come. It may go on with
what it has, or end, and then `up` starts another. In every fourth round it is killed, as Linux does
where the machine's memory is used up.

Afterwards: each deployment ran once, with its statuses in order and one message, and none of a
round lasted longer than a worker takes to be replaced; nothing is held by a process that does not
get on with it.
"""

import argparse
import asyncio
import contextlib
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import psycopg

from sandbox.sandbox import REPOSITORY, Sandbox, free_ports

MB = 1024 * 1024
# Of a delivery at most, which GitHub would not send if it were larger than 25 MB.
LARGEST = 3 * MB
# Seconds until a round's deployments have ended, and until the last is over.
WITHIN, AT_LAST = 45.0, 180.0
DEPLOY_YML = """
slack: {{channel: "{channel}"}}
envs:
  - name: production
    handler: command
    serialization: false
    with: {{run: ["sh", "-c", "echo $DEPLOYMENT_ID >> {runs}; sleep 1"]}}
    timeout: 10m
"""
ORDER = ["queued", "in_progress", "success"]


@dataclass
class MemoryStorm:
    rounds: int
    deployments: int
    seed: int
    folder: Path
    sandbox: Sandbox = field(default_factory=Sandbox)
    ended: Counter[str] = field(default_factory=Counter)
    lived: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.sandbox.github.rate_limits.per_hour = 1_000_000

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def store(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}/data/postgres"

    async def run(self) -> None:
        async with self.sandbox, self._relay() as up:
            redelivering = asyncio.create_task(self._redeliver())
            for number in range(self.rounds):
                await self._round(up, ("worker", "web")[number % 2], killed=number % 4 == 3)
            if not await self._over([*self.sandbox.github.deployments], AT_LAST):
                self.faults.append("not over in time")
            await self._idle()
            redelivering.cancel()
            self._check()

    @contextlib.asynccontextmanager
    async def _relay(self) -> AsyncIterator[psutil.Process]:
        [port] = free_ports(1)
        config = self.folder / "deploy.yml"
        config.write_text(DEPLOY_YML.format(channel=self.sandbox.deploys.id, runs=self.runs))
        self.runs.touch()
        environ = self.sandbox.environ(self.folder / "data", config, port)
        with (self.folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "webhook", "up", "--workers", "2"),
                env={**os.environ, **environ},
                stdout=log,
                stderr=log,
            )
        try:
            async with asyncio.timeout(60), aiohttp.ClientSession() as session:
                while not await self._works(session, port):
                    await asyncio.sleep(0.2)
            yield psutil.Process(process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    async def _works(self, session: aiohttp.ClientSession, port: int) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(f"http://127.0.0.1:{port}/workz") as response:
                return response.status == 200
        return False

    async def _round(self, up: psutil.Process, name: str, *, killed: bool) -> None:
        victim = self._victim(up, name)
        if killed:
            victim.kill()
        else:
            spare = self.random.choice([0, 1, 4, 16]) * MB
            resource.prlimit(victim.pid, resource.RLIMIT_AS, (victim.memory_info().vms + spare, -1))
        began = time.monotonic()
        made = []
        for _ in range(self.deployments):
            payload = {"notes": "x" * self.random.choice([10, LARGEST // 20, LARGEST])}
            deployment = await self.sandbox.github.create_deployment(
                REPOSITORY, environment="production", payload=payload, required_contexts=[]
            )
            made.append(deployment.id)
            await asyncio.sleep(self.random.uniform(0, 0.3))
        if not await self._over(made, WITHIN):
            self.faults.append(f"what came while a {name} had no memory was not over in time")
        self.slowest = max(self.slowest, time.monotonic() - began)
        if victim.is_running() and victim.status() != psutil.STATUS_ZOMBIE:
            self.lived[name] += 1
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(victim.pid, resource.RLIMIT_AS, (-1, -1))
        else:
            self.ended[name] += 1

    def _victim(self, up: psutil.Process, name: str) -> psutil.Process:
        """Of web, one that serves: the last of those that were forked from each other."""
        while True:
            found = [one for one in up.children(recursive=True) if f"relay-{name}" in one.name()]
            serving = [one for one in found if name == "worker" or not one.children()]
            if serving:
                return self.random.choice(sorted(serving, key=lambda one: one.pid))
            time.sleep(0.1)

    async def _over(self, made: Sequence[int], within: float) -> bool:
        github = self.sandbox.github
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if all(ORDER[-1] in github.states(id_) for id_ in made):
                return True
            await asyncio.sleep(0.2)
        return False

    async def _redeliver(self) -> None:
        """As a person does on the App's page: what failed, until it was accepted."""
        github = self.sandbox.github
        while True:
            await asyncio.sleep(1)
            accepted = {one.guid for one in github.deliveries if one.status_code == 202}
            for guid in {one.guid for one in github.deliveries} - accepted:
                await github.redeliver(guid)

    async def _idle(self) -> None:
        deadline = time.monotonic() + AT_LAST  # a channel of Slack takes a message a second
        left: list[tuple[object, ...]] = []
        soon = (
            "claimed_by is not null or task not in ('recover', 'list_deployments')"
            " and due_at < now() + interval '20 seconds'"
        )
        while time.monotonic() < deadline:
            with psycopg.connect(self.store) as connection:
                left = connection.execute(
                    "select task, subject, claimed_by, attempts from schedule where " + soon
                ).fetchall()
            if not left:
                return
            await asyncio.sleep(0.5)
        self.faults.append(f"held, and not done: {left}")

    def _check(self) -> None:
        github = self.sandbox.github
        ran = Counter(int(line) for line in self.runs.read_text().split())
        messages = Counter(
            (message.metadata or {})["event_payload"]["key"]
            for message in self.sandbox.slack.messages("#deploys")
        )
        for id_ in github.deployments:
            states = [state for state in github.states(id_) if state != "inactive"]
            if states != [one for one in ORDER if one in states] or states[-1:] != ["success"]:
                self.faults.append(f"deployment {id_} has the states {states}")
            if ran[id_] != 1:
                self.faults.append(f"deployment {id_} ran {ran[id_]} times")
            if messages[f"{id_}:main"] != 1:
                count = messages[f"{id_}:main"]
                self.faults.append(f"Slack has {count} messages of deployment {id_}")


async def run_memory_storm(*, rounds: int, deployments: int, seed: int) -> MemoryStorm:
    with tempfile.TemporaryDirectory(prefix="relay-memory-") as folder:
        storm = MemoryStorm(rounds, deployments, seed, Path(folder))
        await storm.run()
        if storm.faults:
            sys.stderr.write(storm.log)
        return storm


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--deployments", type=int, default=8, help="of each round")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parsed = parser.parse_args(arguments)
    began = time.monotonic()
    storm = asyncio.run(run_memory_storm(**vars(parsed)))
    sys.stdout.writelines(f"{fault}\n" for fault in storm.faults)
    sys.stdout.write(
        f"{parsed.rounds} times no memory: ended {dict(storm.ended)}, went on {dict(storm.lived)};"
        f" {len(storm.sandbox.github.deployments)} deployments, of a round over after"
        f" {storm.slowest:.0f} s at most, seed {parsed.seed}, {time.monotonic() - began:.0f} s\n"
    )
    return 1 if storm.faults else 0


if __name__ == "__main__":
    sys.exit(main())

"""Deployments while web, workers and PostgreSQL are killed at random; then their results.

    script/storm --tools --deployments 200 --seed 7

Afterwards: every accepted delivery was processed, every deployment ran its command or its tool
exactly once, GitHub has its statuses in order with one final one, Slack one message of each.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import aiohttp
import psutil
import psycopg

from sandbox.demo.tools import SECRETS, Tools
from sandbox.faults import Fault
from sandbox.sandbox import REPOSITORY, Sandbox, free_ports

DEPLOY_YML = """
slack: {{channel: "{channel}"}}
envs:
"""
# One of several, each with a channel of its own, as one takes only about one message a second.
ENVIRONMENT = """
  - name: "{name}"
    handler: command
    serialization: false
    with: {{run: ["sh", "-c", "echo $DEPLOYMENT_ID >> {runs}; sleep 0.$(($DEPLOYMENT_ID % 9))"]}}
    timeout: 5m
    slack: {{channel: "{channel}"}}
"""
NAMES = [f"env-{number}" for number in range(5)]
# With --tools every second deployment is for one of them.
TOOLS = {"qa": "drone", "canary": "spinnaker", "edge": "endpoint", "docs": "woodpecker"}
FINAL = {"success", "failure", "error"}
ORDER = ["queued", "in_progress", "success"]


@dataclass
class Storm:
    deployments: int
    kills: int
    seed: int
    pause: float
    with_tools: bool
    hurried: bool
    folder: Path
    sandbox: Sandbox = field(default_factory=Sandbox)
    killed: Counter[str] = field(default_factory=Counter)
    environ: dict[str, str] = field(default_factory=dict)
    # States after which nothing happens to a deployment any more.
    over: ClassVar[frozenset[str]] = frozenset(FINAL)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.sandbox.github.rate_limits.per_hour = 1_000_000
        self.sandbox.github.auth.token_life = timedelta(minutes=10)
        # It has no workflow of its own, so that its deployments start without one.
        self.tools = Tools(self.sandbox, TOOLS | {"review": "github-actions"}, takes=0.6)
        self.channels = {name: self.sandbox.slack.add_channel(name) for name in NAMES}
        self.names = [*TOOLS] if self.with_tools else []

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def store(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}/data/postgres"

    async def run(self) -> list[str]:
        """What did not hold afterwards."""
        async with self.sandbox, self.tools, self._services() as up:
            self.tools.build("main")
            self._unreliable()
            killer = asyncio.create_task(self._kill(up))
            redeliverer = asyncio.create_task(self._redeliver())
            await self._deploy_all()
            await killer
            self.sandbox.github.faults.clear()
            self.sandbox.slack.faults.clear()
            for server in self.tools.servers.values():
                server.faults.clear()
            faults = await self._settle()
            redeliverer.cancel()
            return faults or self._faults()

    async def _deploy_all(self) -> None:
        for number in range(self.deployments):
            await self._request_one(number)
            await asyncio.sleep(self.random.uniform(0, 2 * self.pause))

    def _unreliable(self) -> None:
        """GitHub and Slack have a bad day too."""
        unclear = [
            Fault.drop_after(),
            Fault.drop_before(),
            Fault.status(502),
            Fault.rate_limited(1),
        ]
        self.sandbox.github.faults.add_random("POST *statuses", unclear, 0.05, self.seed)
        self.sandbox.github.faults.add_random("GET *contents*", unclear, 0.05, self.seed)
        self.sandbox.slack.faults.add_random("POST /chat.*", unclear, 0.05, self.seed)
        for server in self.tools.servers.values():
            if server is not self.sandbox.github:
                server.faults.add_random(
                    "*", [*unclear, Fault.status(502, acts=True)], 0.05, self.seed
                )

    @contextlib.asynccontextmanager
    async def _services(self) -> AsyncIterator[psutil.Process]:
        task = asyncio.current_task()
        assert task is not None
        # What was started is stopped, whoever ends the storm.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        [port] = free_ports(1)
        config = self.folder / "deploy.yml"
        config.write_text(self._deploy_yml())
        self.environ = self._environ(config, port)
        with (self.folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "webhook", "up", "--workers", "2"),
                env={**os.environ, **self.environ},
                stdout=log,
                stderr=log,
            )
        try:
            await self._ready(port)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            await process.wait()

    def _environ(self, config: Path, port: int) -> dict[str, str]:
        return self.sandbox.environ(self.folder / "data", config, port) | SECRETS

    def _deploy_yml(self) -> str:
        deploy_yml = DEPLOY_YML.format(channel=self.sandbox.deploys.id)
        for name, channel in self.channels.items():
            deploy_yml += ENVIRONMENT.format(name=name, channel=channel.id, runs=self.runs)
        return deploy_yml + self.tools.deploy_yml()

    async def _ready(self, port: int) -> None:
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{port}/workz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.2)

    async def _request_one(self, number: int) -> None:
        name = NAMES[number % len(NAMES)]
        if self.names and number % 2:
            name = self.names[number // 2 % len(self.names)]
        await self.sandbox.github.create_deployment(
            REPOSITORY, environment=name, required_contexts=[]
        )

    async def _redeliver(self) -> None:
        """As a person does on the App's page: what failed, and now and then what succeeded."""
        github = self.sandbox.github
        seen = 0
        while True:
            await asyncio.sleep(0.5)
            ended = github.deliveries[seen:]
            seen += len(ended)
            for delivery in ended:
                if delivery.status_code != 202 or self.random.random() < 0.05:
                    await github.redeliver(delivery.guid)

    async def _kill(self, up: psutil.Process) -> None:
        chance = random.Random(self.seed)  # of its own, so that a seed always kills the same
        while self.killed.total() < self.kills:
            await asyncio.sleep(chance.uniform(1, 5) * self.pause)
            name = chance.choice(["web", "web", "worker", "worker", "worker", "postgres"])
            self._kill_one(up, name)

    def _kill_one(self, up: psutil.Process, name: str) -> bool:
        """Whether there was one."""
        for pid in self._victims(up, name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed[name] += 1
                return True
        return False

    def _victims(self, up: psutil.Process, name: str) -> list[int]:
        if name == "postgres":
            with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
                pid_file = self.folder / "data" / "postgres" / "postmaster.pid"
                pid = int(pid_file.read_text().splitlines()[0])
                return [pid] if _name(pid) else []
            return []
        found = [p.pid for p in up.children(recursive=True) if name in _name(p.pid)]
        return [self.random.choice(found)] if found else []

    async def _settle(self) -> list[str]:
        """Wait until nothing is left to do."""
        began = time.monotonic()
        # A start of unknown outcome is searched for as long as its tool may hide it.
        while time.monotonic() < began + (600 if self.with_tools else 120):
            await asyncio.sleep(1)
            await self.sandbox.github.settled()
            if self.hurried:
                self._end_old_claims()
            open_ones = [
                id_
                for id_ in self.sandbox.github.deployments
                if not self.over & set(self.sandbox.github.states(id_))
            ]
            if not open_ones and not self._jobs():
                return []
        return [f"not over in time: deployments {open_ones}, jobs {self._jobs()}"]

    def _end_old_claims(self) -> None:
        """Of workers that missed two times to extend them; the relay itself waits longer."""
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.store) as store:
            store.execute(
                "update schedule set due_at = now() where claimed_by is not null"
                " and due_at < now() + interval '5 seconds'"
            )

    def _jobs(self) -> list[tuple[object, ...]]:
        try:
            with psycopg.connect(self.store) as connection:
                return connection.execute(
                    "select task, subject, detail, attempts, due_at from schedule"
                ).fetchall()
        except psycopg.OperationalError as error:  # it may have been the last one killed
            return [(str(error),)]

    def _faults(self) -> list[str]:
        """What does not hold."""
        github, slack = self.sandbox.github, self.sandbox.slack
        ran = Counter(int(line) for line in self.runs.read_text().split())
        messages = Counter(
            (message.metadata or {})["event_payload"]["key"]
            for channel in ("#deploys", *NAMES)
            for message in slack.messages(channel)
        )
        faults = [f"{len(github.deployments)} deployments, not {self.deployments}"]
        faults = faults if len(github.deployments) != self.deployments else []
        for id_ in github.deployments:
            states = [state for state in github.states(id_) if state != "inactive"]
            ordered = [state for state in ORDER if state in states]
            if states != ordered or states[-1] != "success":
                faults.append(f"deployment {id_} has the states {states}")
            if github.deployments[id_].environment not in TOOLS and ran[id_] != 1:
                faults.append(f"deployment {id_} ran {ran[id_]} times")
            if messages[f"{id_}:main"] != 1:
                faults.append(f"Slack has {messages[f'{id_}:main']} messages of deployment {id_}")
        faults += self._faults_of_tools()
        with psycopg.connect(self.store) as connection:
            undone = connection.execute(
                "select guid, event from deliveries where outcome is null or outcome = 'failed'"
            ).fetchall()
        return faults + [f"delivery {guid} ({event}) was not processed" for guid, event in undone]

    def _faults_of_tools(self) -> list[str]:
        requested = Counter(d.environment for d in self.sandbox.github.deployments.values())
        return [
            f"{handler} was started {self.tools.started(handler)} times for {requested[name]}"
            for name, handler in TOOLS.items()
            if self.tools.started(handler) != requested[name]
        ]


def _name(pid: int) -> str:
    """Empty for a process that has ended, though it may not have been waited for yet."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return process.name() if process.status() != psutil.STATUS_ZOMBIE else ""
    return ""


async def run_storm(
    *,
    deployments: int,
    kills: int,
    seed: int,
    pause: float,
    tools: bool = False,
    hurried: bool = False,
) -> tuple[list[str], Counter[str]]:
    with tempfile.TemporaryDirectory(prefix="relay-storm-") as folder:
        storm = Storm(deployments, kills, seed, pause, tools, hurried, Path(folder))
        faults = await storm.run()
        if faults:
            sys.stderr.write((Path(folder) / "log").read_text()[-20_000:])
        return faults, storm.killed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two, on average")
    parser.add_argument("--hurried", action="store_true", help="wait for no dead worker's claims")
    parsed = parser.parse_args(arguments)
    began = time.monotonic()
    faults, killed = asyncio.run(run_storm(**vars(parsed), tools=True))
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    sys.stdout.write(
        f"{parsed.deployments} deployments, seed {parsed.seed},"
        f" killed {dict(killed)}, {time.monotonic() - began:.0f} s\n"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

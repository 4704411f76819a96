"""Two hosts with one store, of which one is cut off while it acts; then what the other side saw.

    script/storm --hosts --rounds 8 --seed 7

In each round one host has everything under way: before its call of a tool, after the tool has acted
and before that is recorded, in the middle of a status, of a message and of a command. Then it loses
the store, or all of the network, or is stopped (SIGSTOP), and the other host takes over. Later the
first one comes back.

Afterwards: everything was taken over within 30 s; each deployment ran once, with its statuses in
order and one message; the host that came back said that it had lost its claims.
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
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp
import psycopg
from psycopg.rows import dict_row

from sandbox.demo.tools import SECRETS, Tools
from sandbox.faults import Fault
from sandbox.github.model import Deployment
from sandbox.sandbox import REPOSITORY, Sandbox, free_ports
from tests.chaos.network import CABLES, Network, network
from webhook.store.embedded import EmbeddedPostgres
from webhook.store.schema import migrate

Outage = Literal["store", "network", "stop"]
OUTAGES: Sequence[Outage] = ("store", "stop", "network")
# Seconds.
TAKEN_OVER_WITHIN = 30.0
SHORTEST, LONGEST = 30.0, 40.0
# Until a machine whose workers are silent counts as gone, and somebody has looked.
GONE_AFTER = 60.0 + 30.0
DEPLOY_YML = """
slack: {{channel: "{channel}"}}
envs:
  - name: host
    handler: command
    serialization: false
    with: {{run: ["sh", "-c", "echo $DEPLOYMENT_ID >> {runs}; sleep 12"]}}
    timeout: 10m
  - name: long
    handler: command
    serialization: false
    with: {{run: ["sh", "-c", "echo $DEPLOYMENT_ID >> {runs}; sleep 150"]}}
    timeout: 10m
"""
TOOLS = {"qa": "drone", "canary": "spinnaker", "edge": "endpoint", "docs": "woodpecker"}
STARTS = {
    "qa": ("GET *builds*", Fault.hang(9.0)),  # before its call
    "canary": ("POST *webhooks*", Fault.hang_after(7.0)),  # after it, before that is recorded
    "edge": ("POST /deploy", Fault.hang_after(7.0)),
    "docs": ("POST *pipelines*", Fault.hang_after(7.0)),
}
ORDER = ["queued", "in_progress", "success"]
LOST = "claim lost, the job is left to others"
GONE = "lost: the machine that ran it is gone"


@dataclass
class Host:
    """One machine with a worker: `number` is that of its network."""

    number: int
    folder: Path
    process: asyncio.subprocess.Process

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def machine_id(self) -> str:
        return (self.folder / "data" / "machine_id").read_text().strip()


@dataclass
class HostsStorm:
    outages: Sequence[Outage]
    seed: int
    lasts: float | None
    gone: bool
    folder: Path
    sandbox: Sandbox = field(default_factory=Sandbox)
    hosts: list[Host] = field(default_factory=list)
    takeovers: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    ended_as_lost: set[int] = field(default_factory=set)
    store: str = ""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.sandbox.github.rate_limits.per_hour = 1_000_000
        self.tools = Tools(self.sandbox, TOOLS | {"review": "github-actions"}, takes=0.6)

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    async def run(self) -> str:
        """What the network was made of."""
        server = EmbeddedPostgres(self.folder / "store")
        self.store = server.start()
        try:
            migrate(self.store)
            socket = f"{self.folder}/store/postgres/.s.PGSQL.5432"
            async with self.sandbox, self.tools:
                self.tools.build("main")
                ports = [int(url.rsplit(":", 1)[1].split("/")[0]) for url in self._urls()]
                async with network(socket, ports, 2) as net, self._relay(net):
                    for number, outage in enumerate(self.outages):
                        await self._round(net, number % 2, outage)
                    if self.gone:
                        await self._machine_is_gone(net)
                    await self._settle()
                    self._check()
                    return net.kind
        finally:
            server.stop()

    def _urls(self) -> list[str]:
        servers = [self.sandbox.github, self.sandbox.slack, *self.tools.servers.values()]
        return list(dict.fromkeys(server.url for server in servers))

    @contextlib.asynccontextmanager
    async def _relay(self, net: Network) -> AsyncIterator[None]:
        [port] = free_ports(1)
        config = self.folder / "deploy.yml"
        environ = self.sandbox.environ(self.folder / "web", config, port) | SECRETS
        environ["GITPLOY_SECRET_KEY"] = "a-key-that-all-hosts-share-with-each-other"
        deploy_yml = DEPLOY_YML.format(channel=self.sandbox.deploys.id, runs=self.runs)
        config.write_text(net.others(deploy_yml + self.tools.deploy_yml("5m")))
        web = await self._start(
            [], "web", environ | {"GITPLOY_STORE_SOURCE": self.store}, self.folder / "web"
        )
        try:
            for number in range(2):
                self.hosts.append(await self._host(net, number, environ))
            await self._ready(port)
            yield
        finally:
            for host in self.hosts:
                with contextlib.suppress(ProcessLookupError):
                    host.process.send_signal(signal.SIGCONT)
                    host.process.terminate()
            web.terminate()
            await asyncio.gather(web.wait(), *(host.process.wait() for host in self.hosts))

    async def _host(self, net: Network, number: int, environ: Mapping[str, str]) -> Host:
        folder = self.folder / f"host-{number}"
        address, port = net.store(number)
        own = {name: net.others(value) for name, value in environ.items()} | {
            "GITPLOY_DATA_DIR": str(folder / "data"),
            "GITPLOY_STORE_SOURCE": f"postgresql://postgres@{address}:{port}/postgres",
            "GITPLOY_SERVER_HOST": environ["GITPLOY_SERVER_HOST"],
        }
        process = await self._start(net.prefix(number), "worker", own, folder)
        return Host(number, folder, process)

    async def _start(
        self, prefix: Sequence[str], command: str, environ: Mapping[str, str], folder: Path
    ) -> asyncio.subprocess.Process:
        folder.mkdir(exist_ok=True)
        with (folder / "log").open("wb") as log:
            return await asyncio.create_subprocess_exec(
                *(*prefix, sys.executable, "-m", "webhook", command),
                env={**os.environ, **environ},
                stdout=log,
                stderr=log,
            )

    async def _ready(self, port: int) -> None:
        """Web answers, and both workers are there."""
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while len(self._rows("select from workers")) < len(self.hosts):
                await asyncio.sleep(0.2)
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{port}/workz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.2)

    def _rows(self, query: str) -> list[dict[str, object]]:
        with psycopg.connect(self.store, row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()

    async def _deploy(self, environment: str) -> Deployment:
        return await self.sandbox.github.create_deployment(
            REPOSITORY, environment=environment, required_contexts=[]
        )

    async def _round(self, net: Network, victim: int, outage: Outage) -> None:
        lost, other = self.hosts[victim], self.hosts[1 - victim]
        lasts = self.lasts or self.random.uniform(SHORTEST, LONGEST)
        said = lost.log.count(LOST)
        made = await self._under_way_at(lost, other)
        began = time.monotonic()
        self._break(net, lost, outage)
        other.process.send_signal(signal.SIGCONT)
        followed = [one for one in made if one.environment in TOOLS]
        await self._taken_over(followed, began, f"{outage} of host {victim}")
        await asyncio.sleep(max(0.0, began + lasts - time.monotonic()))
        self._mend(net, lost)
        for one in made:
            await self._final(one, 40)
        await self._says(lost, said, f"{outage} of host {victim}")

    async def _under_way_at(self, one: Host, other: Host) -> list[Deployment]:
        """So that all is its own, the other host is stopped meanwhile: it has nothing to do."""
        await self._settle()
        other.process.send_signal(signal.SIGSTOP)
        servers = self.tools.servers
        waiting = []
        for name, (match, fault) in STARTS.items():
            faults = servers[TOOLS[name]].faults
            waiting.append((faults, len(faults.fired)))
            faults.add(match, fault)
        self.sandbox.github.faults.add("POST *statuses", Fault.hang_after(7.0))
        self.sandbox.slack.faults.add("POST /chat.postMessage", Fault.hang_after(7.0))
        ran = self.runs.read_text().count("\n") if self.runs.exists() else 0
        made = [await self._deploy(name) for name in ("host", *TOOLS, "host")]
        async with asyncio.timeout(20):
            while any(len(faults.fired) == before for faults, before in waiting) or (
                not self.runs.exists() or self.runs.read_text().count("\n") < ran + 2
            ):
                await asyncio.sleep(0.05)
        # A host that was not stopped in time has some of it.
        claims = (
            "select from schedule join workers on claimed_by = workers.id"
            f" where workers.machine_id = '{other.machine_id}'"
        )
        if self._rows(claims):
            self.faults.append(f"host {other.number} took part of what was host {one.number}'s")
        return made

    def _break(self, net: Network, host: Host, outage: Outage) -> None:
        if outage == "stop":
            host.process.send_signal(signal.SIGSTOP)
        else:
            net.cut(host.number, ["store"] if outage == "store" else CABLES)

    def _mend(self, net: Network, host: Host) -> None:
        net.mend(host.number)
        host.process.send_signal(signal.SIGCONT)

    async def _taken_over(self, made: Sequence[Deployment], began: float, what: str) -> None:
        for one in made:
            if not await self._final(one, began + TAKEN_OVER_WITHIN - time.monotonic()):
                self.faults.append(f"{what}: {one.environment} was not taken over in time")
        self.takeovers.append(time.monotonic() - began)

    async def _final(self, deployment: Deployment, within: float) -> bool:
        try:
            await self.sandbox.github.wait_for(
                deployment.id, "success", "failure", "error", within=max(within, 0.1)
            )
        except (TimeoutError, AssertionError):
            return False
        return True

    async def _says(self, host: Host, before: int, what: str) -> None:
        deadline = time.monotonic() + 20
        while host.log.count(LOST) == before:
            if time.monotonic() > deadline:
                self.faults.append(f"{what}: it did not say that it had lost its claims")
                return
            await asyncio.sleep(0.2)

    async def _machine_is_gone(self, net: Network) -> None:
        """For so long that what it ran is ended, in words; the command itself runs on there."""
        lost, other = self.hosts
        await self._settle()
        other.process.send_signal(signal.SIGSTOP)
        long = await self._deploy("long")
        await self.sandbox.github.wait_for(long.id, "in_progress", within=20)
        await asyncio.sleep(1)  # or what follows would be in the middle of its message
        net.cut(lost.number, CABLES)
        other.process.send_signal(signal.SIGCONT)
        # It must have been running for a while itself before it calls another one gone.
        if not await self._final(long, GONE_AFTER + 60):
            self.faults.append("the deployment of a machine that is gone did not end")
        net.mend(lost.number)
        await asyncio.sleep(20)
        self.ended_as_lost.add(long.id)

    async def _settle(self) -> None:
        deadline = time.monotonic() + 120
        soon = "claimed_by is not null or due_at < now() + interval '20 seconds'"
        while time.monotonic() < deadline:
            await self.sandbox.github.settled()
            if not self._rows(f"select from schedule where {soon}"):
                return
            await asyncio.sleep(0.5)
        left = self._rows("select task, subject, detail, claimed_by from schedule")
        self.faults.append(f"not over in time: {left}")

    def _check(self) -> None:
        github = self.sandbox.github
        ran = Counter(int(line) for line in self.runs.read_text().split())
        messages = Counter(
            (message.metadata or {})["event_payload"]["key"]
            for message in self.sandbox.slack.messages("#deploys")
        )
        for id_, deployment in github.deployments.items():
            states = [state for state in github.states(id_) if state != "inactive"]
            self._check_states(id_, states)
            if deployment.environment not in TOOLS and ran[id_] != 1:
                self.faults.append(f"deployment {id_} ran {ran[id_]} times")
            if messages[f"{id_}:main"] != 1:
                count = messages[f"{id_}:main"]
                self.faults.append(f"Slack has {count} messages of deployment {id_}")
        requested = Counter(d.environment for d in github.deployments.values())
        for name, handler in TOOLS.items():
            if self.tools.started(handler) != requested[name]:
                count = self.tools.started(handler)
                self.faults.append(f"{handler} was started {count} times for {requested[name]}")

    def _check_states(self, id_: int, states: Sequence[str]) -> None:
        if id_ in self.ended_as_lost:
            last = self.sandbox.github.statuses(id_)[-1]
            if states != ["queued", "in_progress", "error"] or GONE not in last.description:
                self.faults.append(f"the lost one has {states}: {last.description}")
        elif states != [state for state in ORDER if state in states] or states[-1] != "success":
            self.faults.append(f"deployment {id_} has the states {states}")

    def logs(self) -> str:
        return "\n".join(f"host {host.number}:\n{host.log[-20_000:]}" for host in self.hosts)


async def run_hosts_storm(
    *, outages: Sequence[Outage], seed: int, lasts: float | None = None, gone: bool = False
) -> tuple[HostsStorm, str]:
    with tempfile.TemporaryDirectory(prefix="relay-hosts-") as folder:
        storm = HostsStorm(outages, seed, lasts, gone, Path(folder))
        kind = await storm.run()
        if storm.faults:
            sys.stderr.write(storm.logs())
        return storm, kind


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--lasts", type=float, help="seconds of each outage; 30 to 40 by default")
    parser.add_argument("--gone", action="store_true", help="and one that lasts minutes")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parsed = parser.parse_args(arguments)
    outages = [OUTAGES[number % len(OUTAGES)] for number in range(parsed.rounds)]
    began = time.monotonic()
    storm, kind = asyncio.run(
        run_hosts_storm(outages=outages, seed=parsed.seed, lasts=parsed.lasts, gone=parsed.gone)
    )
    sys.stdout.writelines(f"{fault}\n" for fault in storm.faults)
    made = len(storm.sandbox.github.deployments)
    sys.stdout.write(
        f"{len(outages)} outages of a host, {made} deployments, seed {parsed.seed},"
        f" all taken over after {max(storm.takeovers):.0f} s at most"
        f"; {kind}, {time.monotonic() - began:.0f} s\n"
    )
    return 1 if storm.faults else 0


if __name__ == "__main__":
    sys.exit(main())

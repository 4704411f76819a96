"""Deployments while web, workers and PostgreSQL are killed, GitHub and Slack fail 30% of all calls,
and deliveries are lost, doubled, delayed and days late.

    script/storm --deployments 10000 --kills 500 --seed 7

Afterwards: each deployment has one final status, and its statuses are in order; each ran once,
except those that the relay learned of so late that none may run; each has one message. What GitHub
and Slack recorded is counted, and what the commands themselves wrote down.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from sandbox.github.model import Deployment, Status
from sandbox.slack.model import Channel, Message
from tests.chaos.faults import Failing
from tests.chaos.recorded import FINAL, Expected, all_that_is_wrong
from tests.chaos.storm import Storm
from tests.chaos.transit import UnreliableTransit

# GitHub's limits are those of an installation, Slack's of a channel.
REPOSITORIES = [f"acme{number}/site" for number in range(8)]
CHANNELS = 40
ENVIRONMENT = """
  - name: "{name}"
    handler: command
    serialization: false
    with: {{run: ["sh", "-c", "echo $DEPLOYMENT_ID >> {runs}; sleep 0.$(($DEPLOYMENT_ID % 9))"]}}
    timeout: 30m
    slack: {{channel: "{channel}"}}
"""
FAILING = 0.3
KILLED = ["postgres", "web", "web", "worker", "worker", "worker"]
# Shares of all deployments: to an environment that has others, known late, and so late that none
# may run.
SHARED = 0.08
LATE = 0.05
TOO_LATE = 0.05
FOLLOWED = {"receive", "advance", "send_statuses", "notify"}
# Deliveries that have arrived are forgotten after so long, or the stand-in would grow.
LISTED_FOR = timedelta(minutes=17)


@dataclass
class MainStorm(Storm):
    at_once: int = 150
    lost: float = 0.1
    fates: tuple[str, ...] = ("swallowed", "timed out")
    expected: dict[int, Expected] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    memory: list[float] = field(default_factory=list)
    created_in: float = 0
    settled_in: float = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        github, slack = self.sandbox.github, self.sandbox.slack
        github.rate_limits.per_hour = 10_000_000
        github.auth.token_life = timedelta(minutes=10)
        for name in REPOSITORIES:
            github.add_installation(name.partition("/")[0], [name])
        names = [f"channel-{number}" for number in range(CHANNELS)]
        self.channels = {name: slack.add_channel(name) for name in names}
        self.transit = UnreliableTransit(github, self.seed + 1, self.lost, self.fates)
        github.webhooks.transit = self.transit
        self.failing = {"GitHub": Failing(github), "Slack": Failing(slack)}
        github.on_status.append(self._status_created)
        slack.on_change.append(_forget_earlier_versions)

    def _status_created(self, deployment: Deployment, status: Status) -> None:
        self.transit.missing.discard(deployment.id)
        if status.state in FINAL:
            self.open.discard(deployment.id)

    async def run(self) -> list[str]:
        async with self.sandbox, self._services() as up:
            for number, failing in enumerate(self.failing.values()):
                failing.begin(FAILING, self.seed + 2 + number)
            began = time.monotonic()
            counting = asyncio.create_task(self._count())
            killing = asyncio.create_task(self._kill(up))
            await self._deploy_all()
            await killing
            self.created_in = time.monotonic() - began
            faults = await self._settle_all(up)
            self.settled_in = time.monotonic() - began - self.created_in
            counting.cancel()
            for failing in self.failing.values():
                failing.end()
            await self.transit.close()
            self._count_once()
            return faults or self._faults()

    def _deploy_yml(self) -> str:
        text = f'slack: {{channel: "{self.sandbox.deploys.id}"}}\nenvs:\n'
        for number, channel in enumerate(self.channels.values()):
            for name in (f"env-{number}/*", f"shared-{number}"):
                text += ENVIRONMENT.format(name=name, runs=self.runs, channel=channel.id)
        return text

    # -- what is asked for --------------------------------------------------------------------

    async def _deploy_all(self) -> None:
        for number in range(self.deployments):
            await self._request_one(number)
            await asyncio.sleep(self.random.uniform(0, 2 * self.pause))
            while len(self.open - self.transit.missing) >= self.at_once:
                await asyncio.sleep(0.1)

    async def _request_one(self, number: int) -> None:
        roll, age = self.random.random(), timedelta(0)
        name, expected = f"env-{number % CHANNELS}/{number}", Expected.RUNS
        if roll < SHARED:
            name, expected = f"shared-{number % CHANNELS}", Expected.EITHER
        elif roll < SHARED + LATE:
            age = timedelta(minutes=self.random.uniform(3, 40))
        elif roll < SHARED + LATE + TOO_LATE:
            age = timedelta(minutes=self.random.uniform(65, 3 * 24 * 60))
            expected = Expected.NEVER
        repository = REPOSITORIES[number % len(REPOSITORIES)]
        deployment = await self.sandbox.github.create_deployment(
            repository,
            environment=name,
            required_contexts=[],
            at=datetime.now(UTC) - age if age else None,
        )
        self.expected[deployment.id] = expected
        self.open.add(deployment.id)

    # -- what goes wrong ----------------------------------------------------------------------

    async def _kill(self, up: psutil.Process) -> None:
        """Spread over all deployments; the seed says whom."""
        chance = random.Random(self.seed)
        kinds = (KILLED * self.kills)[: self.kills]
        for number, name in enumerate(chance.sample(kinds, len(kinds))):
            due = (number + chance.random()) * self.deployments / self.kills
            while len(self.expected) < due:
                await asyncio.sleep(0.05)
            while not self._kill_one(up, name):
                await asyncio.sleep(0.1)

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._count_once()

    def _count_once(self) -> None:
        for failing in self.failing.values():
            failing.count()
        self.memory.append(psutil.Process().memory_info().rss / 2**20)
        before = datetime.now(UTC) - LISTED_FOR
        deliveries = self.sandbox.github.deliveries
        arrived = [one for one in deliveries if one.status_code == 202]
        if arrived and arrived[0].delivered_at < before:
            kept = [one for one in deliveries if one.status_code != 202]
            kept += [one for one in arrived if one.delivered_at >= before]
            deliveries[:] = sorted(kept, key=lambda one: one.delivered_at)

    # -- the end ------------------------------------------------------------------------------

    async def _settle_all(self, up: psutil.Process) -> list[str]:
        """Wait until nothing is left to do. A worker that starts compares GitHub's deliveries with
        those that have arrived."""
        began = time.monotonic()
        restarted = 0.0
        while time.monotonic() < began + 900:
            await asyncio.sleep(1)
            await self.sandbox.github.settled()
            if self.hurried:
                self._end_old_claims()
            if not self.open and not self._jobs():
                return []
            if self.hurried and self.lost and time.monotonic() > restarted + 20:
                restarted = time.monotonic()
                self._kill_one(up, "worker")
        left = sorted(self.open)[:20]
        return [f"not over in time: deployments {left}, jobs {self._jobs()[:20]}"]

    def _jobs(self) -> list[tuple[object, ...]]:
        return [one for one in super()._jobs() if len(one) == 1 or one[0] in FOLLOWED]

    def _faults(self) -> list[str]:
        return list(all_that_is_wrong(self.sandbox, self.expected, self.runs))

    # -- what is shown ------------------------------------------------------------------------

    def figures(self) -> Iterator[str]:
        ages = Counter(one.value for one in self.expected.values())
        ended = Counter(
            status.state
            for deployment in self.sandbox.github.deployments.values()
            for status in deployment.statuses
            if status.state in FINAL
        )
        yield f"expected: {_listed(ages)}; final statuses: {_listed(ended)}"
        yield f"killed: {_listed(self.killed)}"
        for name, failing in self.failing.items():
            share = failing.counts.total() / max(1, failing.calls)
            yield f"{name}: {failing.calls} calls, {share:.0%} failed: {_listed(failing.counts)}"
        yield f"deliveries: {_listed(self.transit.counts)}"
        third = max(1, len(self.memory) // 3)
        memory = ", ".join(f"{one:.0f}" for one in [*self.memory[::third], self.memory[-1]])
        yield f"memory of the stand-ins, in MB, from begin to end: {memory}"
        yield f"{self.created_in:.0f} s, and {self.settled_in:.0f} s until all was over"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or "none"


def _forget_earlier_versions(_: Channel, message: Message) -> None:
    del message.versions[:-1]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/storm", description=__doc__)
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two, on average")
    parser.add_argument("--at-once", type=int, default=150, help="no more are under way")
    parser.add_argument("--lost", type=float, default=0.1, help="share of lost deliveries")
    parser.add_argument("--hurried", action="store_true", help="wait for no dead worker's claims")
    parsed = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="relay-storm-") as folder:
        storm = MainStorm(with_tools=False, folder=Path(folder), **vars(parsed))
        faults = asyncio.run(storm.run())
        if faults:
            sys.stderr.write((Path(folder) / "log").read_text()[-20_000:])
    sys.stdout.writelines(f"{line}\n" for line in (*storm.figures(), *faults))
    sys.stdout.write(
        f"{len(storm.expected)} deployments, seed {storm.seed}, {storm.killed.total()} killed:"
        f" {len(faults)} faults, {storm.created_in + storm.settled_in:.0f} s\n"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

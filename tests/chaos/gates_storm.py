"""Deployments to few environments while locks come and go, people approve, and everything is killed
at random.

    script/storm --gates --deployments 200 --seed 7

Afterwards: of an environment never two ran at once, nothing started while it was locked or without
somebody else's approval, nothing ran twice, what was superseded did not run, and the newest of each
environment has run.
"""

import argparse
import asyncio
import contextlib
import io
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import psycopg
from psycopg_pool import PoolTimeout

from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.slack.server import Slack
from tests.chaos.storm import FINAL, Storm
from webhook import logs, startup
from webhook.engine.locks import By, NothingLocked, lock_scope, unlock_scope
from webhook.engine.services import Services
from webhook.startup import Setup
from webhook.store import schedule
from webhook.store.database import Async
from webhook.store.locks import NewLock
from webhook.timing import utc_now
from webhook.worker import open_services

ENVIRONMENT = """
  - name: "{name}"
    handler: command
    with:
      run:
        - sh
        - -c
        - |
          echo "$DEPLOYMENT_ID start $(date +%s.%N)" >> {runs}
          sleep 0.$(($DEPLOYMENT_ID % 7 + 3))
          echo "$DEPLOYMENT_ID end $(date +%s.%N)" >> {runs}
    timeout: 5m
    slack: {{channel: "{channel}"}}
"""
# Of the last one the repository's own file says who has to approve.
TIGHTENED = "    repository_file: tighten\n"
OWN_FILE = "envs: [{name: reviewed, review: {enabled: true, reviewers: [octocat, hubot]}}]\n"
NAMES = ["env-0", "env-1", "reviewed"]
# As people type them, and tools.
SPELLINGS: list[Callable[[str], str]] = [str.lower, str.upper, str.title]
FOLLOWED = {"receive", "advance", "send_statuses", "notify"}


@dataclass
class Locked:
    """`since`: it was committed. `until`: it was about to be ended; None: it was not."""

    environment: str
    since: float
    until: float | None = None

    def held(self, environment: str, begin: float, end: float) -> bool:
        """All that time."""
        here = self.environment in ("*", environment.lower())
        return here and self.since < begin and (self.until is None or end < self.until)


@dataclass
class Ran:
    deployment: int
    start: float
    end: float


def interactive_sandbox() -> Sandbox:
    scopes = ("chat:write", "channels:history", "commands", "users:read", "users:read.email")
    sandbox = Sandbox(slack=Slack(scopes=scopes), interactive=True)
    sandbox.github.default_role = "none"
    for login in ("octocat", "hubot"):
        sandbox.github.add_collaborator(REPOSITORY, login, "write")
    return sandbox


@dataclass
class GatesStorm(Storm):
    sandbox: Sandbox = field(default_factory=interactive_sandbox)
    locks: list[Locked] = field(default_factory=list)
    all_deployed: bool = False
    over: ClassVar[frozenset[str]] = frozenset(FINAL) | {"inactive"}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sandbox.github.repository(REPOSITORY).push("Own", files={"deploy.yml": OWN_FILE})
        self.channels["reviewed"] = self.sandbox.slack.add_channel("reviewed")
        # Who asks for everything, and may not approve it; and who may.
        self.ada, self.bob = (self.sandbox.slack.add_user(name) for name in ("ada", "bob"))

    def _deploy_yml(self) -> str:
        users = f"slack_users: {{octocat: {self.ada.id}, hubot: {self.bob.id}}}\n"
        text = f'slack: {{channel: "{self.sandbox.deploys.id}"}}\n{users}envs:\n'
        for name in NAMES:
            channel = self.channels[name].id
            text += ENVIRONMENT.format(name=name, runs=self.runs, channel=channel)
        return text + TIGHTENED

    async def run(self) -> list[str]:
        approving = asyncio.create_task(self._approve())
        try:
            return await super().run()
        finally:
            approving.cancel()

    async def _deploy_all(self) -> None:
        people = asyncio.create_task(self._lock_and_unlock())
        await super()._deploy_all()
        self.all_deployed = True
        await people

    async def _request_one(self, number: int) -> None:
        spelled = self.random.choice(SPELLINGS)
        name = spelled(NAMES[number % len(NAMES)])
        await self.sandbox.github.create_deployment(
            REPOSITORY, environment=name, required_contexts=[]
        )

    # -- approvals ----------------------------------------------------------------------------

    async def _approve(self) -> None:
        """Whoever presses in vain, as web is away, presses again."""
        chance, pressed = random.Random(self.seed + 2), dict[str, float]()
        while True:
            await asyncio.sleep(chance.uniform(0.5, 2) * self.pause)
            for message in self.sandbox.slack.messages("reviewed"):
                offered = '"action_id": "approve"' in json.dumps(message.blocks)
                if offered and time.monotonic() > pressed.get(message.ts, 0) + 2:
                    pressed[message.ts] = time.monotonic()
                    who = chance.choice([self.ada, self.bob])
                    await self.sandbox.slack.press(message, "approve", who)

    # -- locks --------------------------------------------------------------------------------

    async def _lock_and_unlock(self) -> None:
        chance = random.Random(self.seed + 1)
        while not self.all_deployed:
            await asyncio.sleep(chance.uniform(0, 3) * self.pause)
            locked = await self._lock(chance.choice([*NAMES, "*"]))
            await asyncio.sleep(chance.uniform(2, 15) * self.pause)
            await self._unlock(locked)

    async def _lock(self, environment: str) -> Locked:
        new = NewLock(
            repo_id=0,
            repo="",
            environment=environment,
            owner="octocat",
            reason="an incident",
            lets=(),
            source="command line",
            created_at=utc_now(),
            expires_at=None,
        )
        await self._insist(lambda services, it: lock_scope(services, it, new))
        locked = Locked(environment, time.time())
        self.locks.append(locked)
        return locked

    async def _unlock(self, locked: Locked) -> None:
        scope, by = (0, locked.environment), By(person="octocat", source="command line")
        locked.until = time.time()
        with contextlib.suppress(NothingLocked):  # an earlier attempt got through
            await self._insist(lambda services, it: unlock_scope(services, it, scope, by))

    async def _insist(self, act: Callable[[Services, Async], Awaitable[object]]) -> None:
        """As the command line does it; once more until PostgreSQL is there."""
        while True:
            try:
                async with open_services(self.setup, self.store, actions={}) as services:
                    pool = services.pool
                    async with pool.connection() as connection, connection.transaction():
                        await act(services, connection)
                        await schedule.wake_workers(connection)
            except (psycopg.OperationalError, PoolTimeout):
                await asyncio.sleep(0.1)
            else:
                return

    @cached_property
    def setup(self) -> Setup:
        setup = startup.set_up({"PATH": os.environ["PATH"], **self.environ})
        logs.set_up(setup.secrets, io.StringIO())
        return setup

    # -- what does not hold -------------------------------------------------------------------

    def _jobs(self) -> list[tuple[object, ...]]:
        """Not reminders of locks, nor the next check of what was superseded since."""
        jobs = super()._jobs()
        ended = {id_ for id_, states in self._states() if self.over & states}
        return [
            one
            for one in jobs
            if len(one) == 1
            or (one[0] in FOLLOWED and not (one[0] == "advance" and one[1] in ended))
        ]

    def _states(self) -> Iterator[tuple[int, set[str]]]:
        for id_ in self.sandbox.github.deployments:
            yield id_, set(self.sandbox.github.states(id_))

    def _faults(self) -> list[str]:
        ran = self._ran()
        checks: list[Callable[[list[Ran]], Iterator[str]]] = [
            self._unlike_their_status,
            self._beside_each_other,
            self._past_a_lock,
            self._without_approval,
            self._forgotten,
        ]
        return [fault for check in checks for fault in check(ran)]

    def _ran(self) -> list[Ran]:
        """In the order of their starts."""
        found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for line in self.runs.read_text().splitlines():
            id_, what, at = line.split()
            found[int(id_)][what].append(float(at))
        return sorted(
            (
                Ran(id_, start, end)
                for id_, times in found.items()
                for start, end in zip(times["start"], times["end"], strict=True)
            ),
            key=lambda one: one.start,
        )

    def _unlike_their_status(self, ran: list[Ran]) -> Iterator[str]:
        times = Counter(one.deployment for one in ran)
        for id_ in self.sandbox.github.deployments:
            states = self.sandbox.github.states(id_)
            expected = 1 if "success" in states else 0
            if times[id_] != expected or {"failure", "error"} & set(states):
                yield f"deployment {id_} ran {times[id_]} times, and has the states {states}"

    def _beside_each_other(self, ran: list[Ran]) -> Iterator[str]:
        last: dict[str, Ran] = {}
        for one in ran:
            environment = self._environment(one.deployment)
            before = last.get(environment)
            if before is not None and one.start < before.end:
                yield f"{one.deployment} ran beside {before.deployment} in {environment}"
            last[environment] = one

    def _past_a_lock(self, ran: list[Ran]) -> Iterator[str]:
        """Gates are asked after the time that is recorded as its start, and before it runs."""
        recorded = self._recorded_starts()
        for one in ran:
            environment = self._environment(one.deployment)
            at = recorded[one.deployment].timestamp()
            for lock in self.locks:
                if lock.held(environment, at, one.start):
                    was = f"locked since {lock.since:.3f} until {lock.until or 0:.3f}"
                    times = f"started at {at:.3f}, ran from {one.start:.3f}"
                    yield f"{one.deployment} in {environment} {times}; {was}"

    def _without_approval(self, ran: list[Ran]) -> Iterator[str]:
        github = self.sandbox.github
        with psycopg.connect(self.store) as connection:
            query = "select deployment_id, sha, login, at from approvals where approved"
            approvals = connection.execute(query).fetchall()
        if own := [one for one in approvals if one[2] != "hubot"]:
            yield f"these approvals were their asker's own: {own}"
        for one in ran:
            id_, sha = one.deployment, github.deployments[one.deployment].sha
            given = [at for to, of, _, at in approvals if (to, of) == (id_, sha)]
            in_time = any(at.timestamp() < one.start for at in given)
            if self._environment(id_) == "reviewed" and not in_time:
                yield f"{id_} started without an approval"

    def _forgotten(self, ran: list[Ran]) -> Iterator[str]:
        """The newest of an environment is superseded by nothing."""
        ids = {one.deployment for one in ran}
        newest = {self._environment(id_): id_ for id_ in sorted(self.sandbox.github.deployments)}
        for environment, id_ in newest.items():
            if id_ not in ids:
                yield f"the newest of {environment}, {id_}, did not run"

    def _environment(self, deployment_id: int) -> str:
        return self.sandbox.github.deployments[deployment_id].environment.lower()

    def _recorded_starts(self) -> dict[int, datetime]:
        with psycopg.connect(self.store) as connection:
            rows = connection.execute(
                "select id, started_at from deployments where started_at is not null"
            ).fetchall()
        return {id_: at.astimezone(UTC) for id_, at in rows}


async def run_gates_storm(
    *, deployments: int, kills: int, seed: int, pause: float, hurried: bool = False
) -> tuple[list[str], Counter[str], int]:
    """Faults, what was killed, and how many locks there were."""
    with tempfile.TemporaryDirectory(prefix="relay-storm-") as folder:
        storm = GatesStorm(
            deployments=deployments,
            kills=kills,
            seed=seed,
            pause=pause,
            with_tools=False,
            hurried=hurried,
            folder=Path(folder),
        )
        faults = await storm.run()
        if faults:
            sys.stderr.write((Path(folder) / "log").read_text()[-20_000:])
        return faults, storm.killed, len(storm.locks)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two, on average")
    parser.add_argument("--hurried", action="store_true", help="wait for no dead worker's claims")
    parsed = parser.parse_args(arguments)
    began = time.monotonic()
    faults, killed, locks = asyncio.run(run_gates_storm(**vars(parsed)))
    if locks == 0:
        faults.append("nothing was locked")
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    sys.stdout.write(
        f"{parsed.deployments} deployments, {locks} locks, seed {parsed.seed},"
        f" killed {dict(killed)}, {time.monotonic() - began:.0f} s\n"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

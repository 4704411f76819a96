"""Deployments run while a backup is made, more run after it, the store is destroyed and restored.

    script/storm --restore --deployments 120 --seed 7

Afterwards: each ran once and has one final status and one message, whether it ran before the
backup, between it and the end of the store, or after the restore; and what nobody could know to
have run waited until it was released.
"""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sandbox.sandbox import REPOSITORY, free_ports
from tests.chaos.recorded import FINAL, Expected, all_that_is_wrong
from tests.chaos.storm import Storm

# Every few are for one of these, which are locked at the backup: one until after it, the other
# until after the restore.
OPENED, CLOSED = "opened", "closed"
LOCKED = """
  - {{name: {name}, handler: command, serialization: false, timeout: 5m,
     with: {{run: [sh, -c, "echo $DEPLOYMENT_ID >> {runs}"]}}, slack: {{channel: "{channel}"}}}}
"""
SETTLES_WITHIN = 90


@dataclass
class RestoreStorm(Storm):
    requested: int = 0
    held: int = 0
    # Asked for after the backup had begun, and before the store was destroyed. What was accepted
    # and had not begun then ends in words: nobody can know that it has not run.
    between: set[int] = field(default_factory=set)

    @property
    def backup(self) -> Path:
        return self.folder / "store.backup"

    def _deploy_yml(self) -> str:
        text = super()._deploy_yml()
        for name in (OPENED, CLOSED):
            text += LOCKED.format(name=name, runs=self.runs, channel=self.sandbox.deploys.id)
        return text

    async def run(self) -> list[str]:
        async with self.sandbox, self.tools:
            [port] = free_ports(1)
            config = self.folder / "deploy.yml"
            config.write_text(self._deploy_yml())
            self.environ = self._environ(config, port)
            self._unreliable()
            up = await self._up(port)
            try:
                await self._until_destroyed(up)
                await self._command("restore", str(self.backup))
                up = await self._up(port)
                for name in (OPENED, CLOSED):  # the backup has both locks
                    await self._command("unlock", REPOSITORY, name)
                await self._some()
                return await self._released() or [*self._wrong()]
            finally:
                with contextlib.suppress(ProcessLookupError):
                    up.terminate()
                await up.wait()

    async def _until_destroyed(self, up: "asyncio.subprocess.Process") -> None:
        for name in (OPENED, CLOSED):
            await self._command("lock", REPOSITORY, name, "--reason", "migration")
        await self._some()
        before = {*self.sandbox.github.deployments}
        beside = asyncio.create_task(self._some())
        await self._command("backup", str(self.backup))
        await self._command("unlock", REPOSITORY, OPENED)
        await beside
        await self._some()
        await self._destroy(up)
        self.between = {*self.sandbox.github.deployments} - before

    async def _up(self, port: int) -> "asyncio.subprocess.Process":
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "webhook", "up", "--workers", "2"),
                env={**os.environ, **self.environ},
                stdout=log,
                stderr=log,
            )
        await self._ready(port)
        return process

    async def _command(self, *arguments: str, required: bool = True) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "webhook", *arguments),
            env={**os.environ, **self.environ},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        shown, errors = await process.communicate()
        assert process.returncode == 0 or not required, errors.decode()[-2000:]
        return shown.decode()

    async def _some(self) -> None:
        """A quarter of all."""
        for _ in range(self.deployments // 4):
            await self._request_one(self.requested)
            self.requested += 1
            await asyncio.sleep(self.random.uniform(0, 2 * self.pause))

    async def _request_one(self, number: int) -> None:
        if number % 6 > 1:
            await super()._request_one(number)
            return
        name = (OPENED, CLOSED)[number % 2]
        await self.sandbox.github.create_deployment(
            REPOSITORY, environment=name, required_contexts=[]
        )

    async def _destroy(self, up: "asyncio.subprocess.Process") -> None:
        """The relay and PostgreSQL are killed, and the store's files are gone. Commands run on."""
        postmaster = self.folder / "data" / "postgres" / "postmaster.pid"
        store = psutil.Process(int(postmaster.read_text().splitlines()[0]))
        relay = psutil.Process(up.pid)
        ours = [one for one in relay.children(recursive=True) if one.name().startswith("relay-")]
        victims = [relay, *ours, store, *store.children()]
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        await up.wait()
        await asyncio.to_thread(psutil.wait_procs, victims, 10)
        shutil.rmtree(self.folder / "data" / "postgres")

    async def _released(self) -> list[str]:
        """Whatever waits is released, until nothing is left."""
        self.sandbox.github.faults.clear()
        self.sandbox.slack.faults.clear()
        github, began = self.sandbox.github, time.monotonic()
        while time.monotonic() < began + SETTLES_WITHIN:
            await asyncio.sleep(1)
            if self.hurried:
                self._end_old_claims()
            released = await self._command("restore", "release", "--all", required=False)
            self.held += len(released.splitlines())
            await github.settled()
            open_ones = [id_ for id_ in github.deployments if not FINAL & {*github.states(id_)}]
            if not open_ones and not self._undone():
                return []
        return [f"not over in time: deployments {open_ones}, jobs {self._undone()}"]

    def _undone(self) -> list[tuple[object, ...]]:
        """Not reminders of locks, nor what is done again and again."""
        followed = ("receive", "advance", "send_statuses", "notify")
        return [one for one in self._jobs() if len(one) == 1 or one[0] in followed]

    def _wrong(self) -> list[str]:
        expected = {
            id_: Expected.EITHER if id_ in self.between else Expected.RUNS
            for id_ in self.sandbox.github.deployments
        }
        wrong = [*all_that_is_wrong(self.sandbox, expected, self.runs)]
        said = [
            one.description
            for id_ in expected
            for one in self.sandbox.github.statuses(id_)
            if "restore release" in str(one.description)
        ]
        if not self.held or not said:
            wrong.append(f"{self.held} were held, of which GitHub heard {len(said)} times")
        return wrong


async def run_restore_storm(
    *, deployments: int, seed: int, pause: float, hurried: bool
) -> tuple[list[str], int]:
    """What is wrong, and how many were held."""
    with tempfile.TemporaryDirectory(prefix="relay-storm-") as name:
        folder = Path(name)
        storm = RestoreStorm(
            deployments=deployments,
            kills=0,
            seed=seed,
            pause=pause,
            with_tools=False,
            hurried=hurried,
            folder=folder,
        )
        wrong = await storm.run()
        if wrong:
            sys.stderr.write((folder / "log").read_text()[-60_000:])
        return wrong, storm.held


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two, on average")
    parser.add_argument("--hurried", action="store_true", help="wait for no dead worker's claims")
    parsed = parser.parse_args(arguments)
    began = time.monotonic()
    wrong, held = asyncio.run(run_restore_storm(**vars(parsed)))
    sys.stdout.writelines(f"{one}\n" for one in wrong)
    sys.stdout.write(
        f"{parsed.deployments} deployments, {held} held until released, {len(wrong)} faults,"
        f" seed {parsed.seed}, {time.monotonic() - began:.0f} s\n"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

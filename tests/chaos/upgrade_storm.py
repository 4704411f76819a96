"""The code of the last release writes a store under load; this code migrates it and goes on, beside
the old processes for a while, then alone.

    script/storm --upgrade --deployments 200 --beside 60 --seed 7

Afterwards: every deployment ran its command or tool exactly once, GitHub has its statuses in order
with one final one, Slack one message of each, every delivery was processed, and no process has met
anything in the store that it did not understand.
"""

import argparse
import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from sandbox.demo.tools import SECRETS
from sandbox.sandbox import free_ports
from tests.chaos.storm import Storm
from webhook.store.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
# What is taken as long as nothing is released: the commit before migration 0002.
UNTAGGED = "9077db06"
BUFFER = 65536
# Seconds after the last request: nothing waits for long here, but a channel of Slack's takes one
# message a second, and those of all tools share one.
SETTLES_WITHIN = 60
SECONDS_A_DEPLOYMENT = 1
PERIODIC = ("recover", "list_deployments")


class NoHistory(Exception):
    """The old code cannot be had here."""


def _git(*arguments: str) -> bytes:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"").decode(errors="replace").strip()
        raise NoHistory(said or str(error)) from error


def old_version() -> str:
    """The last tag before this commit, else the commit that is named above."""
    with contextlib.suppress(NoHistory):
        return _git("describe", "--tags", "--abbrev=0").decode().strip()
    return UNTAGGED


def unpack(version: str, folder: Path) -> None:
    with tarfile.open(fileobj=BytesIO(_git("archive", version))) as archive:
        archive.extractall(folder, filter="data")


@dataclass
class Balancer:
    """The relay's one address: each connection goes to one of the web processes behind it."""

    ports: list[int] = field(default_factory=list)
    chance: random.Random = field(default_factory=random.Random)
    _open: set["asyncio.Task[None]"] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        async with server:
            yield
            for task in self._open:
                task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            port = self.chance.choice(self.ports)
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        writer.close()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(BUFFER):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@dataclass
class Side:
    """The processes of one version."""

    name: str
    code: Path
    port: int
    environ: dict[str, str]
    log: Path
    processes: list["asyncio.subprocess.Process"] = field(default_factory=list)

    async def run(self, *arguments: str) -> "asyncio.subprocess.Process":
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "webhook", *arguments),
                cwd=self.code,
                env={**os.environ, **self.environ, "PORT": str(self.port)},
                stdout=log,
                stderr=log,
            )

    async def migrate(self) -> None:
        code = await (await self.run("migrate")).wait()
        assert code == 0, f"{self.name} code does not migrate: {self.log.read_text()[-2000:]}"

    async def start(self) -> None:
        for command in ("web", "worker", "worker"):
            self.processes.append(await self.run(command))

    async def stop(self) -> list[str]:
        """What did not end by itself, or had ended before."""
        ended = [one for one in self.processes if one.returncode is not None]
        faults = [f"a process of the {self.name} code ended with {one.returncode}" for one in ended]
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self.processes:
            await process.wait()
        self.processes.clear()
        return faults

    def misunderstood(self) -> list[str]:
        """Errors of the store, or of the code that reads it."""
        signs = ("UndefinedColumn", "UndefinedTable", "CheckViolation", "TypeError", "KeyError")
        lines = self.log.read_text().splitlines()
        found = [line for line in lines if any(sign in line for sign in signs)]
        return [f"the {self.name} code: {line[-600:]}" for line in found[:5]]


@dataclass
class UpgradeStorm(Storm):
    version: str = UNTAGGED
    beside: float = 60

    async def run(self) -> list[str]:
        unpack(self.version, self.folder / "old")
        postgres = EmbeddedPostgres(self.folder / "data")
        url = await asyncio.to_thread(postgres.start)
        try:
            return await self._upgrade(url)
        finally:
            await asyncio.to_thread(postgres.stop)

    async def _upgrade(self, url: str) -> list[str]:
        public, *ports = free_ports(3)
        async with self.sandbox, self.tools, self._balanced(public, ports) as balancer:
            config = self.folder / "deploy.yml"
            config.write_text(self._deploy_yml())
            environ = self.sandbox.environ(self.folder / "data", config, public) | SECRETS
            environ["GITPLOY_STORE_SOURCE"] = url
            self.tools.build("main")
            self._unreliable()
            old = Side("old", self.folder / "old", ports[0], environ, self.folder / "log-old")
            new = Side("new", ROOT, ports[1], environ, self.folder / "log")
            redeliverer = asyncio.create_task(self._redeliver())
            try:
                return await self._through(old, new, balancer)
            finally:
                redeliverer.cancel()
                await old.stop()
                await new.stop()

    @contextlib.asynccontextmanager
    async def _balanced(self, public: int, ports: Sequence[int]) -> AsyncIterator[Balancer]:
        balancer = Balancer([ports[0]], random.Random(self.seed))
        async with balancer.serving(public):
            yield balancer

    async def _through(self, old: Side, new: Side, balancer: Balancer) -> list[str]:
        await old.migrate()
        await old.start()
        await self._ready(old.port)
        requested = asyncio.create_task(self._deploy_all())
        await self._requested(self.deployments // 4)
        await new.migrate()
        await self._requested(self.deployments // 3)
        await new.start()
        await self._ready(new.port)
        balancer.ports.append(new.port)
        await asyncio.sleep(self.beside)
        balancer.ports.remove(old.port)
        faults = await old.stop()
        await requested
        for faulty in (self.sandbox.github, self.sandbox.slack, *self.tools.servers.values()):
            faulty.faults.clear()
        return [*faults, *await self._settle(), *old.misunderstood(), *new.misunderstood()] or [
            *self._faults()
        ]

    def _unreliable(self) -> None:
        """Not tools: a start of theirs without a response takes minutes, in any version."""
        super()._unreliable()
        for server in self.tools.servers.values():
            if server is not self.sandbox.github:
                server.faults.clear()

    async def _settle(self) -> list[str]:
        try:
            async with asyncio.timeout(SETTLES_WITHIN + SECONDS_A_DEPLOYMENT * self.deployments):
                return await super()._settle()
        except TimeoutError:
            github = self.sandbox.github
            open_ones = [id_ for id_ in github.deployments if not self.over & {*github.states(id_)}]
            return [f"not over in time: deployments {open_ones}, jobs {self._jobs()}"]

    def _jobs(self) -> list[tuple[object, ...]]:
        """Not what is done again and again."""
        return [one for one in super()._jobs() if one[0] not in PERIODIC]

    async def _requested(self, count: int) -> None:
        while len(self.sandbox.github.deployments) < count:
            await asyncio.sleep(0.05)


async def run_upgrade_storm(
    *, version: str, deployments: int, beside: float, seed: int, pause: float, hurried: bool
) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="relay-storm-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's user passes it
        storm = UpgradeStorm(
            deployments=deployments,
            kills=0,
            seed=seed,
            pause=pause,
            with_tools=True,
            hurried=hurried,
            folder=folder,
            version=version,
            beside=beside,
        )
        faults = await storm.run()
        if faults:
            for log in sorted(folder.glob("log*")):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-20_000:]}")
        return faults


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="version", help="a tag or commit; else the last release")
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--beside", type=float, default=60, help="seconds of both versions")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two, on average")
    parser.add_argument("--hurried", action="store_true", help="wait for no dead worker's claims")
    parsed = parser.parse_args(arguments)
    parsed.version = parsed.version or old_version()
    began = time.monotonic()
    try:
        _git("rev-parse", "--verify", f"{parsed.version}^{{commit}}")
    except NoHistory as error:
        sys.stdout.write(
            f"NOT RUN: the history has no {parsed.version} ({error}); fetch it with its tags, as by"
            " git fetch --unshallow --tags\n"
        )
        return 0
    faults = asyncio.run(run_upgrade_storm(**vars(parsed)))
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    sys.stdout.write(
        f"from {parsed.version}: {parsed.deployments} deployments, seed {parsed.seed},"
        f" {len(faults)} faults, {time.monotonic() - began:.0f} s\n"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

"""The relay in processes of its own, on an embedded PostgreSQL, and what they use.

Units: CPU in seconds, memory in bytes.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp
import psutil

from webhook.store.embedded import EmbeddedPostgres
from webhook.store.schema import migrate

READY_WITHIN = 60
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Relay:
    """`environ` is that of its processes."""

    url: str
    port: int
    folder: Path
    environ: Mapping[str, str]
    _processes: dict[str, list[Process]] = field(
        default_factory=lambda: {"web": [], "worker": []}, repr=False
    )

    @property
    def workers(self) -> list[psutil.Process]:
        return [psutil.Process(process.pid) for process in self._processes["worker"]]

    @property
    def parts(self) -> dict[str, list[psutil.Process]]:
        """Web and PostgreSQL are several processes each."""
        return {
            "web": [p for web in self._processes["web"] for p in tree(psutil.Process(web.pid))],
            "worker": self.workers,
            "postgres": tree(psutil.Process(postmaster(self.folder))),
        }

    async def start(self, name: Literal["web", "worker"]) -> None:
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "webhook", name, "--until-stdin-closes"),
                env={**self.environ, "PGAPPNAME": name},
                stdin=PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[name].append(process)

    async def stop(self, name: Literal["web", "worker"]) -> None:
        """All of them."""
        for process in self._processes[name]:
            with suppress(ProcessLookupError):
                process.terminate()
        while self._processes[name]:
            await self._processes[name].pop().wait()

    async def ready(self) -> None:
        await responds(f"http://127.0.0.1:{self.port}/workz")

    def cpu(self) -> dict[str, float]:
        """Of each part so far; `commands` are the processes that the workers ran."""
        own = [cpu_of(worker.pid) for worker in self.workers]
        parts = self.parts
        return {
            "web": sum(sum(cpu_of(p.pid)) for p in parts["web"]),
            "worker": sum(alone for alone, _ in own),
            "commands": sum(children for _, children in own),
            "postgres": sum(cpu_of(p.pid)[0] for p in parts["postgres"])
            + cpu_of(postmaster(self.folder))[1],
        }

    def rss(self) -> dict[str, int]:
        """Of PostgreSQL, whose processes share most of it, this is PSS."""
        parts = self.parts
        return {
            "web": sum(p.memory_info().rss for p in parts["web"]),
            "worker": sum(p.memory_info().rss for p in parts["worker"]),
            "postgres": pss_of(parts["postgres"]),
        }


@asynccontextmanager
async def relay(
    environ: Mapping[str, str], folder: Path, port: int, *, workers: int
) -> AsyncIterator[Relay]:
    """Web and workers, until the block ends. Their log is in `folder`."""
    postgres = EmbeddedPostgres(folder / "data")
    url = await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(migrate, url)
    everything = {**clean_environ(), **environ, "GITPLOY_STORE_SOURCE": url}
    started = Relay(url, port, folder, everything)
    try:
        await started.start("web")
        for _ in range(workers):
            await started.start("worker")
        await started.ready()
        yield started
    finally:
        await started.stop("worker")
        await started.stop("web")
        await asyncio.to_thread(postgres.stop)


def postmaster(folder: Path) -> int:
    """Its process id."""
    return int((folder / "data/postgres/postmaster.pid").read_text().splitlines()[0])


def clean_environ() -> dict[str, str]:
    """Without the settings of a real relay, and without a proxy to the stand-ins."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GITPLOY_")
        and not name.lower().endswith("_proxy")
        and name != "DATABASE_URL"
    }


async def responds(url: str) -> None:
    """Wait for a 200."""
    async with asyncio.timeout(READY_WITHIN), aiohttp.ClientSession() as session:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.02)


def tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def cpu_of(pid: int) -> tuple[float, float]:
    """Of the process itself, and of its children that have ended.

    Its threads by the scheduler's own clock: the ticks in proc_pid_stat(5) are too coarse for what
    wakes up only now and then.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        threads = [*Path(f"/proc/{pid}/task").glob("*/schedstat")]
        own = sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    except FileNotFoundError:
        return 0, 0
    return own, sum(int(field) / _TICK for field in fields[13:15])


def pss_of(processes: Iterable[psutil.Process]) -> int:
    """Memory, of which what is shared counts in parts. Source: proc_pid_smaps_rollup(5)."""
    total = 0
    for process in processes:
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total

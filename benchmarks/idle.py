"""The relay without work: how soon it is ready, and what it uses.

script/bench --latency --idle [--seconds 20]
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.store_counts import Store
from benchmarks.whole_relay import clean_environ, cpu_of, postmaster, pss_of, responds, tree
from sandbox.sandbox import Sandbox, free_ports

DEPLOY_YML = "envs: [{name: x, handler: command, with: {run: ['true']}}]\n"
MB = 10**6


async def measure(seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name:
        folder = Path(name)
        async with Sandbox() as sandbox:
            async with _up(sandbox, folder) as (_, first):
                pass
            async with _up(sandbox, folder) as (up, again):
                await asyncio.sleep(seconds)
                parts = _parts(up, folder)
                store = Store(f"host={folder / 'data/postgres'} user=postgres dbname=postgres")
                transactions = store.counts()
                before = {name: _cpu(part) for name, part in parts.items()}
                began = time.monotonic()
                await asyncio.sleep(seconds)
                lasted = time.monotonic() - began
                used = {name: _cpu(part) - before[name] for name, part in parts.items()}
                pss = {name: round(pss_of(part) / MB, 1) for name, part in parts.items()}
                made = store.counts().since(transactions).totals
                store.close()
    percent = {name: round(value / lasted * 100, 2) for name, value in used.items()}
    return {
        "ready_s": {"first": round(first, 2), "again": round(again, 2)},
        "pss_mb": {**pss, "all": round(sum(pss.values()), 1)},
        "cpu_percent": {**percent, "all": round(sum(percent.values()), 2)},
        "each_second": {name: round(value / lasted, 2) for name, value in made.items()},
    }


@asynccontextmanager
async def _up(sandbox: Sandbox, folder: Path) -> AsyncIterator[tuple[psutil.Process, float]]:
    """`python -m webhook up`, and the seconds until it took deliveries."""
    [port] = free_ports(1)
    config = folder / "deploy.yml"
    config.write_text(DEPLOY_YML)
    began = time.monotonic()
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "webhook", "up"),
            env={**clean_environ(), **sandbox.environ(folder / "data", config, port)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        await responds(f"http://127.0.0.1:{port}/readyz")
        yield psutil.Process(process.pid), time.monotonic() - began
    finally:
        process.terminate()
        await process.wait()


def _parts(up: psutil.Process, folder: Path) -> dict[str, list[psutil.Process]]:
    postgres = psutil.Process(postmaster(folder))
    served = [p for child in up.children() if child != postgres for p in tree(child)]
    return {"up": [up], "web and worker": served, "postgres": tree(postgres)}


def _cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(cpu_of(process.pid)) for process in processes)

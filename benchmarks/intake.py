"""POST /webhook beside its peers, in alternation, as ratios.

script/bench [--rounds 3] [--seconds 5] [--connections 64] [--processes 2]
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.load import SECRET, Result, load
from sandbox.sandbox import Sandbox, free_ports
from webhook.store.embedded import EmbeddedPostgres
from webhook.store.schema import migrate

OURS = "the relay (on disk before the 202)"
PEERS = {
    "flask": "Flask + granian, stores nothing",
    "gidgethub": "aiohttp + gidgethub, stores nothing, one process",
    "each": "Flask + granian, a commit for each",
}


@contextlib.contextmanager
def running(arguments: list[str], environ: dict[str, str], port: int) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environ | {"PORT": str(port)},
        start_new_session=True,
    )
    try:
        asyncio.run(_responds(port))
        yield
    finally:
        process.terminate()
        process.wait()


async def _responds(port: int) -> None:
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/healthz"):
                    return
            await asyncio.sleep(0.1)


def measure(arguments: argparse.Namespace, environ: dict[str, str]) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = defaultdict(list)
    for _ in range(arguments.rounds):
        for name in ("relay", *PEERS):
            [port] = free_ports(1)
            command = (
                ["webhook", "web"] if name == "relay" else ["benchmarks.peers", name, str(port)]
            )
            with running(command, environ, port):
                asyncio.run(load(port, connections=8, seconds=1))
                results[name].append(
                    asyncio.run(
                        load(port, connections=arguments.connections, seconds=arguments.seconds)
                    )
                )
            time.sleep(0.5)
    return results


def report(results: dict[str, list[Result]]) -> None:
    ours = statistics.median(result.per_second for result in results["relay"])
    table = Table(box=None, pad_edge=False)
    for column in ("", "requests/s", "p50 ms", "p99 ms", "relay : it"):
        table.add_column(column, justify="left" if not column else "right")
    for name, label in {"relay": OURS, **PEERS}.items():
        rate = statistics.median(result.per_second for result in results[name])
        p50 = statistics.median(result.p50 for result in results[name])
        p99 = statistics.median(result.p99 for result in results[name])
        table.add_row(label, f"{rate:,.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{ours / rate:.2f}")
    Console().print(table)


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name:
        folder = Path(name)
        config = folder / "deploy.yml"
        config.write_text("envs: [{name: x, handler: command, with: {run: ['true']}}]\n")
        postgres = EmbeddedPostgres(folder / "data")
        url = postgres.start()
        migrate(url)
        environ = os.environ | Sandbox().environ(folder / "data", config, 0)
        environ |= {
            "GITPLOY_GITHUB_BASE_URL": "http://127.0.0.1:9",
            "GITPLOY_SLACK_BASE_URL": "http://127.0.0.1:9",
            "GITPLOY_WEBHOOK_SECRET": SECRET,
            "GITPLOY_STORE_SOURCE": url,
            "WEB_CONCURRENCY": str(arguments.processes),
        }
        results = measure(arguments, environ)
        with psycopg.connect(url) as connection:
            row = connection.execute("select count(*) from deliveries").fetchone()
        postgres.stop()
    report(results)
    Console().print(f"{row[0] if row else 0:,} deliveries are in the store.")

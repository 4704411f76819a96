"""Requests of all kinds, signed and not, well-formed and broken, to a relay that runs.

    script/storm --fuzz --requests 1000000 --seed 7

Afterwards: no response was a 5xx but a deliberate 503, nothing that was sent became a header, no
page or log has a traceback or a secret, the web process did not grow, every delivery that got its
202 was processed, and the relay works.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psutil
import psycopg

from sandbox.sandbox import REPOSITORY, Sandbox, free_ports
from tests.chaos.fuzz_requests import Fuzzer, Known, Request
from webhook.security.signing import ReportTokens
from webhook.timing import utc_now

KEY = "the-secret-key-of-a-fuzzed-relay"
DEPLOY_YML = """
slack: {{channel: "{channel}"}}
envs:
  - name: production
    handler: command
    serialization: false
    with: {{run: [sh, -c, "sleep 3600"]}}
    timeout: 2h
  - name: "*"
    handler: command
    serialization: false
    with: {{run: ["true"]}}
"""
CONNECTIONS = 16
# Seconds for a response: a broken request may wait for the rest of its body, which never comes.
WITHIN = 15
# Of its memory after a tenth of the requests.
MOST_GROWTH = 1.3


@dataclass
class Found:
    """`wrong`: each kind of fault with its first example."""

    responses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)
    accepted: int = 0
    memory: list[int] = field(default_factory=list)


class Fuzz:
    def __init__(self, folder: Path, requests: int, seed: int) -> None:
        self._folder = folder
        self._requests = requests
        self._seed = seed
        self._sandbox = Sandbox(interactive=True)
        self._found = Found()
        self._port = free_ports(1)[0]
        self._environ: dict[str, str] = {}

    async def run(self) -> Found:
        async with self._sandbox, self._relay() as process:
            known = await self._known()
            fuzzer = Fuzzer(self._seed, known)
            left = iter(range(self._requests))
            async with asyncio.TaskGroup() as group:
                for _ in range(CONNECTIONS):
                    group.create_task(self._send(fuzzer, left, process))
            await self._check_afterwards()
        self._check_log()
        return self._found

    @contextlib.asynccontextmanager
    async def _relay(self) -> AsyncIterator[psutil.Process]:
        config = self._folder / "deploy.yml"
        config.write_text(DEPLOY_YML.format(channel=self._sandbox.deploys.id))
        self._environ = self._sandbox.environ(self._folder / "data", config, self._port)
        self._environ |= {"GITPLOY_SECRET_KEY": KEY, "WEB_CONCURRENCY": "1"}
        with self._log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "webhook", "up"),
                env={**os.environ, **self._environ},
                stdout=log,
                stderr=log,
            )
        try:
            await self._works()
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            await process.wait()

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    async def _works(self, within: float = 120) -> None:
        address = f"http://127.0.0.1:{self._port}/workz"
        async with asyncio.timeout(within), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(address) as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.2)

    async def _known(self) -> Known:
        """Of a deployment that goes on meanwhile; deliveries of all that the stand-in sends."""
        github = self._sandbox.github
        await github.ping()
        deployment = await github.create_deployment(
            REPOSITORY, environment="production", required_contexts=[]
        )
        status = await github.wait_for(deployment.id, "in_progress")
        await github.settled()
        page = urlsplit(status.log_url)
        tokens = ReportTokens(f"http://127.0.0.1:{self._port}", [KEY])
        deadline = utc_now().replace(year=utc_now().year + 1)
        report = tokens.credentials(REPOSITORY, deployment.id, "production", deadline)
        samples = [(one.event, json.loads(one.body)) for one in github.deliveries]
        return Known(
            webhook_secret=github.webhook_secret,
            slack_secret=self._sandbox.slack.app.signing_secret,
            samples=samples,
            page=f"{page.path}?{page.query}",
            statuses=urlsplit(report.url).path,
            token=report.token,
        )

    async def _send(self, fuzzer: Fuzzer, left: Iterator[int], up: psutil.Process) -> None:
        """On a connection of its own, which is opened again when the relay closes it."""
        reader = writer = None
        for number in left:
            request = fuzzer.next()
            self._found.kinds[request.kind] += 1
            if writer is None or reader is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            goes_on = False
            try:
                async with asyncio.timeout(WITHIN):
                    writer.write(request.encoded())
                    await writer.drain()
                    goes_on = await self._receive(request, reader)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self._found.responses[f"no response ({type(error).__name__})"] += 1
            if not goes_on:
                writer.close()
                reader = writer = None
            if number % max(1, self._requests // 20) == 0:
                self._found.memory.append(_memory(up))
        if writer is not None:
            writer.close()

    async def _receive(self, request: Request, reader: asyncio.StreamReader) -> bool:
        """Whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        status, headers = _parsed(head)
        self._found.responses[str(status)] += 1
        body = b""
        if request.method != "HEAD" and "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        self._check(request, status, headers, head, body)
        whole = request.method == "HEAD" or "content-length" in headers or status in (204, 304)
        return whole and not request.raw and headers.get("connection", "") != "close"

    def _check(
        self,
        request: Request,
        status: int,
        headers: Mapping[str, str],
        head: bytes,
        body: bytes,
    ) -> None:
        self._found.accepted += status == 202
        if status >= 500 and not (status == 503 and ("retry-after" in headers or b"ready" in body)):
            self._wrong(f"{request.kind}: {status}", request, body)
        if b"Traceback" in body or b'File "' in body:
            self._wrong(f"{request.kind}: a traceback", request, body)
        if "x-injected" in headers:
            self._wrong(f"{request.kind}: an injected header", request, head)
        if "html" in headers.get("content-type", ""):
            self._check_page(request, headers, body)

    def _check_page(self, request: Request, headers: Mapping[str, str], body: bytes) -> None:
        policy = headers.get("content-security-policy", "")
        if "default-src 'none'" not in policy or "frame-ancestors 'none'" not in policy:
            self._wrong(f"{request.kind}: a page without a policy", request, body)
        if headers.get("x-content-type-options") != "nosniff":
            self._wrong(f"{request.kind}: a page without nosniff", request, body)
        if b"<script>alert" in body or b"<img src=x" in body or b">49<" in body:
            self._wrong(f"{request.kind}: what was sent is code in a page", request, body)

    def _wrong(self, what: str, request: Request, response: bytes) -> None:
        example = f"{request.encoded()[:500]!r} -> {response[:500]!r}"
        self._found.wrong.setdefault(what, example)

    async def _check_afterwards(self) -> None:
        """What was accepted is processed: nothing hostile is tried for ever."""
        store = f"postgresql://postgres@/postgres?host={self._folder}/data/postgres"
        end = time.monotonic() + 120 + self._requests / 200
        with psycopg.connect(store, autocommit=True) as connection:
            while True:
                [(waiting,)] = connection.execute(
                    "select count(*) from deliveries where outcome is null"
                ).fetchall()
                if not waiting or time.monotonic() > end:
                    break
                await asyncio.sleep(0.5)
            [(stored,)] = connection.execute("select sum(arrivals) from deliveries").fetchall()
            stuck = connection.execute(
                "select task, subject, attempts from schedule where attempts > 3"
            ).fetchall()
        if waiting:
            self._found.wrong["deliveries that were not processed"] = str(waiting)
        if stuck:
            self._found.wrong["jobs that fail again and again"] = str(stuck[:5])
        if stored < self._found.accepted:
            self._found.wrong["accepted and not stored"] = f"{stored} of {self._found.accepted}"
        tenth = self._found.memory[len(self._found.memory) // 10 :]
        if len(tenth) > 3 and tenth[-1] > tenth[0] * MOST_GROWTH:
            self._found.wrong["memory of the web process"] = f"{tenth}"
        try:
            await self._works(60)
        except TimeoutError:
            self._found.wrong["the relay does not work any more"] = ""

    def _check_log(self) -> None:
        log = self._log.read_text(errors="replace")
        if found := re.search(r"Traceback \(most recent.{0,3000}", log, re.DOTALL):
            self._found.wrong["a traceback in the log"] = found.group()
        for name, secret in {**self._environ, "token": KEY}.items():
            if re.search("SECRET|KEY|TOKEN", name.upper()) and secret in log:
                self._found.wrong[f"{name} in the log"] = ""


def _parsed(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}


def _memory(up: psutil.Process) -> int:
    """MiB of the process that serves."""
    found = [0]
    with contextlib.suppress(psutil.Error):
        for child in up.children():
            served = child.children()
            if child.name().endswith("web") or "web" in " ".join(child.cmdline()):
                found += [one.memory_info().rss >> 20 for one in (*served, child)]
    return max(found)


async def run_fuzz(*, requests: int, seed: int) -> Found:
    with tempfile.TemporaryDirectory(prefix="relay-fuzz-") as folder:
        return await Fuzz(Path(folder), requests, seed).run()


def report(found: Found) -> dict[str, Any]:
    return {
        "requests": found.kinds.total(),
        "kinds": dict(found.kinds.most_common()),
        "responses": dict(found.responses.most_common()),
        "web process MiB": [found.memory[0], *found.memory[-1:]] if found.memory else [],
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="script/storm --fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parsed = parser.parse_args(arguments)
    found = asyncio.run(run_fuzz(requests=parsed.requests, seed=parsed.seed))
    sys.stdout.writelines(f"{what}: {how}\n" for what, how in found.wrong.items())
    shown = ", ".join(f"{name} {value}" for name, value in report(found).items())
    sys.stdout.write(f"seed {parsed.seed}: {shown}\n")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

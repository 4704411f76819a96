"""A load of signed deliveries while web and PostgreSQL are killed; then what is in the store.

    script/storm --load --deliveries 20000 --kills 10

A delivery that is not acknowledged is sent again, as people have GitHub do. Afterwards each that
got its 202 is in the store.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from benchmarks.deliveries import SECRET
from benchmarks.load import Load, Result
from sandbox.sandbox import Sandbox, free_ports
from webhook.errors import UserError
from webhook.store.embedded import EmbeddedPostgres
from webhook.store.schema import migrate

ROOT = Path(__file__).parents[2]
DEPLOY_YML = "envs: [{name: x, handler: command, with: {run: ['true']}}]\n"
NOWHERE = "http://127.0.0.1:9"
# Seconds until each delivery was sent, and as many again until the last is acknowledged.
WITHIN = 1200


@dataclass
class Outcome:
    """`failed`: responses that were no 202, and connections that broke."""

    acknowledged: int = 0
    stored: int = 0
    lost: list[str] = field(default_factory=list)
    failed: int = 0
    killed: Counter[str] = field(default_factory=Counter)


class Web:
    """A web server that is started again when it ends, as `up` does."""

    def __init__(self, environ: Mapping[str, str], log: Path) -> None:
        self._environ = {**os.environ, **environ}
        self._log = log
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "webhook", "web"],
                env=self._environ,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def keep(self) -> None:
        if self._process.poll() is not None:
            self._kill_group()
            self._process = self._start()

    def kill(self) -> None:
        """The older of those that serve; their parent, granian, starts another, unless that one
        dies soon, too."""
        serving = psutil.Process(self._process.pid).children()
        if serving:
            min(serving, key=lambda process: process.create_time()).kill()

    def kill_all(self) -> None:
        self._kill_group()

    def stop(self) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class IntakeStorm:
    def __init__(self, folder: Path, deliveries: int, kills: int, seed: int) -> None:
        self._folder = folder
        self._deliveries = deliveries
        webs = ["all of web" if number % 3 == 2 else "web" for number in range(kills)]
        kinds = [*webs, *["postgres"] * kills]
        self._kinds = random.Random(seed).sample(kinds, len(kinds))
        self._postgres = EmbeddedPostgres(folder)
        self._outcome = Outcome()

    def run(self, connections: int) -> Outcome:
        url = self._postgres.start()
        try:
            migrate(url)
            [port] = free_ports(1)
            web = Web(self._environ(url, port), self._folder / "log")
            try:
                load = self._load(web, port, connections)
            finally:
                web.stop()
            return self._compare(load, url)
        finally:
            self._postgres.stop()

    def _environ(self, url: str, port: int) -> dict[str, str]:
        config = self._folder / "deploy.yml"
        config.write_text(DEPLOY_YML)
        return Sandbox().environ(self._folder, config, port) | {
            "GITPLOY_GITHUB_BASE_URL": NOWHERE,
            "GITPLOY_SLACK_BASE_URL": NOWHERE,
            "GITPLOY_WEBHOOK_SECRET": SECRET,
            "GITPLOY_STORE_SOURCE": url,
            "WEB_CONCURRENCY": "2",
        }

    def _load(self, web: Web, port: int, connections: int) -> Load:
        """Kill each at some progress of the load."""
        load = Load(port, total=self._deliveries, seconds=WITHIN, again=True, status="202")
        with ThreadPoolExecutor(1) as thread, contextlib.closing(load):
            sending = thread.submit(load.run, connections)
            for number, kind in enumerate(self._kinds, start=1):
                due = self._deliveries * number // (len(self._kinds) + 1)
                self._wait(sending, web, load, due)
                if sending.done():
                    break
                self._kill(kind, web)
            self._wait(sending, web, load, self._deliveries + 1)
            sending.result()
        return load

    @staticmethod
    def _wait(sending: "Future[Result]", web: Web, load: Load, acknowledged: int) -> None:
        while not sending.done() and len(load.result.acknowledged) < acknowledged:
            web.keep()
            time.sleep(0.002)

    def _kill(self, kind: str, web: Web) -> None:
        self._outcome.killed[kind] += 1
        if kind == "postgres":
            self._kill_postgres()
        elif kind == "web":
            web.kill()
        else:
            web.kill_all()

    def _kill_postgres(self) -> None:
        """And start it again, as `up` does."""
        pid_file = self._folder / "postgres" / "postmaster.pid"
        killed = psutil.Process(int(pid_file.read_text().splitlines()[0]))
        killed.kill()
        with contextlib.suppress(psutil.NoSuchProcess):
            killed.wait(10)
        while not self._postgres.is_running():
            # Its processes, which may take a moment to end, keep a new one from starting; or
            # pgserver believes that it still runs.
            with contextlib.suppress(UserError, AssertionError):
                self._postgres.restart()
            time.sleep(0.02)

    def _compare(self, load: Load, url: str) -> Outcome:
        with psycopg.connect(url) as store:
            stored = {guid for (guid,) in store.execute("select guid from deliveries")}
        acknowledged = [load.deliveries.guid(number) for number in load.result.acknowledged]
        outcome = self._outcome
        outcome.acknowledged, outcome.stored = len(acknowledged), len(stored)
        outcome.lost = [guid for guid in acknowledged if guid not in stored]
        outcome.failed = load.result.failed
        return outcome


def run_intake_storm(deliveries: int, kills: int, seed: int, connections: int) -> Outcome:
    """`kills` of one process of web, or of all at each third, and as many of PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="relay-storm-") as folder:
        return IntakeStorm(Path(folder), deliveries, kills, seed).run(connections)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10, help="of each kind")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--connections", type=int, default=64)
    parsed = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    began = time.monotonic()
    outcome = run_intake_storm(**vars(parsed))
    sys.stdout.write(
        f"acknowledged {outcome.acknowledged}, stored {outcome.stored}, lost {len(outcome.lost)};"
        f" killed {dict(outcome.killed)}, {outcome.failed} attempts failed,"
        f" seed {parsed.seed}, {time.monotonic() - began:.0f} s\n"
    )
    held = not outcome.lost and outcome.acknowledged == parsed.deliveries
    return 0 if held and outcome.killed.total() == 2 * parsed.kills else 1


if __name__ == "__main__":
    sys.exit(main())

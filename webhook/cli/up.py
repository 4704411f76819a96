"""`python -m webhook up`: web, workers and the embedded PostgreSQL in one foreground command.

It restarts processes that died. At SIGTERM or Ctrl-C it stops everything in order: the web process
finishes the open requests, the workers finish their jobs, PostgreSQL stops last. Runs of commands
continue by themselves and are found again at the next start. At SIGHUP the processes read
deploy.yml again, unless a closed terminal sent it: then everything stops.
"""

import asyncio
import fcntl
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import structlog

from webhook import startup
from webhook.errors import UserError
from webhook.store.embedded import EmbeddedPostgres

log = structlog.get_logger()

# Seconds.
_SHORTEST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_HEALTHY_AFTER = 10.0
_STOP_WITHIN = 20.0
_CHECK_EVERY = 1.0


def lock(data_dir: Path) -> TextIO:
    """Keep others from the data directory, as long as the file is open."""
    file = (data_dir / "up.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"Another relay runs with GITPLOY_DATA_DIR {data_dir}; stop it, or set another"
        ) from None
    return file


class Child:
    """A process of the relay, kept alive until `stop` is called."""

    def __init__(self, name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._environ = environ
        self._process: Process | None = None
        self._stopping = False
        self._reloading = False

    async def keep_running(self) -> None:
        pause = _SHORTEST_PAUSE
        while not self._stopping:
            started = time.monotonic()
            try:
                code = await self._run()
            except OSError as error:  # no process or memory is to be had right now
                code = error.errno or 1
            if self._stopping:
                return
            if self._reloading:
                self._reloading = False
                continue
            if time.monotonic() - started > _HEALTHY_AFTER:
                pause = _SHORTEST_PAUSE
            log.error("process ended, restarting it", process=self.name, exit_code=code)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _run(self) -> int:
        # A session of its own: Ctrl-C reaches `up` alone. The pipe on stdin closes when `up` dies,
        # however it dies, and then the child ends too.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "webhook",
            *self._arguments,
            "--until-stdin-closes",
            env=self._environ,
            stdin=PIPE,
            start_new_session=True,
        )
        code = await self._process.wait()
        # Processes that a killed web server leaves behind would keep the port.
        self._kill_group(self._process.pid)
        return code

    @staticmethod
    def _kill_group(pid: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)

    def reload(self) -> None:
        """Read deploy.yml again: web does so by itself, without closing its port, others end."""
        if self._process is None or self._process.returncode is not None:
            return
        if self.name == "web":
            self._process.send_signal(signal.SIGHUP)
        else:
            self._reloading = True
            self._process.terminate()

    async def stop(self) -> None:
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_WITHIN)
        except TimeoutError:
            log.error("process does not stop, killing it", process=self.name)
            self._kill_group(process.pid)


async def run_processes(
    environ: Mapping[str, str], workers: int, postgres: EmbeddedPostgres | None
) -> None:
    """Run until SIGTERM or SIGINT. `environ` is the children's; it names the store."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    children = [Child("web", ["web"], environ)]
    children += [Child(f"worker-{i + 1}", ["worker"], environ) for i in range(workers)]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup leaves it
        terminals = [fd for fd in range(3) if os.isatty(fd)]
        loop.add_signal_handler(
            signal.SIGHUP, lambda: _hang_up(terminals, stopped, environ, children)
        )
    tasks = [asyncio.create_task(child.keep_running()) for child in children]
    if postgres is not None:
        tasks.append(asyncio.create_task(_keep_postgres(postgres)))
    await stopped.wait()
    log.info("stopping")
    await asyncio.gather(*(child.stop() for child in children))
    for task in tasks:
        task.cancel()
    if postgres is not None:
        await asyncio.to_thread(postgres.stop)
    log.info("stopped")


def _hang_up(
    terminals: Sequence[int],
    stopped: asyncio.Event,
    environ: Mapping[str, str],
    children: Sequence[Child],
) -> None:
    """SIGHUP: the terminal was closed, or somebody wants deploy.yml to be read again."""
    if not all(os.isatty(fd) for fd in terminals):
        log.info("the terminal was closed (SIGHUP)")
        stopped.set()
        return
    *_, errors = startup.read(environ)
    if errors:
        log.error(
            "SIGHUP: deploy.yml has errors, the older one stays in use", errors="; ".join(errors)
        )
        return
    log.info("SIGHUP: reading deploy.yml again")
    for child in children:
        child.reload()


async def _keep_postgres(postgres: EmbeddedPostgres) -> None:
    while True:
        await asyncio.sleep(_CHECK_EVERY)
        if await asyncio.to_thread(postgres.is_running):
            continue
        log.error("PostgreSQL does not respond, restarting it")
        try:
            await asyncio.to_thread(postgres.restart)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may work
            log.warning("PostgreSQL does not start yet", error=str(error))

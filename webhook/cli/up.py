"""`python -m webhook up`: web, workers and the embedded PostgreSQL in one foreground command.

It restarts processes that died. At SIGTERM or Ctrl-C it stops everything in order: the web process
finishes the open requests, the workers finish their jobs, PostgreSQL stops last. Runs of commands
continue by themselves and are found again at the next start. At SIGHUP it reads deploy.yml again,
and then the processes what it has read, unless a closed terminal sent it: then everything stops.
"""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TextIO

import structlog

from webhook.cli.processes import Forks, Signals, Terminal, ended
from webhook.errors import UserError
from webhook.reloading import Reloading
from webhook.settings import Settings
from webhook.startup import Setup
from webhook.store import database, schema
from webhook.store.embedded import EmbeddedPostgres

log = structlog.get_logger()

# Seconds.
_SHORTEST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_HEALTHY_AFTER = 10.0
_STOP_WITHIN = 20.0
_CHECK_EVERY = 1.0
_STARTS_WITHIN = 60.0
_STOPS = {signal.SIGTERM, signal.SIGINT}
# What the processes share. Alembic is not among it: 36 MB that are needed once.
SHARED = ("webhook.app", "webhook.worker", "webhook.slack.socket_mode", "granian")


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


def _signals() -> Signals:
    """From now on they wait until everything that must be stopped is known."""
    return Signals({signal.SIGCHLD, signal.SIGHUP, *_STOPS})


class Child:
    """A process of the relay, kept alive until `stop` is called."""

    def __init__(self, name: str, start: Callable[[], int]) -> None:
        self.name = name
        self._start = start
        self._pid: int | None = None
        self._started = self._start_at = 0.0
        self._pause = _SHORTEST_PAUSE

    def keep_running(self) -> float:
        """Seconds until this must be called again, if no process ends before."""
        now = time.monotonic()
        if self._pid is not None and (code := self._reap()) is not None:
            self._restart_after(code, now)
        if self._pid is None and now >= self._start_at:
            self._started = now
            try:
                self._pid = self._start()
            except OSError as error:  # no process or memory is to be had right now
                self._restart_after(error.errno or 1, now)
        return _CHECK_EVERY if self._pid is not None else max(0.0, self._start_at - now)

    def _restart_after(self, code: int, now: float) -> None:
        if now - self._started > _HEALTHY_AFTER:
            self._pause = _SHORTEST_PAUSE
        log.error("process ended, restarting it", process=self.name, exit_code=code)
        self._start_at = now + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _reap(self) -> int | None:
        if self._pid is None or (code := ended(self._pid)) is None:
            return None
        # Processes that a killed web server leaves behind would keep the port.
        self._signal_group(self._pid, signal.SIGKILL)
        self._pid = None
        return code

    @staticmethod
    def _signal_group(pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)

    def reload(self) -> None:
        if self._pid is not None:
            os.kill(self._pid, signal.SIGHUP)

    def terminate(self) -> None:
        if self._pid is not None:
            os.kill(self._pid, signal.SIGTERM)

    def has_ended(self) -> bool:
        self._reap()
        return self._pid is None

    def kill(self) -> None:
        if self._pid is not None:
            log.error("process does not stop, killing it", process=self.name)
            self._signal_group(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


class KeptPostgres:
    """Started again where it has died; after pauses, as each attempt writes to its log, which may
    be why its disk is full."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self._start_at = 0.0
        self._pause = _SHORTEST_PAUSE
        self._error = ""

    def keep_running(self) -> float:
        """As that of a `Child`."""
        if self._postgres.is_running():
            self._pause, self._error = _SHORTEST_PAUSE, ""
            return _CHECK_EVERY
        now = time.monotonic()
        if now < self._start_at:
            return self._start_at - now
        if not self._error:
            log.error("PostgreSQL does not respond, restarting it")
        try:
            with _at_most(_STARTS_WITHIN):
                self._postgres.restart()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may work
            self._failed(str(error))
            return self._pause
        return _CHECK_EVERY

    def _failed(self, error: str) -> None:
        if error != self._error:
            log.warning("PostgreSQL does not start yet", error=error)
        self._error = error
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self._start_at = time.monotonic() + self._pause


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """`TimeoutError` after that: pgserver waits for ever for a server that has died meanwhile."""

    def end(_number: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(setup: Setup, workers: int, main: Callable[..., object]) -> None:
    """Run until SIGTERM or SIGINT. `main` runs a command line, which is a process's."""
    settings, terminal = setup.settings, Terminal()
    with lock(settings.data_dir) as locked:
        arriving = _signals()
        reloading = Reloading.begin(setup, "up")
        reloading.share()
        with _store(settings) as (url, postgres):
            # The processes use the same store.
            os.environ["GITPLOY_STORE_SOURCE"] = url
            forks = Forks(arriving, locked)
            _migrate(url, forks, main)
            log.info(
                "starting",
                listens=f"port {settings.port}",
                webhook=f"{settings.server_url}/webhook",
                store="embedded PostgreSQL" if postgres else "PostgreSQL",
            )
            children = _children(forks, main, workers)
            _keep(children, arriving, terminal, reloading, postgres)
        reloading.presence.end()
        log.info("stopped")


@contextmanager
def _store(settings: Settings) -> Iterator[tuple[str, EmbeddedPostgres | None]]:
    """The store's URL. While PostgreSQL starts, what the processes share is imported."""
    postgres = None if settings.store_source else EmbeddedPostgres(settings.data_dir)
    try:
        with ThreadPoolExecutor(1) as beside:
            starting = beside.submit(postgres.start) if postgres else None
            for name in SHARED:
                import_module(name)
        url = starting.result() if starting else settings.store_source
        assert url
        yield url, postgres
    finally:
        if postgres is not None:
            postgres.stop()


def _migrate(url: str, forks: Forks, main: Callable[..., object]) -> None:
    """In a process of its own, with which Alembic's memory goes."""
    with database.connect(url) as connection:
        found = schema.revision(connection)
    if found == schema.NEWEST_REVISION or schema.is_newer(found):
        return
    pid = forks.start("migrate", ["migrate", "--quiet"], main)
    _, status = os.waitpid(pid, 0)
    if status:
        sys.exit(1)  # it has said why


def _children(forks: Forks, main: Callable[..., object], workers: int) -> list[Child]:
    forks.share_memory()

    def child(name: str, command: str) -> Child:
        arguments = [command, "--until-stdin-closes"]
        return Child(name, lambda: forks.start(name, arguments, main))

    return [child("web", "web"), *(child(f"worker-{i + 1}", "worker") for i in range(workers))]


def _keep(
    children: Sequence[Child],
    arriving: Signals,
    terminal: Terminal,
    reloading: Reloading,
    postgres: EmbeddedPostgres | None,
) -> None:
    """Keep all running until a signal says to stop, and stop the children."""
    kept: list[Child | KeptPostgres] = [*children]
    if postgres is not None:
        kept.append(KeptPostgres(postgres))
    arrived = arriving.wait(0)
    while not arrived & _STOPS:
        if signal.SIGHUP in arrived:
            if terminal.is_closed():
                log.info("the terminal was closed (SIGHUP)")
                break
            if reloading.read_and_share():
                for child in children:
                    child.reload()
        arrived = arriving.wait(min(one.keep_running() for one in kept))
    log.info("stopping")
    _stop(children, arriving)


def _stop(children: Sequence[Child], arriving: Signals) -> None:
    for child in children:
        child.terminate()
    until = time.monotonic() + _STOP_WITHIN
    while running := [child for child in children if not child.has_ended()]:
        left = until - time.monotonic()
        if left <= 0:
            break
        arriving.wait(left)
    for child in running:
        child.kill()

"""The processes of the relay: web, workers, all in one, and the store's migrations.

Source: granian 2.8, `granian.server.Server`. WEB_CONCURRENCY sets the number of processes; what one
of them holds is bounded here and in `webhook.web.bodies`.
"""

import asyncio
import multiprocessing
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any

import click
import psycopg
import structlog
import uvloop

from webhook.cli.processes import Terminal
from webhook.errors import UserError
from webhook.reloading import Reloading
from webhook.startup import Setup, set_up_command
from webhook.store import database, schema
from webhook.store.embedded import store_url
from webhook.store.unavailable import first_line

log = structlog.get_logger()

# Connections of one process; further ones wait until one ends.
CONNECTIONS = 2048
# Milliseconds for the head of a request.
HEAD_WITHIN = 10_000
# Seconds; it has waited for a connection before.
STORE_AGAIN_AFTER = 1
# Bytes that one connection buffers: of a head, or of a body that is being read.
BUFFER = 64 * 1024


def _until_stdin_closes(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--until-stdin-closes", is_flag=True, hidden=True, callback=_watch_stdin, expose_value=False
    )(command)


def _watch_stdin(_context: click.Context, _parameter: click.Parameter, watch: bool) -> None:
    """End with the process that started this one, even if it was killed."""

    def wait() -> None:
        while os.read(0, 1024):  # not sys.stdin: its lock would be held in the web server's forks
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    if watch:
        threading.Thread(target=wait, daemon=True).start()


@click.command()
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 16))
def up(workers: int) -> None:
    """Run web processes, workers and, if no store is configured, PostgreSQL.

    SIGHUP makes them read deploy.yml again.
    """
    from webhook.cli import up as processes

    setup = set_up_command()
    require_port(setup.settings.port)
    main = click.get_current_context().find_root().command
    processes.run(setup, workers, main)


@click.command()
@_until_stdin_closes
def web() -> None:
    """Run a web process: webhook, pages, probes. SIGHUP makes it read deploy.yml again."""
    setup = set_up_command()
    settings = setup.settings
    require_port(settings.port)
    with store_url(settings) as url:
        os.environ["GITPLOY_STORE_SOURCE"] = url
        _serve(setup)


@click.command()
@_until_stdin_closes
def worker() -> None:
    """Run a worker; any number of them may run. SIGHUP makes it read deploy.yml again."""
    setup = set_up_command()
    with store_url(setup.settings) as url:
        with database.connect(url) as connection:
            schema.require_newest(connection)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(setup, url))


async def _work(setup: Setup, url: str) -> None:
    await _WorkerRun(setup, url).run()


class _WorkerRun:
    """The worker, until a signal ends it. With a deploy.yml that was read again, it finishes its
    jobs and begins anew."""

    def __init__(self, setup: Setup, url: str) -> None:
        self._url = url
        self._terminal = Terminal()  # before its signals are handled
        self._stop = asyncio.Event()
        self._next: Setup | None = None
        self._ends = False
        self._handle_signals()
        self._reloading = Reloading.begin(setup, "worker")

    async def run(self) -> None:
        """It also comes to an end by itself, where there is no memory for it any more."""
        await self._work()
        while self._next is not None and not self._ends:
            self._reloading.use(self._next)
            self._next = None
            self._stop.clear()
            await self._work_anew()

    async def _work_anew(self) -> None:
        """As one that goes on: it waits for a store that is away."""
        while not self._stop.is_set():
            try:
                await self._work()
            except psycopg.OperationalError as error:
                log.warning("the store does not respond, trying again", error=first_line(error))
                with suppress(TimeoutError):
                    async with asyncio.timeout(STORE_AGAIN_AFTER):
                        await self._stop.wait()
            else:
                return

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _end(self) -> None:
        self._ends = True
        self._stop.set()

    def _reload(self) -> None:
        if self._terminal.is_closed():
            self._end()
        elif (setup := self._reloading.read()) is not None:
            self._next = setup
            self._stop.set()

    async def _work(self) -> None:
        from webhook.slack.actions import ACTIONS
        from webhook.slack.socket_mode import listening
        from webhook.worker import open_services, work

        setup, url = self._reloading.setup, self._url
        async with (
            open_services(setup, url, actions=ACTIONS) as services,
            listening(setup.settings.slack, setup.config, url, actions=ACTIONS),
        ):
            await work(services, url, self._stop)


@click.command()
@click.option("--quiet", is_flag=True, hidden=True)
def migrate(quiet: bool) -> None:
    """Create or update the store's tables."""
    with store_url(set_up_command().settings) as url:
        schema.migrate(url)
    if not quiet:
        click.echo("The store is up to date.")


def require_port(port: int) -> None:
    """The server itself would share the port with its current user, or retry forever."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", port))  # noqa: S104 - as the server does
    except OSError as error:
        raise UserError(f"PORT {port} cannot be used: {error.strerror}; set another") from None


def _allow_files(count: int) -> None:
    """Many systems allow 1,024 open files unless a process asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _serve(setup: Setup) -> None:
    """Serve until SIGTERM or SIGINT."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    _allow_files(2 * CONNECTIONS)
    import_module("webhook.app")  # once, for all the processes that are forked from this one
    server = Granian(
        "webhook.app:from_environ",
        factory=True,
        interface=Interfaces.RSGI,
        # One connection of HTTP/2 could hold hundreds of requests; proxies speak HTTP/1.1.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_WITHIN, max_buffer_size=BUFFER),
        backpressure=CONNECTIONS,
        address="0.0.0.0",  # noqa: S104 - it is a server
        port=setup.settings.port,
        workers=setup.settings.web_processes,
        respawn_failed_workers=True,
        workers_kill_timeout=5,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {"_granian": {"handlers": [], "propagate": True}}},
    )
    # Its handlers are set then, and none of its processes is there yet.
    terminal = Terminal()
    server.on_startup(lambda: _reload_at_hangup(setup, terminal))
    server.serve()


def _reload_at_hangup(setup: Setup, terminal: Terminal) -> None:
    """Not as granian does it, whose new processes have sockets of their own: what waits in those of
    the old ones would be lost (granian 2.8 with SO_REUSEPORT). They go on with the new file."""
    reloading, stop = Reloading.begin(setup, "web"), signal.getsignal(signal.SIGTERM)
    reloading.share()
    assert callable(stop)

    def on_hangup(number: int, frame: FrameType | None) -> None:
        if os.getpid() != reloading.presence.process.pid:
            return  # of granian's processes, one that is not ready yet
        if terminal.is_closed():
            stop(number, frame)
        elif reloading.read_and_share():
            for process in multiprocessing.active_children():
                process_id = process.pid
                if process_id is not None:
                    with suppress(ProcessLookupError):
                        os.kill(process_id, signal.SIGHUP)

    signal.signal(signal.SIGHUP, on_hangup)

"""The processes of the relay: web, workers, all in one, and the store's migrations.

Source: granian 2.8, `granian.server.Server`. WEB_CONCURRENCY sets the number of processes; what one
of them holds is bounded here and in `webhook.web.bodies`.
"""

import asyncio
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click
import uvloop

from webhook.errors import UserError
from webhook.startup import set_up_command
from webhook.store import database, schema
from webhook.store.embedded import store_url

# Connections of one process; further ones wait until one ends.
CONNECTIONS = 2048
# Milliseconds for the head of a request.
HEAD_WITHIN = 10_000
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

    settings = set_up_command().settings
    require_port(settings.port)
    main = click.get_current_context().find_root().command
    processes.run(settings, workers, main)


@click.command()
@_until_stdin_closes
def web() -> None:
    """Run a web process: webhook, pages, probes."""
    settings = set_up_command().settings
    require_port(settings.port)
    with store_url(settings) as url:
        os.environ["GITPLOY_STORE_SOURCE"] = url
        _serve(settings.port, settings.web_processes)


@click.command()
@_until_stdin_closes
def worker() -> None:
    """Run a worker; any number of them may run."""
    from webhook.slack.actions import ACTIONS
    from webhook.slack.socket_mode import listening
    from webhook.worker import open_services, work

    setup = set_up_command()

    async def run(url: str) -> None:
        stop = asyncio.Event()
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # as nohup leaves it
        for number in (signal.SIGTERM, signal.SIGINT, *([] if ignored else [signal.SIGHUP])):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with (
            open_services(setup, url, actions=ACTIONS) as services,
            listening(setup.settings.slack, setup.config, url, actions=ACTIONS),
        ):
            await work(services, url, stop)

    with store_url(setup.settings) as url:
        with database.connect(url) as connection:
            schema.require_newest(connection)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(url))


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


def _serve(port: int, processes: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    _allow_files(2 * CONNECTIONS)
    import_module("webhook.app")  # once, for all the processes that are forked from this one
    Granian(
        "webhook.app:from_environ",
        factory=True,
        interface=Interfaces.RSGI,
        # One connection of HTTP/2 could hold hundreds of requests; proxies speak HTTP/1.1.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_WITHIN, max_buffer_size=BUFFER),
        backpressure=CONNECTIONS,
        address="0.0.0.0",  # noqa: S104 - it is a server
        port=port,
        workers=processes,
        respawn_failed_workers=True,
        workers_kill_timeout=5,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {"_granian": {"handlers": [], "propagate": True}}},
    ).serve()

"""The command line: python -m webhook COMMAND."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import click
import psycopg
import structlog

from webhook import startup
from webhook.cli.slack import slack
from webhook.errors import UserError
from webhook.startup import Setup
from webhook.store import database, health
from webhook.store.embedded import EmbeddedPostgres

log = structlog.get_logger()

STORE_VARIABLES = "GITPLOY_STORE_SOURCE or DATABASE_URL"


class Plain(click.Group):
    """What an operator can mend is said in a sentence, without a trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(str(error), err=True)
        except psycopg.OperationalError as error:
            reason = str(error).strip().splitlines()[0]
            click.echo(f"The store does not answer: {reason}; check {STORE_VARIABLES}", err=True)
        sys.exit(1)


@click.group(cls=Plain, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=None, version="0.1.0", prog_name="gitploy-relay")
def main() -> None:
    """Gitploy Relay: receives GitHub deployments, runs their tools, reports back."""


def _set_up() -> Setup:
    setup = startup.set_up(os.environ)
    for warning in setup.settings.warnings:
        log.warning(warning)
    return setup


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


@main.command()
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 16))
def up(workers: int) -> None:
    """Run web processes, workers and, if no store is configured, PostgreSQL."""
    from webhook.cli.server import require_port
    from webhook.cli.up import claim
    from webhook.cli.up import up as run
    from webhook.store.migrate import migrate as migrate_store

    settings = _set_up().settings
    require_port(settings.port)
    claimed = claim(settings.data_dir)
    postgres = None if settings.store_source else EmbeddedPostgres(settings.data_dir)
    url = postgres.start() if postgres else settings.store_source
    assert url
    migrate_store(url)
    log.info(
        "starting",
        listens=f"port {settings.port}",
        webhook=f"{settings.server_url}/webhook",
        store="embedded PostgreSQL" if postgres else "PostgreSQL",
    )
    with claimed:
        asyncio.run(run({**os.environ, "GITPLOY_STORE_SOURCE": url}, workers, postgres))


@main.command()
@_until_stdin_closes
def web() -> None:
    """Run a web process: webhook, pages, probes."""
    from webhook.cli.server import require_port, serve

    setup = _set_up()
    require_port(setup.settings.port)
    with startup.store(setup.settings) as url:
        os.environ["GITPLOY_STORE_SOURCE"] = url
        serve(setup.settings.port, setup.settings.web_processes)


@main.command()
@_until_stdin_closes
def worker() -> None:
    """Run a worker; any number of them may run."""
    from webhook.engine.services import open_services
    from webhook.slack.actions import ACTIONS
    from webhook.slack.socket_listener import listening
    from webhook.worker import work

    setup = _set_up()

    async def run(url: str) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with (
            open_services(setup, url, actions=ACTIONS) as services,
            listening(setup, url, ACTIONS),
        ):
            await work(services, stop)

    with startup.store(setup.settings) as url:
        with database.connect(url) as connection:
            health.require_newest(connection)
        asyncio.run(run(url))


@main.command()
def migrate() -> None:
    """Create or update the store's tables."""
    from webhook.store.migrate import migrate as migrate_store

    with startup.store(_set_up().settings) as url:
        migrate_store(url)
    click.echo("The store is up to date.")


@main.command()
def check() -> None:
    """Check settings, deploy.yml, GitHub, Slack, the tools and the store; one line each."""
    from webhook.check import check as run

    sys.exit(0 if asyncio.run(run(os.environ, click.echo)) else 1)


@main.command()
def schema() -> None:
    """Print the JSON Schema of deploy.yml, for editors."""
    from handlers import HANDLERS
    from webhook.config.load import json_schema
    from webhook.notifiers import DESTINATIONS

    options = {name: handler.Options for name, handler in HANDLERS.items()}
    click.echo(json.dumps(json_schema(options, DESTINATIONS), indent=2))


@main.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--deployment", "deployment_id", type=int, help="Only deliveries of this deployment.")
@click.option("--all", "ignored", is_flag=True, help="Also deliveries that the relay ignores.")
def deliveries(limit: int, deployment_id: int | None, ignored: bool) -> None:
    """List the newest deliveries and their results."""
    from webhook.store.deliveries import newest

    with startup.store(_set_up().settings) as url, database.connect(url) as connection:
        health.require_newest(connection)
        for row in newest(connection, limit, deployment_id=deployment_id, ignored=ignored):
            about = f" deployment {row.deployment_id}" if row.deployment_id else ""
            click.echo(
                f"{row.received_at:%Y-%m-%d %H:%M:%S} {row.guid} {row.event}"
                f" {row.outcome or 'waiting'}{about} {row.reason}".rstrip()
            )


@main.command()
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--all", "every_tool", is_flag=True, help="Also a deployment through every other tool."
)
def demo(keep: bool, as_json: bool, every_tool: bool) -> None:
    """Run the demo on stand-ins for GitHub, Slack and the tools; needs no accounts."""
    from sandbox.demo.demo import demo as run

    sys.exit(asyncio.run(run(keep=keep, as_json=as_json, every_tool=every_tool)))


main.add_command(slack)


if __name__ == "__main__":
    main()

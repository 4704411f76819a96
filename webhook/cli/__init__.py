"""The command line: one file a group of commands; it may import every other room."""

import os
import sys
from typing import Any

import click
import psycopg

from webhook import startup
from webhook.cli import demo, server, show
from webhook.cli.audit import audit
from webhook.cli.automatic import automatic
from webhook.cli.backup import backup_command, restore
from webhook.cli.deliveries import deliveries
from webhook.cli.deployments import deployments_group
from webhook.cli.exit_codes import code_of_errors
from webhook.cli.explain import explain_command
from webhook.cli.github import github
from webhook.cli.locks import lock, locks, unlock
from webhook.cli.redeliver import redeliver_command
from webhook.cli.reload import reload
from webhook.cli.replay import replay
from webhook.cli.show_delivery import show_delivery
from webhook.cli.simulate import simulate_command
from webhook.cli.slack import slack
from webhook.errors import UserError
from webhook.logs import Redactor
from webhook.store.unavailable import disk_reason, first_line, is_of_disk, store_reason


class ReadableErrors(click.Group):
    """What an operator can fix is printed as a sentence, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        redact = Redactor(startup.secret_values(os.environ)).text
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            # It quotes what was typed, and with it what a shell filled in for $TOKEN.
            raise click.UsageError(redact(error.format_message()), error.ctx) from None
        except UserError as error:
            click.echo(redact(str(error)), err=True)
        except OSError as error:
            if not is_of_disk(error):
                raise
            place = error.filename or "GITPLOY_DATA_DIR"
            click.echo(f"Not done: {disk_reason(error.errno, place)}", err=True)
        except psycopg.errors.DiskFull as error:
            click.echo(f"The store cannot be used: {store_reason(error)}", err=True)
        except psycopg.OperationalError as error:
            reason = redact(first_line(error))
            variables = "GITPLOY_STORE_SOURCE or DATABASE_URL"
            click.echo(f"The store does not respond: {reason}; check {variables}", err=True)
        sys.exit(code_of_errors(ctx))


@click.group(cls=ReadableErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=None, version="0.1.0", prog_name="gitploy-relay")
def main() -> None:
    """Gitploy Relay: receives GitHub deployments, runs their tools, reports back."""


for command in (show_delivery, replay, redeliver_command, simulate_command):
    deliveries.add_command(command)
for command in (
    server.up,
    server.web,
    server.worker,
    server.migrate,
    reload,
    show.check,
    show.schema,
    deliveries,
    deployments_group,
    explain_command,
    automatic,
    audit,
    lock,
    unlock,
    locks,
    backup_command,
    restore,
    demo.demo,
    github,
    slack,
):
    main.add_command(command)

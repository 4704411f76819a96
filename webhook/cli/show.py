"""Commands that show something and change nothing."""

import asyncio
import json
import os
import sys

import click

from webhook.startup import set_up_command
from webhook.store.deliveries import DeliverySummary, newest
from webhook.store.schema import migrated_store


@click.command()
def check() -> None:
    """Check settings, deploy.yml, GitHub, Slack, the tools and the store; one line each."""
    from webhook.check.run import check as run

    sys.exit(0 if asyncio.run(run(os.environ, click.echo)) else 1)


@click.command()
def schema() -> None:
    """Print the JSON Schema of deploy.yml, for editors."""
    from handlers import HANDLERS
    from webhook.config.environments import json_schema
    from webhook.notifiers import DESTINATIONS

    options = {name: handler.Options for name, handler in HANDLERS.items()}
    click.echo(json.dumps(json_schema(options, DESTINATIONS), indent=2))


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--deployment", "deployment_id", type=int, help="Only deliveries of this deployment.")
@click.option("--all", "ignored", is_flag=True, help="Also deliveries that the relay ignores.")
def deliveries(limit: int, deployment_id: int | None, ignored: bool) -> None:
    """List the newest deliveries and their results."""
    with migrated_store(set_up_command().settings) as (_, connection):
        for delivery in newest(connection, limit, deployment_id=deployment_id, ignored=ignored):
            click.echo(_line(delivery))


def _line(delivery: DeliverySummary) -> str:
    about = f" deployment {delivery.deployment_id}" if delivery.deployment_id else ""
    return (
        f"{delivery.received_at:%Y-%m-%d %H:%M:%S} {delivery.guid} {delivery.event}"
        f" {delivery.outcome or 'waiting'}{about} {delivery.reason}".rstrip()
    )

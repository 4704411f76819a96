"""What GitHub delivered."""

import click

from webhook.cli.setup import migrated_store, set_up
from webhook.store.deliveries import DeliverySummary, newest


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--deployment", "deployment_id", type=int, help="Only deliveries of this deployment.")
@click.option("--all", "ignored", is_flag=True, help="Also deliveries that the relay ignores.")
def deliveries(limit: int, deployment_id: int | None, ignored: bool) -> None:
    """List the newest deliveries and their results."""
    with migrated_store(set_up().settings) as (_, connection):
        for delivery in newest(connection, limit, deployment_id=deployment_id, ignored=ignored):
            click.echo(_line(delivery))


def _line(delivery: DeliverySummary) -> str:
    about = f" deployment {delivery.deployment_id}" if delivery.deployment_id else ""
    return (
        f"{delivery.received_at:%Y-%m-%d %H:%M:%S} {delivery.guid} {delivery.event}"
        f" {delivery.outcome or 'waiting'}{about} {delivery.reason}".rstrip()
    )

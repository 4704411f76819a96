"""The deliveries that arrived, and what became of each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from webhook.cli.listing import ListingGroup, print_rows
from webhook.cli.selection import Chosen, filters, matching
from webhook.engine.deliveries import RESULTS, lateness_of, reason_of, repository_of
from webhook.startup import set_up_command
from webhook.store.deliveries import DeliverySummary, Selection, State
from webhook.store.schema import migrated_store
from webhook.timing import utc_now

_COLUMNS = {
    "received": "received (UTC)",
    "delivery": "delivery",
    "event": "event",
    "result": "result",
    "deployment": "deployment",
    "repository": "repository",
    "environment": "environment",
    "ref": "ref",
    "state": "state",
}
_REASON = {"reason": "reason"}
# Shown where it is something else with one of them.
_UNUSUAL = {"way": "way", "late": "late"}


@click.group(cls=ListingGroup)
def deliveries() -> None:
    """The deliveries that arrived: without a command, list them."""


@deliveries.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--deployment", "deployment_id", type=int, help="Only deliveries of this deployment.")
@click.option("--all", "ignored", is_flag=True, help="Also all that the relay ignores.")
@filters
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def list_deliveries(
    *,
    limit: int,
    deployment_id: int | None,
    ignored: bool,
    event: str,
    outcome: State | None,
    repos: tuple[str, ...],
    since: datetime | None,
    as_json: bool,
) -> None:
    """List the newest deliveries, what became of them, and the deployment's state now.

    Also without `list`. Those older than GITPLOY_KEEP_DELIVERIES are deleted.
    """
    selection = Selection(
        since=since,
        event=event,
        outcome=outcome,
        deployment_id=deployment_id,
        ignored=ignored or outcome == "ignored" or bool(event),
    )
    chosen = Chosen(selection=selection, repos=repos)
    with migrated_store(set_up_command().settings) as (_, connection):
        found = list(matching(connection, chosen, limit))
    print_rows(_columns(found), [row_of(delivery) for delivery in found], as_json=as_json)


def _columns(found: Sequence[DeliverySummary]) -> dict[str, str]:
    unusual = any(one.way != "webhook" or lateness_of(one) for one in found)
    return {**_COLUMNS, **(_UNUSUAL if unusual else {}), **_REASON}


def row_of(one: DeliverySummary) -> dict[str, Any]:
    return {
        "received": one.received_at,
        "delivery": one.guid,
        "arrivals": one.arrivals,
        "event": one.event,
        "result": RESULTS[one.outcome],
        "deployment": one.deployment_id,
        "repository": repository_of(one),
        "environment": one.environment,
        "ref": one.ref,
        "sha": one.sha,
        "state": one.phase,
        "way": one.way,
        "late": lateness_of(one),
        "reason": reason_of(one, utc_now()),
    }

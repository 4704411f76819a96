"""The deliveries that arrived, and what became of each."""

import json
from typing import Any

import click

from webhook.cli.listing import print_rows
from webhook.deployments.blockers import in_full
from webhook.startup import set_up_command
from webhook.store.deliveries import DeliverySummary, newest
from webhook.store.schema import migrated_store
from webhook.timing import utc_now

# `processed` says nothing of the deployment, whose state stands beside it.
_RESULTS = {None: "waiting", "done": "processed", "ignored": "ignored", "failed": "failed"}
# Phases of which the description says why.
_EXPLAINED = ("failure", "error", "superseded")
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
    "reason": "reason",
}


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--deployment", "deployment_id", type=int, help="Only deliveries of this deployment.")
@click.option("--all", "ignored", is_flag=True, help="Also all that the relay ignores.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def deliveries(limit: int, deployment_id: int | None, ignored: bool, as_json: bool) -> None:
    """List the newest deliveries, what became of them, and the deployment's state now.

    Those older than GITPLOY_KEEP_DELIVERIES are deleted.
    """
    with migrated_store(set_up_command().settings) as (_, connection):
        found = newest(connection, limit, deployment_id=deployment_id, ignored=ignored)
    print_rows(_COLUMNS, [_row(delivery) for delivery in found], as_json=as_json)


def _row(one: DeliverySummary) -> dict[str, Any]:
    return {
        "received": one.received_at,
        "delivery": one.guid,
        "arrivals": one.arrivals,
        "event": one.event,
        "result": _RESULTS[one.outcome],
        "deployment": one.deployment_id,
        "repository": one.repo or _repository(one.body),
        "environment": one.environment,
        "ref": one.ref,
        "sha": one.sha,
        "state": one.phase,
        "reason": _reason(one),
    }


def _reason(one: DeliverySummary) -> str:
    """Why it was not processed, else why its deployment is as it is."""
    description = one.status_description if one.phase in _EXPLAINED else ""
    if one.blockers:
        description = in_full(one.blockers, utc_now())
    unsent = f"GitHub does not show this: {one.unsent}" if one.unsent else ""
    return one.reason or "; ".join(filter(None, (description, unsent)))


def _repository(body: bytes) -> str | None:
    """Of a delivery that is about no deployment."""
    try:
        name = json.loads(body)["repository"]["full_name"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return name if isinstance(name, str) else None

"""The automatic deployments: what waits for its checks, and what became of the others."""

from typing import Any

import click

from webhook.cli.listing import print_rows
from webhook.startup import set_up_command
from webhook.store.automatic import AutomaticDeployment, newest
from webhook.store.schema import migrated_store

_COLUMNS = {
    "at": "since (UTC)",
    "repository": "repository",
    "environment": "environment",
    "ref": "ref",
    "commit": "commit",
    "cause": "cause",
    "by": "by",
    "state": "state",
    "deployment": "deployment",
    "reason": "reason",
}


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def automatic(limit: int, as_json: bool) -> None:
    """List the newest automatic deployments: what each waits for, or why there was none."""
    with migrated_store(set_up_command().settings) as (_, connection):
        found = newest(connection, limit)
    print_rows(_COLUMNS, [_row(one) for one in found], as_json=as_json)


def _row(one: AutomaticDeployment) -> dict[str, Any]:
    return {
        "at": one.at,
        "repository": one.repo,
        "environment": one.environment,
        "ref": one.ref_name,
        "commit": one.sha[:7],
        "sha": one.sha,
        "cause": one.cause,
        "by": one.login or "unknown",
        "state": one.state,
        "deployment": one.created_deployment_id,
        "from_deployment": one.from_deployment_id or None,
        "waits_until": one.deadline if one.state == "waiting" else None,
        "reason": one.reason,
    }

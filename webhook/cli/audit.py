"""Who did what, when, why, and from where."""

import re
from datetime import UTC, datetime
from typing import Any

import click

from handlers import durations
from webhook.cli.listing import print_rows
from webhook.startup import set_up_command
from webhook.store.audit import Act, newest
from webhook.store.schema import migrated_store
from webhook.timing import utc_now

_COLUMNS = {
    "at": "at (UTC)",
    "actor": "who",
    "source": "from",
    "action": "action",
    "outcome": "result",
    "repository": "repository",
    "environment": "environment",
    "deployment": "deployment",
    "reason": "reason",
}


class Since(click.ParamType[datetime]):
    """A duration before now, or a day or moment, in UTC where no zone is given."""

    name = "since"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return _moment(value, utc_now())
        except (ValueError, OverflowError):
            message = f"'{value}' is neither how long ago, as 7d or 12h, nor a date, as 2026-11-01"
            self.fail(message, param, ctx)


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100_000))
@click.option(
    "--since", type=Since(), metavar="WHEN", help="Only from then on: 7d, 12h, or 2026-11-01 (UTC)."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def audit(limit: int, since: datetime | None, as_json: bool) -> None:
    """List who did what, when, why and from where, the newest first.

    These rows are never changed or deleted, whatever becomes of their deployments.
    """
    with migrated_store(set_up_command().settings) as (_, connection):
        found = newest(connection, limit, since=since)
    print_rows(_COLUMNS, [_row(act) for act in found], as_json=as_json)


def _row(act: Act) -> dict[str, Any]:
    return {
        "at": act.at,
        "actor": act.actor,
        "source": act.source,
        "action": act.action,
        "outcome": act.outcome,
        "repository": act.repo,
        "environment": act.environment,
        "deployment": act.deployment_id,
        "reason": act.reason,
        "details": act.details,
    }


def _moment(text: str, now: datetime) -> datetime:
    if not re.match(r"[0-9]{4}-", text):
        return now - durations.parse_with_days(text)
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)

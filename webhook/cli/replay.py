"""`python -m webhook deliveries replay`: process deliveries once more, by the relay's usual way.

What they started is not started again: `webhook.engine.receive` knows it from the store.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import click

from webhook.cli.listing import WITHIN, print_rows
from webhook.cli.operator import operator
from webhook.cli.selection import Chosen, delivery_id, filters, matching
from webhook.engine.deliveries import (
    MOST_REPLAYED,
    RESULTS,
    may_deploy,
    reason_of,
    repository_of,
    why_not_replayed,
)
from webhook.errors import UserError
from webhook.invocation import COMMAND
from webhook.settings import Settings
from webhook.startup import set_up_command
from webhook.store import audit
from webhook.store.audit import NewAct
from webhook.store.database import Sync
from webhook.store.deliveries import DeliverySummary, Selection, State, count_since, summaries
from webhook.store.replays import BATCH, not_processed, process_again
from webhook.store.schema import migrated_store
from webhook.timing import utc_now

_MOST_SHOWN = 10
_POLL_SECONDS = 0.1
_COLUMNS = {
    "delivery": "delivery",
    "event": "event",
    "repository": "repository",
    "before": "before",
    "result": "result",
    "deployment": "deployment",
    "state": "state",
    "reason": "reason",
}
_PLANNED = {
    "received": "received (UTC)",
    "delivery": "delivery",
    "event": "event",
    "repository": "repository",
    "result": "result",
    "reason": "reason",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`chosen`: the oldest first. `left_out`: how many cannot be, by the reason. `what`: for the
    audit."""

    chosen: Sequence[DeliverySummary]
    left_out: Mapping[str, int]
    what: Mapping[str, Any]
    of_all: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    within: timedelta
    wanted: bool


@click.command()
@click.argument("guids", nargs=-1, metavar="[GUID]...")
@filters
@click.option("--failed", is_flag=True, help="Those that could not be processed.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the results.")
@WITHIN
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def replay(
    *,
    guids: tuple[str, ...],
    event: str,
    outcome: State | None,
    repos: tuple[str, ...],
    since: datetime | None,
    failed: bool,
    dry_run: bool,
    yes: bool,
    no_wait: bool,
    within: timedelta,
    as_json: bool,
) -> None:
    """Process deliveries once more: after an upgrade, or a change of deploy.yml.

    By their GUIDs, or all that match since a time, 10,000 at most. It starts nothing that was
    started before; what was only ignored or failed may begin to deploy now. Others arrive and are
    processed meanwhile. Exit code: 0 all were processed, 1 not all, 2 wrong usage.
    """
    if failed and outcome not in (None, "failed"):
        raise click.UsageError("--failed is --outcome failed; leave one of them out")
    selection = Selection(since=since, event=event, outcome="failed" if failed else outcome)
    chosen = Chosen(selection=selection, repos=repos)
    settings = set_up_command().settings
    _require_one_way(guids, chosen)
    with migrated_store(settings) as (_, connection):
        if guids:
            plan = _of_guids(connection, settings, guids)
        else:
            plan = _of_filter(connection, settings, chosen)
            _print_plan(plan, as_json=as_json, begins=yes and not dry_run)
        if dry_run:
            if guids or as_json:
                _print_chosen(plan.chosen, as_json=as_json)
            return
        if plan.chosen and not guids and not yes:
            _confirm(plan)
        sys.exit(
            _replay(connection, plan, Waiting(within=within, wanted=not no_wait), as_json=as_json)
        )


def _require_one_way(guids: Sequence[str], chosen: Chosen) -> None:
    filtered = chosen != Chosen()
    if guids and filtered:
        raise click.UsageError("Write GUIDs, or choose by --since and the other filters, not both")
    if not guids and chosen.selection.since is None:
        raise click.UsageError("Write GUIDs, or --since (2h, 3d) with or without other filters")


def _of_guids(connection: Sync, settings: Settings, guids: Sequence[str]) -> Plan:
    ids = {delivery_id(connection, settings, guid) for guid in guids}
    found = summaries(connection, ids)[::-1]
    for one in found:
        if why := why_not_replayed(one, settings.keep, utc_now()):
            raise UserError(f"Delivery {one.guid} {why}; nothing was done")
    return Plan(chosen=found, left_out={}, what={"deliveries": [one.guid for one in found]})


def _of_filter(connection: Sync, settings: Settings, chosen: Chosen) -> Plan:
    found = list(matching(connection, chosen, MOST_REPLAYED + 1))[::-1]
    if len(found) > MOST_REPLAYED:
        raise UserError(
            f"More than {MOST_REPLAYED:,} deliveries match, which is the most at once; nothing was"
            " done. Choose fewer by --since, --event, --repo or --outcome"
        )
    left_out: dict[str, int] = {}
    can_be: list[DeliverySummary] = []
    for one in found:
        if why := why_not_replayed(one, settings.keep, utc_now()):
            left_out[why] = left_out.get(why, 0) + 1
        else:
            can_be.append(one)
    selection = chosen.selection
    assert selection.since is not None
    what = {
        "since": selection.since.isoformat(),
        "event": selection.event,
        "outcome": selection.outcome,
        "repos": list(chosen.repos),
    }
    return Plan(
        chosen=can_be,
        left_out=left_out,
        what={name: value for name, value in what.items() if value},
        of_all=f" of {count_since(connection, selection.since):,}",
    )


def _print_plan(plan: Plan, *, as_json: bool, begins: bool) -> None:
    """To people, wherever the output goes."""
    count = len(plan.chosen)
    verb = "Reprocessing" if begins else "Would reprocess"
    click.echo(f"{verb} {count:,}{plan.of_all} deliveries.", err=as_json)
    for why, number in plan.left_out.items():
        click.echo(f"Left out: {number:,}, each of which {why}.", err=True)
    if may := may_deploy(plan.chosen):
        click.echo(may, err=as_json)
    if not as_json and count:
        _print_chosen(plan.chosen[:_MOST_SHOWN], as_json=False)
        if count > _MOST_SHOWN:
            click.echo(f"and {count - _MOST_SHOWN:,} more")


def _print_chosen(chosen: Sequence[DeliverySummary], *, as_json: bool) -> None:
    rows = [
        {
            "received": one.received_at,
            "delivery": one.guid,
            "event": one.event,
            "repository": repository_of(one),
            "result": RESULTS[one.outcome],
            "reason": reason_of(one, utc_now()),
        }
        for one in chosen
    ]
    print_rows(_PLANNED, rows, as_json=as_json)


def _confirm(plan: Plan) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: add --yes, or --dry-run to only see it")
    click.confirm(f"Reprocess {len(plan.chosen):,} deliveries?", abort=True, err=True)


def _replay(connection: Sync, plan: Plan, waiting: Waiting, *, as_json: bool) -> int:
    deadline = time.monotonic() + waiting.within.total_seconds()
    rows: list[dict[str, Any]] = []
    requested = 0
    try:
        for begin in range(0, len(plan.chosen), BATCH):
            batch = plan.chosen[begin : begin + BATCH]
            again = _request(connection, batch, plan if not begin else None)
            requested += len(batch)
            taken = [one for one in batch if one.id in again]
            if left := len(batch) - len(taken):
                click.echo(f"Left alone: {left:,} that are being processed now.", err=True)
            if waiting.wanted:
                _wait(connection, again, deadline)
            rows += _rows(connection, taken) if waiting.wanted else map(_requested, taken)
    except KeyboardInterrupt:
        rest = len(plan.chosen) - requested
        message = f"Interrupted: {requested:,} were requested, which workers process"
        raise UserError(f"{message}; the other {rest:,} were not") from None
    if rows or as_json:
        print_rows(_COLUMNS if waiting.wanted else _PLANNED, rows, as_json=as_json)
    return _exit_code(rows, waiting)


def _request(connection: Sync, batch: Sequence[DeliverySummary], plan: Plan | None) -> set[int]:
    """`plan`: it is begun, and so in the audit."""
    with connection.transaction():
        if plan is not None:
            details = {**plan.what, "count": len(plan.chosen)}
            act = NewAct(
                actor=operator(),
                source="command line",
                action="replay",
                reason=f"{len(plan.chosen):,} deliveries",
                details=details,
            )
            audit.add_sync(connection, act)
        return process_again(connection, [one.id for one in batch])


def _wait(connection: Sync, delivery_ids: set[int], deadline: float) -> None:
    waiting = delivery_ids
    while waiting and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        waiting = not_processed(connection, waiting)


def _rows(connection: Sync, before: Sequence[DeliverySummary]) -> Iterator[dict[str, Any]]:
    after = {one.id: one for one in summaries(connection, [one.id for one in before])}
    for one in before:
        now = after.get(one.id, replace(one, outcome=None, reason=""))
        yield {
            "received": one.received_at,
            "delivery": one.guid,
            "event": one.event,
            "repository": repository_of(one),
            "before": RESULTS[one.outcome],
            "result": RESULTS[now.outcome],
            "deployment": now.deployment_id,
            "environment": now.environment,
            "state": now.phase,
            "reason": reason_of(now, utc_now()),
        }


def _requested(one: DeliverySummary) -> dict[str, Any]:
    return {
        "received": one.received_at,
        "delivery": one.guid,
        "event": one.event,
        "repository": repository_of(one),
        "before": RESULTS[one.outcome],
        "result": "waiting",
        "reason": "",
    }


def _exit_code(rows: Sequence[Mapping[str, Any]], waiting: Waiting) -> int:
    if not waiting.wanted:
        return 0
    failed = sum(row["result"] == "failed" for row in rows)
    late = sum(row["result"] == "waiting" for row in rows)
    if late:
        see = f"{COMMAND} deliveries --outcome waiting lists them, {COMMAND} check the workers"
        click.echo(f"{late:,} still wait; {see}.", err=True)
    if failed:
        click.echo(f"{failed:,} failed; the reasons stand beside them.", err=True)
    return 1 if failed or late else 0

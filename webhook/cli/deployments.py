"""`python -m webhook deployments`: what is deployed, what it waits for, Cancel and Retry."""

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from webhook.cli.deployment_document import deployment_document, print_deployment
from webhook.cli.listing import WITHIN, ListingGroup, print_rows
from webhook.cli.requests import NOT_WAITED, print_result, request_action, wait_for
from webhook.cli.selection import Since
from webhook.deployments.blockers import in_full
from webhook.deployments.phases import FAILED, Phase
from webhook.errors import UserError
from webhook.logs import Redactor, hidden
from webhook.settings import Settings
from webhook.startup import set_up_command
from webhook.store import deployments
from webhook.store.actions import ActionRow
from webhook.store.database import Sync
from webhook.store.deployment_search import DeploymentSelection, find
from webhook.store.deployments import DeploymentRow
from webhook.store.schema import migrated_store
from webhook.text import json_text
from webhook.timing import utc_now

_EXPLAINED = (*FAILED, Phase.SUPERSEDED)
_COLUMNS = {
    "created": "created (UTC)",
    "deployment": "deployment",
    "repository": "repository",
    "environment": "environment",
    "ref": "ref",
    "by": "by",
    "state": "state",
    "reason": "reason",
}
Command = TypeVar("Command", bound=Callable[..., Any])


@click.group("deployments", cls=ListingGroup)
def deployments_group() -> None:
    """The deployments that the relay knows: without a command, list them."""


@deployments_group.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--repo", default="", metavar="OWNER/REPO", help="A name, or a pattern.")
@click.option("--environment", default="", metavar="NAME", help="A name, or a pattern.")
@click.option("--phase", type=click.Choice([one.value for one in Phase]), help="As it is now.")
@click.option("--open", "unended", is_flag=True, help="Only those that have not ended.")
@click.option(
    "--since", type=Since(), metavar="WHEN", help="From then on: 2h, 3d, 2026-11-28T02:04Z."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def list_deployments(
    *,
    limit: int,
    repo: str,
    environment: str,
    phase: str | None,
    unended: bool,
    since: datetime | None,
    as_json: bool,
) -> None:
    """List the newest deployments, their state, and why they wait or failed.

    Also without `list`.
    """
    selection = DeploymentSelection(
        repo=repo,
        environment=environment,
        phase=Phase(phase) if phase else None,
        unended=unended,
        since=since,
    )
    with migrated_store(set_up_command().settings) as (_, connection):
        found = find(connection, selection, limit)
    print_rows(_COLUMNS, [_row(one) for one in found], as_json=as_json)


def _row(one: DeploymentRow) -> dict[str, Any]:
    return {
        "created": one.created_at,
        "deployment": one.id,
        "repository": one.repo,
        "environment": one.environment,
        "ref": one.shown_ref,
        "sha": one.sha,
        "by": one.creator,
        "state": one.phase,
        "since": one.phase_at,
        "handler": one.handler,
        "reason": _reason(one),
    }


def _reason(one: DeploymentRow) -> str:
    if one.blockers:
        return in_full(one.blockers, utc_now())
    return one.tool_error or (one.status_description if one.phase in _EXPLAINED else "")


@deployments_group.command()
@click.argument("deployment_id", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with ids as text.")
def show(deployment_id: int, as_json: bool) -> None:
    """Show a deployment: its state, what it waits for and who can end that, its timeline.

    Also what GitHub has of it and what it rejected, its run, messages, actions and deliveries.
    """
    setup = set_up_command()
    with migrated_store(setup.settings) as (_, connection):
        row = _known(connection, setup.settings, deployment_id)
        document = hidden(deployment_document(connection, row), Redactor(setup.secrets))
    if as_json:
        click.echo(json_text(document))
    else:
        print_deployment(document)


def _known(connection: Sync, settings: Settings, deployment_id: int) -> DeploymentRow:
    row = deployments.read_sync(connection, deployment_id)
    if row is None:
        kept = settings.keep.deployments
        deleted = f"; old ones are deleted {kept.days} days after their end" if kept else ""
        raise UserError(f"The relay knows no deployment {deployment_id}{deleted}")
    return row


def _waits(command: Command) -> Command:
    """The options of what a worker does."""
    for option in reversed(_WAITING):
        command = option(command)
    return command


_WAITING = (
    click.argument("deployment_id", metavar="ID", type=int),
    click.option("--no-wait", is_flag=True, help="Do not wait for the result."),
    WITHIN,
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
)


@deployments_group.command()
@_waits
def cancel(*, deployment_id: int, no_wait: bool, within: timedelta, as_json: bool) -> None:
    """End a deployment that waits or runs, as the button in Slack does.

    Exit code: 0 it has ended, or need not be waited for; 1 it was refused or failed, or goes on
    still; 2 wrong usage.
    """
    setup = set_up_command()
    with migrated_store(setup.settings) as (_, connection):
        _known(connection, setup.settings, deployment_id)
        requested = request_action(connection, "cancel", deployment_id)
        result = NOT_WAITED if no_wait else wait_for(connection, requested, _cancelled, within)
    sys.exit(print_result(requested, result, as_json=as_json))


def _cancelled(connection: Sync, action: ActionRow) -> str | None:
    row = deployments.read_sync(connection, action.deployment_id or 0)
    if row is None or row.ended_at is None:
        return None
    return f"Deployment {row.id} has ended: it is '{row.phase}' ({row.status_description})"


@deployments_group.command()
@_waits
@click.option("--yes", is_flag=True, help="Do not ask first.")
def retry(
    *, deployment_id: int, no_wait: bool, within: timedelta, as_json: bool, yes: bool
) -> None:
    """Deploy the commit of a deployment that failed again, as the button in Slack does.

    GitHub gets a new deployment, whose gates are asked as those of any other. On a terminal, it
    asks first. Exit code: 0 it was created, or need not be waited for; 1 it was not; 2 wrong usage.
    """
    setup = set_up_command()
    with migrated_store(setup.settings) as (_, connection):
        row = _known(connection, setup.settings, deployment_id)
        if sys.stdin.isatty() and not yes:
            what = f"{row.shown_ref} ({row.sha[:7]}) of {row.repo}"
            question = f"Deploy {what} to {row.environment} again?"
            click.confirm(hidden(question, Redactor(setup.secrets)), abort=True, err=True)
        requested = request_action(connection, "retry", deployment_id)
        result = NOT_WAITED if no_wait else wait_for(connection, requested, _created, within)
    sys.exit(print_result(requested, result, as_json=as_json))


def _created(_connection: Sync, action: ActionRow) -> str | None:
    return f"Deployment {action.created_deployment_id} was requested"

"""What is requested at the command line is done by the workers, as what is requested in Slack."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import click

from handlers import durations
from webhook import logs
from webhook.cli.operator import operator
from webhook.deployments.actions import ActionRequest, Reply, Requester
from webhook.invocation import COMMAND
from webhook.store import actions, schedule
from webhook.store.actions import COMMAND_LINE, ActionRow
from webhook.store.database import Sync
from webhook.text import json_text

_POLL_SECONDS = 0.1
# What became of an action that was done, in a sentence; None: it is not known yet.
Finished: TypeAlias = Callable[[Sync, ActionRow], str | None]


@dataclass(frozen=True, slots=True)
class Requested:
    action_id: int
    kind: str
    deployment_id: int


@dataclass(frozen=True, slots=True)
class Result:
    """`action`: None where nobody waited for it."""

    action: ActionRow | None
    message: str
    exit_code: int


NOT_WAITED = Result(None, "Requested; a worker does it", 0)


def request_action(connection: Sync, name: str, deployment_id: int) -> Requested:
    """As a press on its button."""
    from webhook.slack.actions import ACTIONS

    action = ACTIONS[name]
    request = ActionRequest(
        key=secrets.token_hex(16),
        kind=action.name,
        requester=Requester("", "", operator()),
        reply=Reply(),
        exclusive_group=action.group(deployment_id, ""),
        deployment_id=deployment_id,
        source=COMMAND_LINE,
    )
    with connection.transaction():
        action_id = actions.keep(connection, request)
        assert action_id is not None, "its key is new"
        schedule.request_sync(connection, [schedule.Key("run_action", action_id)])
    return Requested(action_id, action.name, deployment_id)


def wait_for(
    connection: Sync, requested: Requested, finished: Finished, within: timedelta
) -> Result:
    try:
        return _wait(connection, requested, finished, within)
    except KeyboardInterrupt:
        see = f"{COMMAND} deployments show {requested.deployment_id}"
        message = "Interrupted: it is requested, and a worker does it in any case"
        return Result(None, f"{message}; {see} says what became of it", 1)


def _wait(connection: Sync, requested: Requested, finished: Finished, within: timedelta) -> Result:
    deadline = time.monotonic() + within.total_seconds()
    while True:
        action = actions.read_sync(connection, requested.action_id)
        if action is not None and not action.open:
            if action.outcome != "done":
                return Result(action, action.message, 1)
            if message := finished(connection, action):
                return Result(action, message, 0)
        if time.monotonic() >= deadline:
            return Result(action, _late(action, requested, within), 1)
        time.sleep(_POLL_SECONDS)


def _late(action: ActionRow | None, requested: Requested, within: timedelta) -> str:
    waited = durations.write(within.total_seconds())
    see = f"{COMMAND} deployments show {requested.deployment_id}"
    if action is None or action.open:
        return f"No worker has done it within {waited}; {see} says later what became of it"
    return f"It is requested, and has not ended within {waited}; {see} says how it goes on"


def print_result(requested: Requested, result: Result, *, as_json: bool) -> int:
    """The exit code."""
    action = result.action
    if as_json:
        created = action.created_deployment_id if action else None
        document = {
            "action": requested.kind,
            "deployment": str(requested.deployment_id),
            "outcome": action.outcome if action else "waiting",
            "code": action.code if action else "",
            "created": str(created) if created else None,
            "message": result.message,
        }
        click.echo(json_text(logs.hidden(document, logs.redactor)))
    else:
        message = logs.redactor.text(result.message.rstrip("."))
        click.echo(f"{message}.", err=bool(result.exit_code))
    return result.exit_code

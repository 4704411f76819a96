"""`python -m webhook slack …`: the Slack app, its installations and what it posts."""

import asyncio
import json
import os
from datetime import datetime, timedelta
from typing import Any

import click

from webhook import startup
from webhook.cli.listing import print_rows
from webhook.config.environments import Environment
from webhook.config.routing import route
from webhook.deployments.notice import DeploymentNotice, NoticeEntry
from webhook.deployments.phases import Phase
from webhook.errors import UserError
from webhook.invocation import COMMAND
from webhook.security.cipher import Cipher, DecryptionError
from webhook.startup import Setup
from webhook.store import actions, notices, slack_installations
from webhook.store.actions import ActionRow
from webhook.store.schema import migrated_store
from webhook.store.slack_installations import Installation

# Of samples: a queued one may be held back by its gates.
ON_HOLD = "on_hold"
STATES = [*(phase.value for phase in Phase if phase is not Phase.SEEN), ON_HOLD]


@click.group()
def slack() -> None:
    """Create the Slack app, install it, rotate the key of its tokens."""


@slack.command()
@click.option("--plain", is_flag=True, help="An app that only posts.")
@click.option("--socket-mode", is_flag=True, help="For a relay that Slack cannot reach.")
@click.option("--rotate-tokens", is_flag=True, help="Tokens expire; Slack cannot undo it.")
@click.option("--link", "only_link", is_flag=True, help="Print only the link.")
@click.option("--json", "only_json", is_flag=True, help="Print only the manifest.")
def manifest(
    plain: bool, socket_mode: bool, rotate_tokens: bool, only_link: bool, only_json: bool
) -> None:
    """Print the app's manifest for this relay.

    Below it is a link that creates the app. It needs GITPLOY_SERVER_HOST only.
    """
    from webhook.slack import manifest as slack_manifest

    if plain and socket_mode:
        raise UserError(
            "--plain is an app that only posts, so Slack sends nothing that --socket-mode could"
            " receive; leave one of them out"
        )
    if only_link and only_json:
        raise UserError("--link and --json each print one part alone; leave one of them out")
    host = slack_manifest.Host.from_environ(os.environ)
    if plain:
        document = slack_manifest.plain(host, rotates=rotate_tokens)
    else:
        by_socket = socket_mode or host.by_socket
        document = slack_manifest.whole(host, socket_mode=by_socket, rotates=rotate_tokens)
    if not only_link:
        click.echo(json.dumps(document, indent=2) + ("" if only_json else "\n"))
    if not only_json:
        click.echo(slack_manifest.link(document))
    _warn_of_http(host.server_url)


@slack.command("install-link")
def install_link() -> None:
    """Print a link that installs the app in a workspace.

    The link works once, within an hour, while the relay runs.
    """
    from webhook.slack.install.views import LINK_SECONDS
    from webhook.slack.install.views import install_link as make

    settings = startup.set_up(os.environ).settings
    if not settings.slack.client_id:
        raise UserError(
            "GITPLOY_SLACK_CLIENT_ID and GITPLOY_SLACK_CLIENT_SECRET are not set; take both from"
            " the Slack app's Basic Information > App Credentials at api.slack.com/apps, set them"
            f" and restart the relay. To make the app: {COMMAND} slack manifest"
        )
    with migrated_store(settings) as (_, connection):
        until = datetime.now().astimezone() + timedelta(seconds=LINK_SECONDS)
        click.echo(make(connection, settings.server_url))
    click.echo(
        f"It works once, until {until:%H:%M %Z}, while the relay runs; open it in one browser"
        " and stay there.",
        err=True,
    )
    _warn_of_http(settings.server_url)


@slack.command("rotate-key")
def rotate_key() -> None:
    """Encrypt the stored tokens with the newest key.

    The newest key is the first one in GITPLOY_SECRET_KEY; the old ones follow it.
    """
    setup = startup.set_up(os.environ)
    cipher = Cipher(setup.secret_keys)
    with migrated_store(setup.settings) as (_, connection):
        installed = slack_installations.every_sync(connection)
        if unreadable := [one for one in installed if not _can_decrypt(cipher, one)]:
            names = ", ".join(f"{one.team_name} ({one.team})" for one in unreadable)
            raise UserError(f"Nothing was changed. {names}: {DecryptionError()}")
        count = slack_installations.rotate_all(connection, cipher.rotate)
    if count:
        workspaces = "1 workspace" if count == 1 else f"{count} workspaces"
        click.echo(f"The tokens of {workspaces} are encrypted with the newest key.")
    else:
        click.echo("No workspace is installed, so there is nothing to encrypt.")


@slack.command()
@click.option("--deployment", "deployment_id", type=int, help="A deployment in the store.")
@click.option(
    "--state", type=click.Choice(STATES), help="State of the sample; the final ones by default."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print Block Kit, for Slack's Block Kit Builder."
)
def preview(deployment_id: int | None, state: str | None, as_json: bool) -> None:
    """Print what would be posted where; nothing is posted."""
    from webhook.slack.actions import ACTIONS
    from webhook.slack.blocks import terminal

    setup = startup.set_up(os.environ)
    if deployment_id is None:
        held = state == ON_HOLD
        phase = Phase(state) if state and not held else None
        previews = terminal.samples(
            setup.settings, setup.config, ACTIONS.values(), phase, on_hold=held
        )
    else:
        with migrated_store(setup.settings) as (url, _):
            environment, notice, entries = asyncio.run(_stored(setup, url, deployment_id))
        previews = terminal.of_deployment(environment, notice, entries)
    click.echo(terminal.render(previews, as_json=as_json))


async def _stored(
    setup: Setup, url: str, deployment_id: int
) -> tuple[Environment | None, DeploymentNotice, list[NoticeEntry]]:
    from webhook.engine.notify import build_notice, notice_entry
    from webhook.slack.actions import ACTIONS
    from webhook.worker import open_services

    async with open_services(setup, url, actions=ACTIONS) as services:
        async with services.pool.connection() as connection:
            found = await notices.read(connection, deployment_id, purpose="reply")
        if found is None:
            message = f"The store has no deployment {deployment_id}"
            raise UserError(f"{message}; its number is in the address of its page")
        row, context = found
        notice = await build_notice(services, row, context)
    environment = route(setup.config, row.repo, row.environment)
    return environment, notice, [notice_entry(entry) for entry in context.news]


@slack.command("actions")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def audit(limit: int, as_json: bool) -> None:
    """List actions requested in Slack, with person and result."""
    with migrated_store(startup.set_up(os.environ).settings) as (_, connection):
        found = actions.newest(connection, limit)
    print_rows(_COLUMNS, [_row(action) for action in found], as_json=as_json)


_COLUMNS = {
    "at": "at (UTC)",
    "login": "login",
    "slack_user": "Slack user",
    "action": "action",
    "deployment": "deployment",
    "repository": "repository",
    "environment": "environment",
    "ref": "ref",
    "result": "result",
    "created": "created",
    "message": "message",
}


def _row(action: ActionRow) -> dict[str, Any]:
    # The id of a person of another workspace already begins with that workspace.
    user = action.slack_user if "/" in action.slack_user else f"{action.team}/{action.slack_user}"
    return {
        "at": action.at,
        "login": action.login or "unknown",
        "slack_user": f"@{action.slack_name} ({user})",
        "action": action.kind,
        "deployment": action.deployment_id,
        "repository": action.repo,
        "environment": action.environment,
        "ref": action.ref,
        "result": action.outcome,
        "created": action.created_deployment_id,
        "message": action.message,
    }


def _can_decrypt(cipher: Cipher, installation: Installation) -> bool:
    try:
        cipher.decrypt(installation.token)
        cipher.decrypt(installation.refresh_token or installation.token)
    except DecryptionError:
        return False
    return True


def _warn_of_http(server_url: str) -> None:
    if not server_url.startswith("https://"):
        click.echo(
            f"Note: Slack takes https:// addresses only, and this relay's is {server_url};"
            " see GITPLOY_SERVER_PROTO.",
            err=True,
        )

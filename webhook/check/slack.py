"""Slack: where the app is installed, and what it may do there.

Source: docs.slack.dev/reference/methods (auth.test, apps.connections.open: it hands out an address
for a connection, and opens none). Errors become findings.
"""

from collections.abc import Iterator, Sequence

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from webhook import startup
from webhook.check import Finding, Level
from webhook.config.environments import Config
from webhook.errors import RelayError
from webhook.invocation import COMMAND
from webhook.security.cipher import Cipher, DecryptionError
from webhook.settings import Settings, SlackSettings
from webhook.slack.client import Slack
from webhook.slack.destination import Destination, destinations_of
from webhook.slack.manifest import HISTORY, INTERACTIONS_PATH, required_scopes
from webhook.store.slack_installations import Installation

INSTALL = f"run: {COMMAND} slack install-link"
BY_HAND = "add it under OAuth & Permissions of the Slack app, and install the app there again"
_SET_AGAIN = (
    "set GITPLOY_SLACK_APP_TOKEN again: the Slack app's Basic Information, App-Level Tokens"
)
_TOKEN_ERRORS = {
    "invalid_auth",
    "not_authed",
    "not_allowed_token_type",
    "token_revoked",
    "account_inactive",
}


async def check_slack(
    settings: Settings,
    config: Config | None,
    installed: Sequence[Installation],
    session: aiohttp.ClientSession,
) -> list[Finding]:
    destinations = [one for env in (config.envs if config else ()) for one in destinations_of(env)]
    level: Level = "error" if any(one.channel or one.failures for one in destinations) else "note"
    slack = settings.slack
    if not slack.used:
        message = "neither GITPLOY_SLACK_CLIENT_ID nor GITPLOY_SLACK_BOT_TOKEN is set, so nothing"
        return [Finding(level, "Slack", f"{message} is posted in Slack")]
    found: list[Finding] = []
    if slack.bot_token:
        found += await _workspace(slack.bot_token, settings, session, destinations)
    elif not installed:
        message = f"the app is installed in no workspace; {INSTALL}"
        return [Finding(level, "Slack", message)]
    cipher = Cipher(startup.secret_keys(settings)) if installed else None
    for one in installed:
        assert cipher is not None
        found += await _installed(one, cipher, settings, session, destinations)
    actions = [*_actions(settings), *await _by_socket(slack, session)]
    return [*found, *_unknown_workspaces(settings, installed, destinations), *actions]


async def _installed(
    one: Installation,
    cipher: Cipher,
    settings: Settings,
    session: aiohttp.ClientSession,
    destinations: Sequence[Destination],
) -> list[Finding]:
    subject = f"Slack {one.team_name}"
    if one.error:
        return [Finding("error", subject, one.error)]
    try:
        token = cipher.decrypt(one.token)
    except DecryptionError as error:
        return [Finding("error", subject, str(error))]
    return await _workspace(token, settings, session, destinations)


async def _workspace(
    token: str,
    settings: Settings,
    session: aiohttp.ClientSession,
    destinations: Sequence[Destination],
) -> list[Finding]:
    slack = settings.slack
    try:
        bot = await Slack(token, slack.base_url, session).bot()
    except RelayError as error:
        return [Finding("error", "Slack", str(error))]
    found = [Finding("ok", "Slack", f"the bot is @{bot.name} in {bot.team_name} ({bot.team})")]
    if bot.scopes is None:
        message = "Slack does not name those of the token, so whether one lacks is not known"
        return [*found, Finding("note", "Slack scopes", message), *_channels(destinations)]
    has = ", ".join(sorted(bot.scopes))
    required = required_scopes(slack.scopes, actions_enabled=slack.actions_enabled)
    if missing := ", ".join(sorted(required - bot.scopes)):
        remedy = BY_HAND if slack.bot_token else INSTALL
        found.append(Finding("error", "Slack scopes", f"lacks {missing}; {remedy}"))
    elif not bot.scopes & HISTORY:
        message = (
            f"has {has}; with channels:history (groups:history) a message whose response was lost"
            " is searched for before it is posted again"
        )
        found.append(Finding("note", "Slack scopes", message))
    else:
        found.append(Finding("ok", "Slack scopes", has))
        found += _channels(destinations)
    return found


def _channels(destinations: Sequence[Destination]) -> Iterator[Finding]:
    """Slack lets a bot read the history of a channel by its id only."""
    named = {channel for one in destinations for channel in (one.channel, one.failures)}
    names = ", ".join(sorted(name for name in named if name and name.startswith("#")))
    if names:
        message = f"{names}: with the channel's id (C...) even its first post is never repeated"
        yield Finding("note", "Slack channels", message)


def _unknown_workspaces(
    settings: Settings, installed: Sequence[Installation], destinations: Sequence[Destination]
) -> Iterator[Finding]:
    """Channels whose workspace is not known."""
    teams = {one.team for one in installed if not one.error}
    for missing in sorted({one.workspace or "" for one in destinations} - teams - {""}):
        if not settings.slack.bot_token:
            message = f"deploy.yml names workspace {missing}, where the app is not installed"
            yield Finding("error", "Slack", f"{message}; {INSTALL}")
    if len(teams) > 1 and not settings.slack.bot_token:
        names = sorted(
            {
                channel
                for one in destinations
                if not one.workspace
                for channel in _named(one)
                if channel
            }
        )
        if names:
            message = f"name the workspace of {', '.join(names)}: 'workspace: T…' in deploy.yml"
            yield Finding("error", "Slack", f"{message}; installed: {', '.join(sorted(teams))}")


def _named(one: Destination) -> tuple[str | None, str | None]:
    return one.channel, one.failures


def _actions(settings: Settings) -> Iterator[Finding]:
    slack = settings.slack
    if not slack.actions_enabled:
        message = "without GITPLOY_SLACK_SIGNING_SECRET or GITPLOY_SLACK_APP_TOKEN there are none"
        yield Finding("note", "Slack actions", f"{message} (buttons, /deploy)")
    if slack.signing_secret:
        url = f"{settings.server_url}{INTERACTIONS_PATH}"
        message = "the first press shows whether the Slack app has that address"
        yield Finding("note", "Slack actions", f"expected at {url}; {message}")


async def _by_socket(slack: SlackSettings, session: aiohttp.ClientSession) -> list[Finding]:
    token = slack.app_token
    if not token:
        return []
    client = Slack(token, slack.base_url, session).client
    try:
        await client.apps_connections_open(app_token=token)
    except SlackApiError as error:
        return [Finding("error", "Slack Socket Mode", _rejection(error))]
    # AttributeError: as in webhook.slack.client.
    except (
        SlackClientError,
        aiohttp.ClientError,
        TimeoutError,
        ValueError,
        AttributeError,
    ) as error:
        message = f"Slack gave no clear response ({type(error).__name__})"
        return [Finding("error", "Slack Socket Mode", message)]
    return [Finding("ok", "Slack actions", "come by Socket Mode")]


def _rejection(error: SlackApiError) -> str:
    data = getattr(error.response, "data", None)
    code = str(data.get("error", "")) if isinstance(data, dict) else ""
    if not code:
        return f"Slack gave no clear response (HTTP {getattr(error.response, 'status_code', '')})"
    remedy = _SET_AGAIN if code in _TOKEN_ERRORS else "see docs.slack.dev for this error"
    if code == "missing_scope":
        remedy = f"{_SET_AGAIN}, with the scope connections:write"
    return f"Slack returned {code} for the app token; {remedy}"

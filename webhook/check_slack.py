"""What `check` finds out about Slack: where the app is installed, and what it may do there."""

from collections.abc import Iterator, Sequence

import aiohttp

from webhook import start
from webhook.check_findings import Finding, Kind
from webhook.deployments.config import Config
from webhook.deployments.slack_config import Destination
from webhook.errors import RelayError
from webhook.outbound.slack import HISTORY_SCOPES, Slack
from webhook.settings import Settings
from webhook.store.slack_installations import Installation
from webhook.vault import Sealed, Vault

INSTALL = "run: python -m webhook slack install-link"


async def look_at_slack(
    settings: Settings,
    config: Config | None,
    installed: Sequence[Installation],
    session: aiohttp.ClientSession,
) -> list[Finding]:
    wanted = [one for env in (config.envs if config else ()) for one in env.slack or ()]
    kind: Kind = "fault" if any(one.channel or one.failures for one in wanted) else "note"
    slack = settings.slack
    if not slack.used:
        words = "neither GITPLOY_SLACK_CLIENT_ID nor GITPLOY_SLACK_BOT_TOKEN is set, so Slack hears"
        return [Finding(kind, "Slack", f"{words} of nothing")]
    found: list[Finding] = []
    if slack.bot_token:
        found += await _workspace(Slack(slack.bot_token, slack.base_url, session), wanted)
    elif not installed:
        words = f"the app is installed in no workspace; {INSTALL}"
        return [Finding(kind, "Slack", words)]
    vault = Vault(start.secret_keys(settings)) if installed else None
    for one in installed:
        assert vault is not None
        found += await _installed(one, vault, settings, session, wanted)
    return [*found, *_unclear(settings, installed, wanted), *_answers(settings)]


async def _installed(
    one: Installation,
    vault: Vault,
    settings: Settings,
    session: aiohttp.ClientSession,
    wanted: Sequence[Destination],
) -> list[Finding]:
    subject = f"Slack {one.team_name}"
    if one.trouble:
        return [Finding("fault", subject, one.trouble)]
    try:
        token = vault.open(one.token)
    except Sealed as sealed:
        return [Finding("fault", subject, str(sealed))]
    return await _workspace(Slack(token, settings.slack.base_url, session), wanted)


async def _workspace(slack: Slack, wanted: Sequence[Destination]) -> list[Finding]:
    try:
        bot = await slack.bot()
    except RelayError as error:
        return [Finding("fault", "Slack", str(error))]
    found = [Finding("ok", "Slack", f"the bot is @{bot.name} in {bot.team_name} ({bot.team})")]
    if "chat:write" not in bot.scopes:
        words = "the Slack app lacks chat:write; add it and install the app again"
        found.append(Finding("fault", "Slack scopes", words))
    elif not bot.scopes & HISTORY_SCOPES:
        words = "chat:write; with channels:history a crash could never post twice"
        found.append(Finding("note", "Slack scopes", words))
    else:
        found.append(Finding("ok", "Slack scopes", ", ".join(sorted(bot.scopes))))
        found += _channels(wanted)
    return found


def _channels(wanted: Sequence[Destination]) -> Iterator[Finding]:
    """Slack lets a bot read the history of a channel by its id only."""
    named = {channel for one in wanted for channel in (one.channel, one.failures)}
    names = ", ".join(sorted(name for name in named if name and name.startswith("#")))
    if names:
        words = f"{names}: with the channel's id (C...) not even its first post could come twice"
        yield Finding("note", "Slack channels", words)


def _unclear(
    settings: Settings, installed: Sequence[Installation], wanted: Sequence[Destination]
) -> Iterator[Finding]:
    """Channels of which nobody knows in which workspace they are."""
    teams = {one.team for one in installed}
    for missing in sorted({one.workspace or "" for one in wanted} - teams - {""}):
        if not settings.slack.bot_token:
            words = f"deploy.yml names workspace {missing}, where the app is not installed"
            yield Finding("fault", "Slack", f"{words}; {INSTALL}")
    if len(teams) > 1 and not settings.slack.bot_token:
        names = sorted(
            {channel for one in wanted if not one.workspace for channel in _named(one) if channel}
        )
        if names:
            words = f"say in which workspace {', '.join(names)} is: 'workspace: T…' in deploy.yml"
            yield Finding("fault", "Slack", f"{words}; installed: {', '.join(sorted(teams))}")


def _named(one: Destination) -> tuple[str | None, str | None]:
    return one.channel, one.failures


def _answers(settings: Settings) -> Iterator[Finding]:
    slack = settings.slack
    if not slack.answers:
        words = "without GITPLOY_SLACK_SIGNING_SECRET or GITPLOY_SLACK_APP_TOKEN nobody can answer"
        yield Finding("note", "Slack answers", f"{words} in Slack (buttons, /deploy)")
    elif slack.app_token:
        yield Finding("ok", "Slack answers", "come by Socket Mode")
    else:
        yield Finding("ok", "Slack answers", f"come to {settings.server_url}/slack/interactions")

"""`python -m webhook check`: whether everything is in place, a line for each thing looked at."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import aiohttp
import click
import psycopg

from handlers.contract import Options
from webhook import logs, start
from webhook.deployments.config import Config
from webhook.errors import RelayError
from webhook.outbound.github import TIMEOUT, GitHub
from webhook.outbound.slack import HISTORY_SCOPES, Slack
from webhook.settings import Settings
from webhook.store import database, health, slack_messages

NEEDED_EVENTS = ("deployment", "deployment_status")
NEEDED_PERMISSIONS = {"deployments": "write", "metadata": "read"}
_LEVELS = ("none", "read", "write", "admin")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `words` say what was found and, where it is not ok, what to do."""

    kind: Literal["ok", "note", "fault"]
    subject: str
    words: str

    def line(self) -> str:
        colour = {"ok": "green", "note": "yellow", "fault": "red"}[self.kind]
        return f"{click.style(f'{self.kind:5}', fg=colour)} {self.subject}: {self.words}"


async def check(environ: Mapping[str, str], echo: Callable[[str], object]) -> bool:
    """Print the findings; True where there is no fault."""
    settings, config, faults = start.read(environ)
    findings = [Finding("fault", "configuration", words) for words in faults]
    if settings is not None:
        logs.set_up(settings.secrets)
        findings += [Finding("note", "settings", words) for words in settings.warnings]
        if config is not None:
            findings += _routes(config)
        findings += await asyncio.to_thread(lambda: list(_store(settings)))
        async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True) as session:
            findings += await _github(GitHub(settings, session), config)
            findings += await _slack(settings, config, session)
    redact = logs.Redactor(settings.secrets if settings else ())
    for finding in findings:
        echo(redact.text(finding.line()))
    return not any(finding.kind == "fault" for finding in findings)


def _routes(config: Config) -> Iterator[Finding]:
    names = ", ".join(f"{env.name} -> {env.handler}" for env in config.envs)
    yield Finding("ok", "deploy.yml", names)


def _store(settings: Settings) -> Iterator[Finding]:
    try:
        with start.store(settings) as url, database.connect(url) as connection:
            found = health.revision(connection)
            if found != health.NEWEST_REVISION:
                words = f"is at migration {found or 'none'}; run: python -m webhook migrate"
                yield Finding("fault" if settings.store_source else "note", "store", words)
                return
            kind = "PostgreSQL" if settings.store_source else "the embedded PostgreSQL"
            yield Finding("ok", "store", f"{kind} answers, its tables are up to date")
            yield from _traces(health.seconds_since_heartbeat(connection))
            for channel, trouble in slack_messages.lately_in_trouble(connection):
                yield Finding("fault", f"Slack {channel}", trouble)
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0]
        yield Finding("fault", "store", f"{reason}; check GITPLOY_STORE_SOURCE or DATABASE_URL")
    except OSError as error:
        words = f"the embedded PostgreSQL cannot be started: {error.strerror}"
        yield Finding("fault", "store", f"{words}; check GITPLOY_DATA_DIR")


def _traces(seconds: float | None) -> Iterator[Finding]:
    if seconds is None:
        yield Finding("note", "worker", "none runs now")
    else:
        yield Finding("ok", "worker", f"last heard of {seconds:.0f} s ago")


async def _github(github: GitHub, config: Config | None) -> list[Finding]:
    try:
        app = await github.app()
        slug = app["slug"]
    except RelayError as error:
        remedy = (
            "check GITPLOY_GITHUB_APP_ID, the private key and GITPLOY_GITHUB_BASE_URL"
            " (https://HOST/api/v3 of a GitHub Enterprise Server)"
        )
        return [Finding("fault", "GitHub", f"{error}; {remedy}")]
    except (KeyError, TypeError):
        words = "what answers is not GitHub's API; check GITPLOY_GITHUB_BASE_URL"
        return [Finding("fault", "GitHub", words)]
    page = f"{app['html_url']}: Permissions & events"
    envs = config.envs if config else ()
    options = [env.options for env in envs if isinstance(env.options, Options)]
    return [
        Finding("ok", "GitHub", f"the App is {slug} (ID {app['id']})"),
        *_events(app["events"], options, page),
        *_permissions(app["permissions"], options, page),
    ]


def _events(events: Iterable[str], options: Iterable[Options], page: str) -> Iterator[Finding]:
    subscribed = set(events)
    missing = [event for event in NEEDED_EVENTS if event not in subscribed]
    useful = {event for chosen in options for event in chosen.events()}
    if missing:
        yield Finding("fault", "events", f"subscribe to {' and '.join(missing)} at {page}")
    else:
        yield Finding("ok", "events", ", ".join((*NEEDED_EVENTS, *sorted(useful & subscribed))))
    if useful - subscribed:
        names = " and ".join(sorted(useful - subscribed))
        words = f"without {names} runs are only looked at now and then; subscribe at {page}"
        yield Finding("note", "events", words)


def _permissions(
    permissions: Mapping[str, str], options: Iterable[Options], page: str
) -> Iterator[Finding]:
    needed = dict(NEEDED_PERMISSIONS)
    for chosen in options:
        for name, level in chosen.permissions().items():
            needed[name] = max(level, needed.get(name, "none"), key=_LEVELS.index)
    missing = [
        f"{name}: {level}"
        for name, level in needed.items()
        if _LEVELS.index(permissions.get(name, "none")) < _LEVELS.index(level)
    ]
    if missing:
        yield Finding("fault", "permissions", f"give {' and '.join(missing)} at {page}")
    else:
        words = ", ".join(f"{name}: {level}" for name, level in sorted(permissions.items()))
        yield Finding("ok", "permissions", words)


async def _slack(
    settings: Settings, config: Config | None, session: aiohttp.ClientSession
) -> list[Finding]:
    told = config is not None and any(
        env.slack.channel or env.slack.failures for env in config.envs
    )
    if not settings.slack_bot_token:
        words = "no GITPLOY_SLACK_BOT_TOKEN, so Slack hears of nothing"
        return [Finding("fault" if told else "note", "Slack", words)]
    try:
        bot = await Slack(settings.slack_bot_token, settings.slack_base_url, session).bot()
    except RelayError as error:
        return [Finding("fault", "Slack", str(error))]
    found = [Finding("ok", "Slack", f"the bot is @{bot.name} in {bot.team_name}")]
    if "chat:write" not in bot.scopes:
        words = "the Slack app lacks chat:write; add it and install the app again"
        found.append(Finding("fault", "Slack scopes", words))
    elif not bot.scopes & HISTORY_SCOPES:
        words = "chat:write; with channels:history a crash could never post twice"
        found.append(Finding("note", "Slack scopes", words))
    else:
        found.append(Finding("ok", "Slack scopes", ", ".join(sorted(bot.scopes))))
        found += _channels(config)
    return found


def _channels(config: Config | None) -> Iterator[Finding]:
    """Slack lets a bot read the history of a channel by its id only."""
    envs = config.envs if config else ()
    named = {channel for env in envs for channel in (env.slack.channel, env.slack.failures)}
    names = ", ".join(sorted(name for name in named if name and name.startswith("#")))
    if names:
        words = f"{names}: with the channel's id (C...) not even its first post could come twice"
        yield Finding("note", "Slack channels", words)

"""`python -m webhook check`: whether everything is in place, a line for each thing looked at."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence

import aiohttp
import psycopg

from handlers.contract import HandlerContext
from handlers.http import Http
from webhook import logs, startup
from webhook.check.findings import Finding
from webhook.check.github import look_at_github
from webhook.check.slack import look_at_slack
from webhook.check.tools import look_at_tools
from webhook.config.load import Config
from webhook.github.client import TIMEOUT, GitHub
from webhook.github.handler_api import ToolsGitHub
from webhook.notifiers import title_of
from webhook.settings import Settings
from webhook.store import database, jobs, outbox, schema, slack_installations
from webhook.store.embedded import store_url
from webhook.store.slack_installations import Installation


async def check(environ: Mapping[str, str], echo: Callable[[str], object]) -> bool:
    """Print the findings; True where there is no fault."""
    settings, config, faults = startup.read(environ)
    secrets = {*(settings.secrets if settings else ()), *(config.secrets if config else ())}
    findings = [Finding("fault", "configuration", words) for words in faults]
    if settings is not None:
        logs.set_up(secrets)
        findings += [Finding("note", "settings", words) for words in settings.warnings]
        if config is not None:
            findings += _routes(config)
        workspaces: list[Installation] = []
        findings += await asyncio.to_thread(lambda: list(_store(settings, workspaces)))
        findings += await _outside(settings, config, environ, workspaces)
    redact = logs.Redactor(secrets)
    for finding in findings:
        echo(redact.text(finding.line()))
    return not any(finding.kind == "fault" for finding in findings)


async def _outside(
    settings: Settings,
    config: Config | None,
    environ: Mapping[str, str],
    workspaces: Sequence[Installation],
) -> list[Finding]:
    """GitHub, Slack and the tools, all at once."""
    async with aiohttp.ClientSession(
        timeout=TIMEOUT, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        github = GitHub(settings, session)
        context = HandlerContext(
            data_dir=settings.data_dir,
            environ=environ,
            http=Http(session),
            github=ToolsGitHub(github),
        )
        parts = await asyncio.gather(
            look_at_github(github, config),
            look_at_slack(settings, config, workspaces, session),
            look_at_tools(config.envs if config else (), context),
        )
    return [finding for part in parts for finding in part]


def _routes(config: Config) -> Iterator[Finding]:
    names = ", ".join(f"{env.name} -> {env.handler}" for env in config.envs)
    yield Finding("ok", "deploy.yml", names)


def _store(settings: Settings, workspaces: list[Installation]) -> Iterator[Finding]:
    """`workspaces` is filled with those where the Slack app is installed."""
    try:
        with store_url(settings) as url, database.connect(url) as connection:
            found = schema.revision(connection)
            if found != schema.NEWEST_REVISION:
                words = f"is at migration {found or 'none'}; run: python -m webhook migrate"
                yield Finding("fault" if settings.store_source else "note", "store", words)
                return
            kind = "PostgreSQL" if settings.store_source else "the embedded PostgreSQL"
            yield Finding("ok", "store", f"{kind} answers, its tables are up to date")
            yield from _traces(jobs.seconds_since_heartbeat(connection))
            workspaces += slack_installations.every_sync(connection)
            for destination, error in outbox.lately_rejected(connection):
                yield Finding("fault", " ".join(title_of(destination)), error)
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

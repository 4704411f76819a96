"""Runs all checks: the settings and the store first, then GitHub, Slack and the tools at once."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from handlers.contract import HandlerContext
from handlers.http import Http
from webhook import logs, startup
from webhook.check import Finding
from webhook.check.deliveries import check_hook
from webhook.check.github import check_github
from webhook.check.patterns import check_patterns
from webhook.check.people import check_people
from webhook.check.reviews import check_reviews
from webhook.check.sign_in import check_sign_in
from webhook.check.slack import check_slack
from webhook.check.store import Stored, check_store
from webhook.check.tools import check_tools
from webhook.config.environments import Config
from webhook.github.client import GitHub, ToolsGitHub
from webhook.sessions import open_session
from webhook.settings import Settings


async def check(environ: Mapping[str, str], echo: Callable[[str], object]) -> bool:
    """Print the findings; True if none is an error."""
    settings, config, _ = startup.read(environ)
    if settings is not None and startup.user_to_be(settings) is None:
        logs.set_up(_secrets(environ, settings, config))
    found = await findings(environ)
    for finding in found:
        echo(finding.line())
    return not any(finding.level == "error" for finding in found)


async def findings(environ: Mapping[str, str]) -> list[Finding]:
    """All of it, as deploy.yml is now, without secrets."""
    settings, config, errors = startup.read(environ)
    found = [Finding("error", "configuration", message) for message in errors]
    if settings is not None and startup.user_to_be(settings) is None:
        found += [Finding("note", "settings", message) for message in settings.warnings]
        if config is not None:
            found.append(_routes(config))
            found += check_patterns(config)
        stored = Stored()
        found += await asyncio.to_thread(lambda: list(check_store(settings, config, stored)))
        found += await _check_others(settings, config, environ, stored)
    redactor = logs.Redactor(_secrets(environ, settings, config))
    return [replace(one, message=redactor.text(one.message)) for one in found]


def _secrets(
    environ: Mapping[str, str], settings: Settings | None, config: Config | None
) -> set[str]:
    secrets = startup.secret_values(environ)
    return secrets | {*(settings.secrets if settings else ()), *(config.secrets if config else ())}


def _routes(config: Config) -> Finding:
    routes = ", ".join(f"{env.name} -> {env.handler}" for env in config.envs)
    return Finding("ok", "deploy.yml", routes)


async def _check_others(
    settings: Settings,
    config: Config | None,
    environ: Mapping[str, str],
    stored: Stored,
) -> list[Finding]:
    async with open_session() as session:
        github = GitHub(settings, session)
        context = HandlerContext(
            data_dir=settings.data_dir,
            environ=environ,
            http=Http(session),
            github=ToolsGitHub(github),
        )
        parts = await asyncio.gather(
            check_github(github, config),
            check_hook(github, settings, stored.silent_for),
            check_sign_in(settings, session),
            check_slack(settings, config, stored.installed, session),
            check_people(github, config),
            check_reviews(github, config),
            check_tools(config.envs if config else (), context),
        )
    return [finding for part in parts for finding in part]

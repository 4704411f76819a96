"""What `check` asks of GitHub: the App, and where it is installed.

An App that is given a permission has it in an installation only after the owner there has accepted
it, and until then GitHub refuses, and keeps back the events that need it.

Source: https://docs.github.com/apps/using-github-apps/approving-updated-permissions-for-a-github-app
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from handlers.contract import Options
from webhook.check.findings import Finding, listed
from webhook.config.environments import Config, Environment
from webhook.errors import RelayError
from webhook.github.client import MOST_INSTALLATIONS, GitHub, Installation

NEEDED_EVENTS = ("deployment", "deployment_status")
NEEDED_PERMISSIONS = {"deployments": "write", "metadata": "read"}
MOST_LINES = 20
_LEVELS = ("none", "read", "write", "admin")

Permissions = Mapping[str, str]


async def look_at_github(github: GitHub, config: Config | None) -> list[Finding]:
    envs = config.envs if config else ()
    try:
        app = await github.app()
        found = list(_app(app, envs))
    except RelayError as error:
        remedy = (
            "check GITPLOY_GITHUB_APP_ID, the private key and GITPLOY_GITHUB_BASE_URL"
            " (https://HOST/api/v3 of a GitHub Enterprise Server)"
        )
        return [Finding("fault", "GitHub", f"{error}; {remedy}")]
    except (KeyError, TypeError, AttributeError):
        words = "what answers is not GitHub's API; check GITPLOY_GITHUB_BASE_URL"
        return [Finding("fault", "GitHub", words)]
    try:
        installations = await github.installations()
    except RelayError as error:
        return [*found, Finding("fault", "installations", str(error))]
    return [*found, *_installations(installations, app, envs)]


def _app(app: Mapping[str, Any], envs: Sequence[Environment]) -> Iterator[Finding]:
    page = f"{app['html_url']}: Permissions & events"
    options = _options(envs)
    yield Finding("ok", "GitHub", f"the App is {app['slug']} (ID {app['id']})")
    yield from _events(app["events"], options, page)
    yield _permissions(app["permissions"], _needed(options), page)
    if "contents" not in app["permissions"] and any(
        one.address(main=True) or one.address(main=False)
        for env in envs
        for _, one in env.destinations()
    ):
        words = "with contents: read, Slack's messages would tell what ships"
        yield Finding("note", "permissions", f"{words}; give it at {page}")


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


def _permissions(given: Permissions, needed: Permissions, page: str) -> Finding:
    if missing := _written(_lacking(given, needed)):
        return Finding("fault", "permissions", f"give {' and '.join(missing)} at {page}")
    return Finding("ok", "permissions", ", ".join(_written(given)))


def _installations(
    installations: Sequence[Installation], app: Mapping[str, Any], envs: Sequence[Environment]
) -> Iterator[Finding]:
    if not installations:
        page = f"{app['html_url']}/installations/new"
        words = f"there is none, so GitHub sends no deployments; install the App at {page}"
        yield Finding("fault", "installations", words)
        return
    odd = {one.account: _oddity(one, app["permissions"], envs) for one in installations}
    if fine := sorted(account for account, finding in odd.items() if finding is None):
        yield Finding("ok", "installations", listed(fine))
    told = sorted((f for f in odd.values() if f), key=lambda finding: finding.kind)
    yield from told[:MOST_LINES]
    if left := told[MOST_LINES:]:
        yield Finding(left[0].kind, "installations", f"{len(left)} more are like that")
    if len(installations) >= MOST_INSTALLATIONS:
        words = f"only the first {MOST_INSTALLATIONS} were looked at"
        yield Finding("note", "installations", words)


def _oddity(
    installation: Installation, of_the_app: Permissions, envs: Sequence[Environment]
) -> Finding | None:
    subject = f"installation {installation.account}"
    if installation.suspended:
        words = "suspended, so GitHub sends no deployments of it; its owner unsuspends it at"
        return Finding("note", subject, f"{words} {installation.page}")
    needed = _needed(_options(env for env in envs if _is_for(env, installation.account)))
    # What the App itself lacks was never asked of its owner.
    never_asked = _lacking(of_the_app, needed)
    asked = {name: level for name, level in needed.items() if name not in never_asked}
    if missing := " and ".join(_written(_lacking(installation.permissions, asked))):
        words = f"has not accepted {missing}; its owner accepts it at {installation.page}"
        return Finding("fault", subject, words)
    return None


def _is_for(env: Environment, account: str) -> bool:
    owners = (pattern.partition("/")[0].lower() for pattern in env.repos)
    return any(fnmatchcase(account.lower(), owner) for owner in owners)


def _options(envs: Iterable[Environment]) -> list[Options]:
    return [env.options for env in envs if isinstance(env.options, Options)]


def _needed(options: Iterable[Options]) -> dict[str, str]:
    needed = dict(NEEDED_PERMISSIONS)
    for chosen in options:
        for name, level in chosen.permissions().items():
            needed[name] = max(level, needed.get(name, "none"), key=_rank)
    return needed


def _lacking(given: Permissions, needed: Permissions) -> dict[str, str]:
    return {
        name: level
        for name, level in needed.items()
        if _rank(given.get(name, "none")) < _rank(level)
    }


def _rank(level: str) -> int:
    return _LEVELS.index(level) if level in _LEVELS else 0


def _written(permissions: Permissions) -> list[str]:
    return [f"{name}: {level}" for name, level in sorted(permissions.items())]

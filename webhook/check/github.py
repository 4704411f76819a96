"""GitHub: the App, its permissions and events, and its installations.

A new permission of an App works in an installation only after the owner there has accepted it;
until then GitHub rejects calls and withholds events that need it.

Source: https://docs.github.com/apps/using-github-apps/approving-updated-permissions-for-a-github-app
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from handlers.contract import Options
from webhook.check import Finding
from webhook.config.environments import Config, Environment
from webhook.errors import RelayError
from webhook.gates.repository_file import tightens
from webhook.github.client import MOST_INSTALLATIONS, GitHub, Installation
from webhook.text import and_more

NEEDED_EVENTS = ("deployment", "deployment_status")
NEEDED_PERMISSIONS = {"deployments": "write", "metadata": "read"}
# Of `repository_file: tighten`.
READS_FILES = {"contents": "read"}
# Of `protection_rule: true`: GitHub offers the App as a rule only then, and takes its answers.
ASKS_BY_RULE = "deployment_protection_rule"
ANSWERS_RULES = {"actions": "read", "deployments": "write"}
# For check runs on pull requests (webhook.engine.file_checks).
FILE_CHECKS = {"checks": "write", "pull_requests": "read"}
FILE_CHECK_EVENT = "pull_request"
MOST_LINES = 20
_LEVELS = ("none", "read", "write", "admin")

Permissions = Mapping[str, str]


async def check_github(github: GitHub, config: Config | None) -> list[Finding]:
    envs = config.envs if config else ()
    try:
        app = await github.app()
        found = [*_clock(github.clock_error), *_app(app, envs)]
    except RelayError as error:
        remedy = (
            "check GITPLOY_GITHUB_APP_ID, the private key and GITPLOY_GITHUB_BASE_URL"
            " (https://HOST/api/v3 of a GitHub Enterprise Server)"
        )
        return [Finding("error", "GitHub", f"{error}; {remedy}")]
    except (KeyError, TypeError, AttributeError):
        message = "the response is not from GitHub's API; check GITPLOY_GITHUB_BASE_URL"
        return [Finding("error", "GitHub", message)]
    try:
        installations = await github.installations()
    except RelayError as error:
        return [*found, Finding("error", "installations", str(error))]
    return [*found, *_installations(installations, app, envs)]


def _clock(error: str) -> Iterator[Finding]:
    if error:
        message = f"{error}; GitHub rejected the App's key for that until the relay went by"
        yield Finding("error", "clock", f"{message} GitHub's own clock: set it, or let NTP do so")


def _app(app: Mapping[str, Any], envs: Sequence[Environment]) -> Iterator[Finding]:
    page = f"{app['html_url']}: Permissions & events"
    yield Finding("ok", "GitHub", f"the App is {app['slug']} (ID {app['id']})")
    yield from _events(app["events"], envs, page)
    yield _permissions(app["permissions"], _needed(envs), page)
    if "contents" not in {**app["permissions"], **_needed(envs)} and any(
        one.address(main=True) or one.address(main=False)
        for env in envs
        for _, one in env.destinations()
    ):
        message = "with contents: read, messages would list the deployed commits"
        yield Finding("note", "permissions", f"{message}; give it at {page}")
    if any(tightens(env) for env in envs):
        yield from _file_checks(app, page)


def _file_checks(app: Mapping[str, Any], page: str) -> Iterator[Finding]:
    """Of pull requests that change a repository's own deploy.yml."""
    missing = _written(_lacking(app["permissions"], FILE_CHECKS))
    if FILE_CHECK_EVENT not in app["events"]:
        missing.append(f"the event {FILE_CHECK_EVENT}")
    if missing:
        message = f"without {' and '.join(missing)} pull requests get no check of their deploy.yml"
        yield Finding("note", "pull requests", f"{message}; give it at {page}")


def _events(events: Iterable[str], envs: Sequence[Environment], page: str) -> Iterator[Finding]:
    subscribed = set(events)
    needed = [*NEEDED_EVENTS, *([ASKS_BY_RULE] if any(one.protection_rule for one in envs) else [])]
    missing = [event for event in needed if event not in subscribed]
    useful = {event for chosen in _options(envs) for event in chosen.events()}
    if missing:
        yield Finding("error", "events", f"subscribe to {' and '.join(missing)} at {page}")
    else:
        yield Finding("ok", "events", ", ".join((*needed, *sorted(useful & subscribed))))
    if useful - subscribed:
        names = " and ".join(sorted(useful - subscribed))
        message = f"without {names} runs are only polled; subscribe at {page}"
        yield Finding("note", "events", message)


def _permissions(given: Permissions, needed: Permissions, page: str) -> Finding:
    if missing := _written(_lacking(given, needed)):
        return Finding("error", "permissions", f"give {' and '.join(missing)} at {page}")
    return Finding("ok", "permissions", ", ".join(_written(given)))


def _installations(
    installations: Sequence[Installation], app: Mapping[str, Any], envs: Sequence[Environment]
) -> Iterator[Finding]:
    if not installations:
        page = f"{app['html_url']}/installations/new"
        message = f"there is none, so GitHub sends no deployments; install the App at {page}"
        yield Finding("error", "installations", message)
        return
    found = {one.account: _installation(one, app["permissions"], envs) for one in installations}
    if ok := sorted(account for account, finding in found.items() if finding is None):
        yield Finding("ok", "installations", and_more(ok, most=10))
    others = sorted((one for one in found.values() if one), key=lambda one: one.level)
    yield from others[:MOST_LINES]
    if left := others[MOST_LINES:]:
        yield Finding(left[0].level, "installations", f"{len(left)} more are like that")
    if len(installations) >= MOST_INSTALLATIONS:
        message = f"only the first {MOST_INSTALLATIONS} were checked"
        yield Finding("note", "installations", message)


def _installation(
    installation: Installation, of_the_app: Permissions, envs: Sequence[Environment]
) -> Finding | None:
    subject = f"installation {installation.account}"
    if installation.suspended:
        message = "suspended, so GitHub sends no deployments of it; its owner unsuspends it at"
        return Finding("note", subject, f"{message} {installation.page}")
    needed = _needed([env for env in envs if covers(env, installation.account)])
    # Its owner can only grant what the App requests.
    not_requested = _lacking(of_the_app, needed)
    requested = {name: level for name, level in needed.items() if name not in not_requested}
    if missing := " and ".join(_written(_lacking(installation.permissions, requested))):
        message = f"has not accepted {missing}; its owner accepts it at {installation.page}"
        return Finding("error", subject, message)
    return None


def covers(env: Environment, account: str) -> bool:
    owners = (pattern.partition("/")[0].lower() for pattern in env.repos)
    return any(fnmatchcase(account.lower(), owner) for owner in owners)


def _options(envs: Iterable[Environment]) -> list[Options]:
    return [env.options for env in envs if isinstance(env.options, Options)]


def _needed(envs: Sequence[Environment]) -> dict[str, str]:
    needed = dict(NEEDED_PERMISSIONS)
    if any(map(tightens, envs)):
        needed |= READS_FILES
    if any(one.protection_rule for one in envs):
        needed |= ANSWERS_RULES
    for chosen in _options(envs):
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

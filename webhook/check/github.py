"""GitHub: the App, its permissions and events, and its installations.

A new permission of an App works in an installation only after the owner there has accepted it;
until then GitHub rejects calls and withholds events that need it.

Source: https://docs.github.com/apps/using-github-apps/approving-updated-permissions-for-a-github-app
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from webhook.check import Finding, Level
from webhook.check.needs import (
    Need,
    Permissions,
    events_of,
    lacking,
    needs_of,
    permissions_of,
    written,
)
from webhook.config.environments import Config, Environment
from webhook.errors import RelayError
from webhook.github.client import MOST_INSTALLATIONS, GitHub, Installation
from webhook.text import and_more

MOST_LINES = 20


async def check_github(github: GitHub, config: Config | None) -> list[Finding]:
    envs = config.envs if config else ()
    try:
        app = await github.app()
        needs = needs_of(envs)
        found = [*_clock(github.clock_error), *_app(app, needs)]
        if config is not None:  # else nobody knows what is used
            found += _superfluous(app, needs_of(envs, optional=True))
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


def _app(app: Mapping[str, Any], needs: Sequence[Need]) -> Iterator[Finding]:
    yield Finding("ok", "GitHub", f"the App is {app['slug']} (ID {app['id']})")
    essential = [one for one in needs if one.level == "error" and not one.elsewhere]
    yield _events(app, needs, essential)
    yield _permissions(app, essential)
    reported = lacking(app["permissions"], permissions_of(essential))
    for need in needs:
        if need.level == "note" and not need.elsewhere:
            yield from _note(app, need, reported)


def _events(app: Mapping[str, Any], needs: Iterable[Need], essential: Sequence[Need]) -> Finding:
    subscribed = set(app["events"])
    missing = [one for one in events_of(essential) if one not in subscribed]
    if not missing:
        used = [one for one in events_of(needs) if one in subscribed]
        return Finding("ok", "events", ", ".join(used))
    why = _reasons(one for one in essential if not subscribed.issuperset(one.events))
    message = f"subscribe to {' and '.join(missing)} at {_page(app)}"
    return Finding("error", "events", f"{message}; without that, {why}")


def _permissions(app: Mapping[str, Any], essential: Sequence[Need]) -> Finding:
    given = app["permissions"]
    missing = written(lacking(given, permissions_of(essential)))
    if not missing:
        return Finding("ok", "permissions", ", ".join(written(given)))
    why = _reasons(one for one in essential if lacking(given, one.permissions))
    message = f"give {' and '.join(missing)} at {_page(app)}"
    return Finding("error", "permissions", f"{message}; without that, {why}")


def _note(app: Mapping[str, Any], need: Need, reported: Permissions) -> Iterator[Finding]:
    """`reported`: missing permissions that are an error already."""
    lacks = lacking(app["permissions"], need.permissions)
    permissions = written({name: lacks[name] for name in lacks if name not in reported})
    events = [one for one in need.events if one not in app["events"]]
    if not permissions and not events:
        return
    kind = "the event" if len(events) == 1 else "the events"
    names = [*permissions, *([f"{kind} {' and '.join(events)}"] if events else [])]
    how = [*(["give it"] if permissions else []), *(["subscribe"] if events else [])]
    message = f"without {' and '.join(names)}, {need.without}; {' and '.join(how)}"
    subject = "permissions" if permissions else "events"
    yield Finding("note", subject, f"{message} at {_page(app)}")


def _superfluous(app: Mapping[str, Any], needs: Sequence[Need]) -> Iterator[Finding]:
    """A token that is stolen may do all that the App may."""
    used, page = permissions_of(needs), _page(app)
    more = lacking(used, app["permissions"])
    if more:
        allowed = and_more([_allowed(name, level, used) for name, level in sorted(more.items())])
        message = f"the App may also {allowed}, which nothing in deploy.yml uses; take it away"
        yield Finding("note", "permissions", f"{message} at {page}")
    unused = sorted(set(app["events"]) - {*events_of(needs)})
    if unused:
        message = f"GitHub also sends {and_more(unused)}, which nothing in deploy.yml uses"
        yield Finding("note", "events", f"{message}; unsubscribe at {page}")


def _allowed(name: str, level: str, used: Permissions) -> str:
    enough = f" ({used[name]} is enough)" if name in used else ""
    return f"{level} {name}{enough}"


def _reasons(needs: Iterable[Need]) -> str:
    return "; ".join(dict.fromkeys(one.without for one in needs))


def _page(app: Mapping[str, Any]) -> str:
    return f"{app['html_url']}: Permissions & events"


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
    own = needs_of(env for env in envs if covers(env, installation.account))
    levels: tuple[Level, ...] = ("error", "note")
    for level in levels:
        these = [one for one in own if one.level == level and not one.elsewhere]
        needed = permissions_of(these)
        # Its owner can only grant what the App requests.
        not_requested = lacking(of_the_app, needed)
        requested = {name: one for name, one in needed.items() if name not in not_requested}
        if missing := lacking(installation.permissions, requested):
            why = _reasons(one for one in these if missing.keys() & one.permissions)
            message = f"has not accepted {' and '.join(written(missing))}; its owner accepts it at"
            return Finding(level, subject, f"{message} {installation.page}; until then, {why}")
    return None


def covers(env: Environment, account: str) -> bool:
    owners = (pattern.partition("/")[0].lower() for pattern in env.repos)
    return any(fnmatchcase(account.lower(), owner) for owner in owners)

"""The logins of deploy.yml's `slack_users`: whether GitHub knows them.

A renamed account's old name leads nowhere, and may be somebody else's later.

Source: docs.github.com/account-and-profile, "Changing your GitHub username".
"""

import asyncio

from webhook.check import Finding
from webhook.config.environments import Config
from webhook.errors import RelayError
from webhook.github import users
from webhook.github.client import GitHub
from webhook.github.tokens import Scope
from webhook.text import and_more

MOST_LOGINS = 200
# Calls at once; the client allows a few more.
_AT_ONCE = 4


async def check_people(github: GitHub, config: Config | None) -> list[Finding]:
    logins = sorted(config.slack_users)[:MOST_LOGINS] if config else []
    if not logins:
        return []
    try:
        installations = await github.installations()
        usable = next((one for one in installations if not one.suspended), None)
        if usable is None:
            return []  # the check of GitHub says that
        unknown = await _unknown(github, Scope(usable.id, "", 0), logins)
    except RelayError as error:
        return [Finding("note", "slack_users", f"the logins could not be checked: {error}")]
    assert config is not None
    found = [Finding("note", "slack_users", _message(login)) for login in unknown]
    if len(config.slack_users) > MOST_LOGINS:
        message = f"only the first {MOST_LOGINS} logins were checked"
        return [*found, Finding("note", "slack_users", message)]
    return found or [Finding("ok", "slack_users", and_more(logins, most=10))]


async def _unknown(github: GitHub, scope: Scope, logins: list[str]) -> list[str]:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def exists(login: str) -> bool:
        async with slots:
            return await users.exists(github, scope, login)

    known = await asyncio.gather(*(exists(login) for login in logins))
    return [login for login, is_known in zip(logins, known, strict=True) if not is_known]


def _message(login: str) -> str:
    return (
        f"GitHub has no account '{login}' (any more): that person can do nothing in Slack and is"
        " not mentioned there. If it was renamed, write its new login in deploy.yml and restart"
    )

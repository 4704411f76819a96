"""`/deploy locks`: what is locked, by whom, why, until when, and how it ends."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from webhook.config.environments import Config
from webhook.deployments.locks import Lock, describe, unlock_command
from webhook.errors import Rejected
from webhook.github.repositories import installed_at
from webhook.github.tokens import Scope
from webhook.slack.actions.contract import Action
from webhook.slack.actions.permissions import (
    Declined,
    access_in,
    authorize,
    login_at_any,
    recent_repositories,
    require_in_time,
)
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import Mistyped, Typed, repo_error, require
from webhook.slack.blocks.mrkdwn import BlockMessage, escape
from webhook.store import actions, locks
from webhook.store.actions import ActionRow

# Of a list; and repositories for which GitHub is asked whether somebody may see their locks.
MOST_LOCKS = 20
_MOST_REPOSITORIES = 20
_LONGEST_LINE = 900


def lock_lines(found: Sequence[Lock], now: datetime) -> list[str]:
    """A line of plain text for each, with its way out."""
    lines = [
        f"{describe(lock, now)}. To end it: {unlock_command(lock)}" for lock in found[:MOST_LOCKS]
    ]
    left = len(found) - MOST_LOCKS
    return [*lines, f"and {left} more"] if left > 0 else lines


class ListLocks(Action):
    name = "locks"
    audited = False
    on_page = False
    verb = "locks"
    usage = ("locks [owner/repo]", "lists what is locked, by whom, why and until when")
    permission = "read"

    def typed(self, command: str, arguments: Sequence[str], config: Config) -> Typed:
        if len(arguments) > 1:
            raise Mistyped(f"Name one repository, no more: `{command} locks owner/repo`")
        repo = arguments[0] if arguments else ""
        require(repo_error(repo) if repo else "")
        return Typed(self.name, repo)

    async def run(self, services: ActionServices, action: ActionRow) -> None:
        if action.repo:
            by = await authorize(services, action, self.permission)
            lines = await _of_repository(services, by.repository)
        else:
            require_in_time(services, action)
            login = await login_at_any(services, action, await recent_repositories(services))
            lines = await _visible_to(services, login)
        async with services.pool.connection() as connection:
            await actions.end(connection, action.id, "done", "\n".join(lines), audited=False)

    async def reply(self, services: ActionServices, action: ActionRow) -> BlockMessage | None:
        if action.outcome != "done":
            return await super().reply(services, action)
        return BlockMessage(escaped_lines(action.message.split("\n")), [])


def escaped_lines(lines: Iterable[str]) -> str:
    return "\n".join(escape(line, _LONGEST_LINE) for line in lines)


async def _of_repository(services: ActionServices, repository: Scope) -> list[str]:
    now = services.clock()
    async with services.pool.connection() as connection:
        found = await locks.active_of(connection, repository.repo_id, now)
    return lock_lines(found, now) or [f"Nothing of {repository.repo} is locked"]


async def _visible_to(services: ActionServices, login: str) -> list[str]:
    """Those of everything, and of the repositories that this person may read."""
    now = services.clock()
    async with services.pool.connection() as connection:
        found = await locks.active(connection, now)
    repositories = list(dict.fromkeys((one.repo_id, one.repo) for one in found if one.repo_id))
    visible = {0}
    for repo_id, repo in repositories[:_MOST_REPOSITORIES]:
        if await _may_read(services, repo_id, repo, login):
            visible.add(repo_id)
    return lock_lines([one for one in found if one.repo_id in visible], now) or [
        "Nothing that you may see is locked"
    ]


async def _may_read(services: ActionServices, repo_id: int, repo: str, login: str) -> bool:
    try:
        installation = await installed_at(services.github, repo, repo_id)
        access = await access_in(services, Scope(installation, repo, repo_id), login)
        return access.permission != "none"
    except (Declined, Rejected):
        return False

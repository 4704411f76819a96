"""Whom a message calls, as deploy.yml has it: who asked for the deployment, a group, nobody.

Source: docs.slack.dev, "Formatting message text", mentions of users and groups.
"""

import asyncio
import re
from dataclasses import dataclass

from webhook.deployments.notice import DeploymentNotice
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.github.tokens import Scope
from webhook.slack.destination import Destination
from webhook.slack.identity import People, mention_of
from webhook.slack.workspaces import Workspaces
from webhook.store import deployments
from webhook.store.database import AsyncPool

_GROUP_ID = re.compile(r"S[A-Z0-9]{6,}")


@dataclass(frozen=True, slots=True)
class Mention:
    """`by_name`: Slack is to make a mention of a plain @name."""

    text: str = ""
    by_name: bool = False


async def mention(
    people: People,
    workspaces: Workspaces,
    pool: AsyncPool,
    destination: Destination,
    notice: DeploymentNotice,
) -> Mention:
    wanted = destination.mentions or "author"
    if wanted == "none":
        return Mention()
    if wanted != "author":
        return _group(wanted.removeprefix("@"))
    try:
        slack = await workspaces.of(destination.workspace or "")
        async with asyncio.timeout(people.timing.details_within.total_seconds()):
            team = (await slack.bot()).team
            scope = await _scope(pool, notice.deployment_id)
            found = await mention_of(people, slack, team, notice.requested_by, scope)
    except (Rejected, RetryAt, UnknownOutcome, TimeoutError):  # said where the message is posted
        found = ""
    return Mention(found or notice.requested_by)


async def _scope(pool: AsyncPool, deployment_id: int) -> Scope | None:
    """What GitHub may be asked of who requested it."""
    async with pool.connection() as connection:
        row = await deployments.read(connection, deployment_id)
    return None if row is None else Scope(row.installation_id, row.repo, row.repo_id)


def _group(name: str) -> Mention:
    if name in ("here", "channel"):
        return Mention(f"<!{name}>")
    if _GROUP_ID.fullmatch(name):
        return Mention(f"<!subteam^{name}>")
    return Mention(f"@{name}", by_name=True)

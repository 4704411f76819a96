"""Whom a message calls, as deploy.yml has it: who asked for the deployment, a group, nobody.

Source: docs.slack.dev, "Formatting message text", mentions of users and groups.
"""

import asyncio
import re
from dataclasses import dataclass

from webhook.engine.services import Services, scope
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.slack.identity import mention_of
from webhook.slack.targets import Target
from webhook.slack.workspaces import Workspaces
from webhook.store.deployments import DeploymentRow

_GROUP_ID = re.compile(r"S[A-Z0-9]{6,}")


@dataclass(frozen=True, slots=True)
class Mention:
    """`by_name`: Slack is to make a mention of a plain @name."""

    text: str = ""
    by_name: bool = False


async def mention(
    services: Services, workspaces: Workspaces, target: Target, row: DeploymentRow, asked_by: str
) -> Mention:
    wanted = target.destination.mentions or "author"
    if wanted == "none":
        return Mention()
    if wanted != "author":
        return _group(wanted.removeprefix("@"))
    team = target.destination.workspace or ""
    try:
        slack = await workspaces.of(team)
        async with asyncio.timeout(services.timing.details_within.total_seconds()):
            found = await mention_of(
                services, slack, (await slack.bot()).team, asked_by, scope(row)
            )
    except (Rejected, RetryAt, UnknownOutcome, TimeoutError):  # said where the message is posted
        found = ""
    return Mention(found or asked_by)


def _group(name: str) -> Mention:
    if name in ("here", "channel"):
        return Mention(f"<!{name}>")
    if _GROUP_ID.fullmatch(name):
        return Mention(f"<!subteam^{name}>")
    return Mention(f"@{name}", by_name=True)

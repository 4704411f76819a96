"""Whether a person is among those whom deploy.yml names, by login or by team."""

import asyncio
from collections.abc import Collection

import structlog

from webhook.errors import LACKS_PERMISSION, NOT_INSTALLED, Rejected, UnknownOutcome
from webhook.github.teams import Team, is_member
from webhook.slack.actions.permissions import Authorized, Declined
from webhook.slack.actions.services import ActionServices

log = structlog.get_logger()


async def is_among(
    services: ActionServices, by: Authorized, logins: Collection[str], teams: Collection[str]
) -> bool:
    """`teams`: organization/team, or a team of the repository's owner. Raises `Declined` where
    GitHub does not say who is in a team, and no other one has that person."""
    if by.login.lower() in {one.lower() for one in logins}:
        return True
    named = [Team.named(one, by.repository.repo) for one in teams]
    found = await asyncio.gather(*(_is_in(services, by, team) for team in named))
    if True in found:
        return True
    for error in found:
        if isinstance(error, Declined):
            raise error
    return False


async def _is_in(services: ActionServices, by: Authorized, team: Team) -> bool | Declined:
    """Whoever is in another team may answer, whatever is wrong with this one."""
    try:
        return await is_member(services.github, by.repository, team, by.login)
    except UnknownOutcome as error:
        log.warning("a team could not be read", team=str(team), error=str(error))
        message = f"GitHub does not say now whether {by.login} is in {team}; try again in a minute"
        return Declined("github_unclear", message)
    except Rejected as error:
        log.warning("a team could not be read", team=str(team), error=str(error))
        remedy = {
            LACKS_PERMISSION: "give the App the organization permission Members: read, and accept"
            f" that in {team.organization}",
            NOT_INSTALLED: f"install the App in {team.organization}",
        }.get(error.code, str(error).rstrip(". "))
        message = f"GitHub does not say whether {by.login} is in {team}: {remedy}"
        return Declined("github_rejected", message, "failed")

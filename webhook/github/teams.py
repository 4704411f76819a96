"""Teams of an organization on GitHub: who is in them.

Source: docs.github.com/rest/teams/members#get-team-membership-for-a-user (members of a child team
are members of its parents too; an invitation that was not accepted is `pending`),
docs.github.com/rest/teams/teams#get-a-team-by-name.
Errors: those of `GitHub`; a rejection has the code `LACKS_PERMISSION` where the App has not the
organization permission members: read.
"""

from dataclasses import dataclass
from http import HTTPStatus

from webhook.errors import Forbidden, Rejected
from webhook.github.client import GitHub
from webhook.github.tokens import Scope
from webhook.github.users import is_login


@dataclass(frozen=True, slots=True)
class Team:
    """`slug`: its name in the URL of its page."""

    organization: str
    slug: str

    @classmethod
    def named(cls, name: str, repo: str) -> "Team":
        """As deploy.yml names it: acme/platform, or platform in the repository's organization."""
        organization, _, slug = name.rpartition("/")
        return cls(organization or repo.partition("/")[0], slug)

    def __str__(self) -> str:
        return f"{self.organization}/{self.slug}"


async def is_member(github: GitHub, repository: Scope, team: Team, login: str) -> bool:
    """`repository`: whose token is used, where the team is in its organization. False too where
    GitHub shows the App no such team."""
    if not is_login(login):
        return False
    reading = await _scope_of(github, repository, team)
    path = f"/orgs/{team.organization}/teams/{team.slug}/memberships/{login}"
    try:
        return await github.request(reading, "GET", path, lambda one: one["state"] == "active")
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND and not isinstance(error, Forbidden):
            return False
        raise


async def size(github: GitHub, repository: Scope, team: Team) -> int | None:
    """How many members it has; None where GitHub shows the App no such team."""
    reading = await _scope_of(github, repository, team)
    path = f"/orgs/{team.organization}/teams/{team.slug}"
    try:
        return await github.request(reading, "GET", path, lambda one: int(one["members_count"]))
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND and not isinstance(error, Forbidden):
            return None
        raise


async def _scope_of(github: GitHub, repository: Scope, team: Team) -> Scope:
    owner = repository.repo.partition("/")[0]
    if owner.lower() == team.organization.lower():
        return repository.only(members="read")
    installation = await github.installation_at(team.organization)
    return Scope(installation, "", 0).only(members="read")

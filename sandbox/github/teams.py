"""Teams of organizations, and who is in them.

Source: https://docs.github.com/rest/teams/teams and https://docs.github.com/rest/teams/members
"""

from aiohttp import web

from sandbox.github.auth import Auth
from sandbox.github.documents import Documents
from sandbox.github.model import ErrorResponse, Team, World

TEAM = "/orgs/{org}/teams/{slug}"


class Teams:
    def __init__(self, world: World, documents: Documents, auth: Auth) -> None:
        self._world = world
        self._documents = documents
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(TEAM, self._team),
            web.get(TEAM + "/memberships/{login}", self._membership),
        ]

    async def _team(self, request: web.Request) -> web.Response:
        return web.json_response(self._documents.team(self._from_path(request)))

    async def _membership(self, request: web.Request) -> web.Response:
        """404 says that there is no such team, no such user, or that the two do not belong
        together."""
        team, login = self._from_path(request), request.match_info["login"]
        state = team.members.get(login.lower())
        if state is None:
            raise ErrorResponse(404, "Not Found")
        return web.json_response(self._documents.membership(team, login, state))

    def _from_path(self, request: web.Request) -> Team:
        org = self._auth.authorize_in(request, "members", "read")
        slug = request.match_info["slug"].lower()
        for team in self._world.teams:
            if (team.organization.login.lower(), team.slug) == (org, slug):
                return team
        raise ErrorResponse(404, "Not Found")

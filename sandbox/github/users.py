"""People: their profiles, and the search for them.

Source: https://docs.github.com/rest/users/users and https://docs.github.com/rest/search/search
"""

import shlex

from aiohttp import web

from sandbox.github.auth import Auth
from sandbox.github.documents import Documents
from sandbox.github.fields import page
from sandbox.github.model import Account, Json, RefusedError, User, World
from sandbox.github.repository_documents import RepositoryDocuments

SEARCHED = ("login", "name", "email")


class Users:
    def __init__(self, world: World, documents: Documents, auth: Auth) -> None:
        self._world = world
        self._api = documents
        self._documents = RepositoryDocuments(world, documents)
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/users/{login}", self._user), web.get("/search/users", self._search)]

    async def _user(self, request: web.Request) -> web.Response:
        self._auth.caller(request)
        login = request.match_info["login"]
        user = self._world.user(login)
        account = user.account if user else self._other(login)
        return web.json_response(self._documents.profile(account, user))

    def _other(self, login: str) -> Account:
        """An organisation, or the App's bot."""
        owners = [repository.owner for repository in self._world.repositories.values()]
        for account in (self._world.app.bot, *owners):
            if account.login.lower() == login.lower():
                return account
        raise RefusedError(404, "Not Found")

    async def _search(self, request: web.Request) -> web.Response:
        self._auth.caller(request)
        words = _words(request.query.get("q", ""))
        places = [word.removeprefix("in:") for word in words if word.startswith("in:")]
        terms = [word.lower() for word in words if not word.startswith(("in:", "type:"))]
        every = [u for u in self._world.users.values() if _matches(u, terms, places or SEARCHED)]
        items, headers = page(request, every, self._api.api)
        answer: Json = {
            "total_count": len(every),
            "incomplete_results": False,
            "items": [self._documents.found(user) for user in items],
        }
        return web.json_response(answer, headers=headers)


def _words(query: str) -> list[str]:
    try:
        words = shlex.split(query)
    except ValueError:  # a quotation without an end
        words = query.split()
    if not words:
        missing: Json = {"resource": "Search", "field": "q", "code": "missing"}
        raise RefusedError(422, "Validation Failed", [missing])
    return words


def _matches(user: User, terms: list[str], places: list[str] | tuple[str, ...]) -> bool:
    """GitHub's index knows parts of a word too, so that a hit is not yet the one meant."""
    shown = {"login": user.account.login, "name": user.name or "", "email": user.email or ""}
    text = " ".join(shown.get(place, "") for place in places).lower()
    return all(term in text for term in terms)

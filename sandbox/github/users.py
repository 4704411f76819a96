"""Users: their profiles, and the search.

Source: https://docs.github.com/rest/users/users and https://docs.github.com/rest/search/search
"""

import shlex
from typing import Literal

from aiohttp import web

from sandbox.github.auth import Auth, credential_of
from sandbox.github.documents import Documents
from sandbox.github.model import Account, ErrorResponse, Json, User, World
from sandbox.github.request import page

SEARCH_FIELDS = ("login", "name", "email")


class Users:
    def __init__(self, world: World, documents: Documents, auth: Auth) -> None:
        self._world = world
        self._documents = documents
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/user", self._authenticated),
            web.get("/user/{id:\\d+}", self._user_by_id),
            web.get("/users/{login}", self._user),
            web.get("/search/users", self._search),
        ]

    async def _authenticated(self, request: web.Request) -> web.Response:
        """Whose token it is; an installation's is nobody's."""
        user = self._auth.user_of(credential_of(request))
        if user is None:
            caller = self._auth.caller(request)
            if caller.token is not None:
                raise ErrorResponse(403, "Resource not accessible by integration")
            user = self._world.user(caller.account.login)
        if user is None:
            raise ErrorResponse(401, "Bad credentials")
        return web.json_response(self._documents.profile(user.account, user))

    async def _user(self, request: web.Request) -> web.Response:
        self._auth.caller(request)
        login = request.match_info["login"]
        user = self._world.user(login)
        account = user.account if user else self._other_account("login", login.lower())
        return web.json_response(self._documents.profile(account, user))

    async def _user_by_id(self, request: web.Request) -> web.Response:
        """Whatever its login is now."""
        self._auth.caller(request)
        number = int(request.match_info["id"])
        user = self._world.user_by_id(number)
        account = user.account if user else self._other_account("id", str(number))
        return web.json_response(self._documents.profile(account, user))

    def _other_account(self, field: Literal["login", "id"], value: str) -> Account:
        """An organization, or the App's bot."""
        owners = [repository.owner for repository in self._world.repositories.values()]
        for account in (self._world.app.bot, *owners):
            if str(getattr(account, field)).lower() == value:
                return account
        raise ErrorResponse(404, "Not Found")

    async def _search(self, request: web.Request) -> web.Response:
        self._auth.caller(request)
        query = _parsed(request.query.get("q", ""))
        fields = [term.removeprefix("in:") for term in query if term.startswith("in:")]
        terms = [term.lower() for term in query if not term.startswith(("in:", "type:"))]
        fields = fields or list(SEARCH_FIELDS)
        found = [user for user in self._world.users.values() if _matches(user, terms, fields)]
        items, headers = page(request, found, self._documents.api)
        document: Json = {
            "total_count": len(found),
            "incomplete_results": False,
            "items": [self._documents.search_result(user) for user in items],
        }
        return web.json_response(document, headers=headers)


def _parsed(query: str) -> list[str]:
    try:
        terms = shlex.split(query)
    except ValueError:  # a quotation mark that is not closed
        terms = query.split()
    if not terms:
        missing: Json = {"resource": "Search", "field": "q", "code": "missing"}
        raise ErrorResponse(422, "Validation Failed", [missing])
    return terms


def _matches(user: User, terms: list[str], fields: list[str]) -> bool:
    """GitHub's search also finds parts of a word, so a result may be another user."""
    values = {"login": user.account.login, "name": user.name or "", "email": user.email or ""}
    text = " ".join(values.get(name, "") for name in fields).lower()
    return all(term in text for term in terms)

"""Authentication: the App by its JWT, an installation by its token, a user by a personal token.

Source: https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app
"""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sandbox.github.documents import Documents, iso
from sandbox.github.model import (
    Account,
    ErrorResponse,
    Installation,
    Json,
    Renamed,
    Repository,
    Token,
    User,
    World,
    covers,
)
from sandbox.github.request import body_of, field, page

UNDECODABLE = "A JSON web token could not be decoded"
NOT_GRANTED = "The permissions requested are not granted to this installation."
MAX_JWT_LIFE = 600


@dataclass(frozen=True, slots=True)
class Caller:
    """Who made a request. `token` is None for a user, who has all permissions everywhere."""

    account: Account
    token: Token | None = None

    def can_access(self, repository: Repository) -> bool:
        if self.token is None:
            return True
        if self.token.repositories is not None and repository.id not in self.token.repositories:
            return False
        return repository in self.token.installation.repositories

    def has_permission(self, permission: str, level: str) -> bool:
        return self.token is None or covers(self.token.permissions, permission, level)


class Auth:
    """`claims`: of each JWT that was good, oldest first."""

    def __init__(self, world: World, documents: Documents, token_life: timedelta) -> None:
        self.token_life = token_life
        self.claims: list[Json] = []
        self._world = world
        self._documents = documents
        self._public_keys: dict[str, Any] = {}
        self.add_key(world.app.private_key_pem)

    def add_key(self, pem: str) -> None:
        """One more of the App's private keys; it may have several."""
        # Validating the key takes longer than the rest of the start, and the key is our own.
        key = load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
        self._public_keys[pem] = key.public_key()

    def remove_key(self, pem: str) -> None:
        del self._public_keys[pem]

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/app", self._app),
            web.get("/app/installations", self._installations),
            web.get("/installation/repositories", self._repositories),
            web.get("/app/installations/{id:\\d+}", self._installation),
            web.get("/repos/{owner}/{repo}/installation", self._repository_installation),
            web.get("/orgs/{org}/installation", self._organization_installation),
            web.post("/app/installations/{id:\\d+}/access_tokens", self._access_tokens),
        ]

    def caller(self, request: web.Request) -> Caller:
        credential = credential_of(request)
        if not credential:
            raise ErrorResponse(401, "Requires authentication")
        if user := self._world.users.get(credential):
            return Caller(user.account)
        if self.user_of(credential):
            # Stricter than GitHub: such a token is for knowing who signed in, and for nothing else.
            raise ErrorResponse(403, "Resource not accessible by integration")
        token = self._world.tokens.get(credential)
        if token is None or token.expires_at <= self._world.now():
            raise ErrorResponse(401, "Bad credentials")
        if token.installation.id not in self._world.installations:
            raise ErrorResponse(401, "Bad credentials")
        _reject_suspended(token.installation)
        return Caller(self._world.app.bot, token)

    def user_of(self, credential: str) -> User | None:
        """The person who authorized the App, by a token that is good."""
        token = self._world.user_tokens.get(credential)
        if token is None or (token.expires_at and token.expires_at <= self._world.now()):
            return None
        return self._world.user_by_id(token.user_id)

    def authorize(
        self, request: web.Request, permission: str, level: str
    ) -> tuple[Caller, Repository]:
        """The caller and the repository of the path, if the caller has that permission there."""
        caller = self.caller(request)
        names = request.match_info
        try:
            repository = self._world.repository(f"{names['owner']}/{names['repo']}")
        except Renamed as renamed:
            if caller.can_access(renamed.repository):
                raise
            raise ErrorResponse(404, "Not Found") from None
        if not caller.can_access(repository):
            raise ErrorResponse(404, "Not Found")
        if not caller.has_permission(permission, level):
            raise ErrorResponse(403, "Resource not accessible by integration")
        return caller, repository

    def authorize_in(self, request: web.Request, permission: str, level: str) -> str:
        """The organization of the path (lower case), if the caller has that permission there. An
        organization without that App shows it nothing."""
        caller, org = self.caller(request), request.match_info["org"].lower()
        if caller.token and caller.token.installation.account.login.lower() != org:
            raise ErrorResponse(404, "Not Found")
        if not caller.has_permission(permission, level):
            raise ErrorResponse(403, "Resource not accessible by integration")
        return org

    def check_jwt(self, request: web.Request) -> None:
        """By GitHub's clock: iat is not in the future, exp at most ten minutes away."""
        claims = self._decode(credential_of(request))
        issuer, issued, expires = claims.get("iss"), claims.get("iat"), claims.get("exp")
        at = self._world.now().timestamp()
        if issuer is None:
            raise ErrorResponse(401, "Missing 'issuer' claim ('iss') in assertion")
        if str(issuer) not in (str(self._world.app.id), self._world.app.client_id):
            raise ErrorResponse(404, "Integration not found")
        if not isinstance(issued, int | float) or issued > at:
            raise ErrorResponse(
                401,
                "'Issued at' claim ('iat') must be an Integer representing the time that the "
                "assertion was issued",
            )
        if not isinstance(expires, int | float) or expires <= at:
            raise ErrorResponse(
                401,
                "'Expiration time' claim ('exp') must be a numeric value representing the future "
                "time at which the assertion expires",
            )
        if expires > at + MAX_JWT_LIFE:
            raise ErrorResponse(401, "'Expiration time' claim ('exp') is too far in the future")
        self.claims.append(claims)

    def _decode(self, credential: str) -> Json:
        unchecked = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        # The type of `iss` is not checked here: GitHub accepts a number as well.
        options: Any = {**unchecked, "verify_iss": False, "verify_aud": False}
        for key in self._public_keys.values():
            with suppress(jwt.PyJWTError):
                return jwt.decode(credential, key, algorithms=["RS256"], options=options)
        raise ErrorResponse(401, UNDECODABLE)

    async def _app(self, request: web.Request) -> web.Response:
        self.check_jwt(request)
        count = len(self._world.installations)
        return web.json_response({**self._documents.app(), "installations_count": count})

    async def _installations(self, request: web.Request) -> web.Response:
        self.check_jwt(request)
        every = list(self._world.installations.values())
        items, headers = page(request, every, self._documents.api)
        found = [self._documents.installation(i) for i in items]
        return web.json_response(found, headers=headers)

    async def _repositories(self, request: web.Request) -> web.Response:
        """Those that the installation's token is for."""
        token = self.caller(request).token
        if token is None:
            raise ErrorResponse(403, "You must authenticate with an installation access token")
        every = [
            one
            for one in token.installation.repositories
            if token.repositories is None or one.id in token.repositories
        ]
        items, headers = page(request, every, self._documents.api)
        document = {
            "total_count": len(every),
            "repository_selection": token.installation.selection,
            "repositories": [self._documents.repository(one) for one in items],
        }
        return web.json_response(document, headers=headers)

    async def _installation(self, request: web.Request) -> web.Response:
        self.check_jwt(request)
        return web.json_response(self._documents.installation(self._from_path(request)))

    async def _repository_installation(self, request: web.Request) -> web.Response:
        self.check_jwt(request)
        names = request.match_info
        repository = self._world.repository(f"{names['owner']}/{names['repo']}")
        installation = self._world.installation_of(repository)
        if installation is None:
            raise ErrorResponse(404, "Not Found")
        return web.json_response(self._documents.installation(installation))

    async def _organization_installation(self, request: web.Request) -> web.Response:
        self.check_jwt(request)
        org = request.match_info["org"].lower()
        for installation in self._world.installations.values():
            if installation.account.login.lower() == org:
                return web.json_response(self._documents.installation(installation))
        raise ErrorResponse(404, "Not Found")

    async def _access_tokens(self, request: web.Request) -> web.Response:
        self.check_jwt(request)
        installation = self._from_path(request)
        _reject_suspended(installation)
        body = await body_of(request)
        selected = _selected(installation, body)
        permissions = _permissions(installation, body)
        expires_at = self._world.now() + self.token_life
        ids = None if selected is None else frozenset(r.id for r in selected)
        secret = "ghs_" + secrets.token_urlsafe(27)
        self._world.tokens[secret] = Token(installation, ids, permissions, expires_at)
        document: Json = {
            "token": secret,
            "expires_at": iso(expires_at),
            "permissions": permissions,
            "repository_selection": installation.selection if selected is None else "selected",
        }
        if selected is not None:
            document["repositories"] = [self._documents.repository(r) for r in selected]
        return web.json_response(document, status=201)

    def _from_path(self, request: web.Request) -> Installation:
        found = self._world.installations.get(int(request.match_info["id"]))
        if found is None:
            raise ErrorResponse(404, "Not Found")
        return found


def credential_of(request: web.Request) -> str:
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() if scheme.lower() in ("bearer", "token") else ""


def _reject_suspended(installation: Installation) -> None:
    if installation.suspended:
        raise ErrorResponse(403, "This installation has been suspended")


def _selected(installation: Installation, body: Json) -> list[Repository] | None:
    names = {str(name).lower() for name in field(body, "repositories", [], list)}
    ids = set(field(body, "repository_ids", [], list))
    if not names and not ids:
        return None
    selected = [r for r in installation.repositories if r.name.lower() in names or r.id in ids]
    if {r.name.lower() for r in selected} >= names and {r.id for r in selected} >= ids:
        return selected
    raise ErrorResponse(
        422,
        "There is at least one repository that does not exist or is not accessible to the parent "
        "installation.",
    )


def _permissions(installation: Installation, body: Json) -> dict[str, str]:
    requested = field(body, "permissions", {}, dict)
    for permission, level in requested.items():
        if not covers(installation.permissions, permission, level):
            raise ErrorResponse(422, NOT_GRANTED)
    return {**requested, "metadata": "read"} if requested else dict(installation.permissions)

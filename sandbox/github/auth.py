"""Who is asking: the App by its JWT, an installation by its token, a person by a personal one.

Source: https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app
"""

import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sandbox.github.documents import Documents, iso
from sandbox.github.fields import body_of, field, page
from sandbox.github.model import (
    Account,
    Installation,
    Json,
    RefusedError,
    Repository,
    Token,
    World,
    covers,
    now,
)

UNDECODABLE = "A JSON web token could not be decoded"
NOT_GRANTED = "The permissions requested are not granted to this installation."
MAX_JWT_LIFE = 600


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever made a request. `token` is None for a person, who may do all, everywhere."""

    account: Account
    token: Token | None = None

    def sees(self, repository: Repository) -> bool:
        if self.token is None:
            return True
        if self.token.repositories is not None and repository.id not in self.token.repositories:
            return False
        return repository in self.token.installation.repositories

    def may(self, permission: str, level: str) -> bool:
        return self.token is None or covers(self.token.permissions, permission, level)


class Auth:
    def __init__(self, world: World, documents: Documents, token_life: timedelta) -> None:
        self.token_life = token_life
        self._world = world
        self._documents = documents
        # Checking the key takes longer than all the rest of a start, and it is our own.
        pem = world.app.private_key_pem.encode()
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        self._public_key: Any = key.public_key()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/app", self._app),
            web.get("/app/installations", self._installations),
            web.get("/app/installations/{id:\\d+}", self._installation),
            web.get("/repos/{owner}/{repo}/installation", self._repository_installation),
            web.post("/app/installations/{id:\\d+}/access_tokens", self._access_tokens),
        ]

    def caller(self, request: web.Request) -> Caller:
        credential = credential_of(request)
        if not credential:
            raise RefusedError(401, "Requires authentication")
        if user := self._world.users.get(credential):
            return Caller(user.account)
        token = self._world.tokens.get(credential)
        if token is None or token.expires_at <= now():
            raise RefusedError(401, "Bad credentials")
        if token.installation.id not in self._world.installations:
            raise RefusedError(401, "Bad credentials")
        _refuse_suspended(token.installation)
        return Caller(self._world.app.bot, token)

    def enter(self, request: web.Request, permission: str, level: str) -> tuple[Caller, Repository]:
        """The caller and the repository of the path, if the one may do that in the other."""
        caller = self.caller(request)
        names = request.match_info
        repository = self._world.repository(f"{names['owner']}/{names['repo']}")
        if not caller.sees(repository):
            raise RefusedError(404, "Not Found")
        if not caller.may(permission, level):
            raise RefusedError(403, "Resource not accessible by integration")
        return caller, repository

    def check_jwt(self, request: web.Request) -> None:
        """Clocks are GitHub's: iat must not be ahead, exp at most ten minutes away."""
        claims = self._decode(credential_of(request))
        issuer, issued, expires = claims.get("iss"), claims.get("iat"), claims.get("exp")
        if issuer is None:
            raise RefusedError(401, "Missing 'issuer' claim ('iss') in assertion")
        if str(issuer) not in (str(self._world.app.id), self._world.app.client_id):
            raise RefusedError(404, "Integration not found")
        if not isinstance(issued, int | float) or issued > time.time():
            raise RefusedError(
                401,
                "'Issued at' claim ('iat') must be an Integer representing the time that the "
                "assertion was issued",
            )
        if not isinstance(expires, int | float) or expires <= time.time():
            raise RefusedError(
                401,
                "'Expiration time' claim ('exp') must be a numeric value representing the future "
                "time at which the assertion expires",
            )
        if expires > time.time() + MAX_JWT_LIFE:
            raise RefusedError(401, "'Expiration time' claim ('exp') is too far in the future")

    def _decode(self, credential: str) -> Json:
        unchecked = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        # The type of `iss` is ours to judge: GitHub takes a number as well.
        options: Any = {**unchecked, "verify_iss": False, "verify_aud": False}
        try:
            return jwt.decode(credential, self._public_key, algorithms=["RS256"], options=options)
        except jwt.PyJWTError:
            raise RefusedError(401, UNDECODABLE) from None

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

    async def _installation(self, request: web.Request) -> web.Response:
        self.check_jwt(request)
        return web.json_response(self._documents.installation(self._named(request)))

    async def _repository_installation(self, request: web.Request) -> web.Response:
        self.check_jwt(request)
        names = request.match_info
        repository = self._world.repository(f"{names['owner']}/{names['repo']}")
        installation = self._world.installed(repository)
        if installation is None:
            raise RefusedError(404, "Not Found")
        return web.json_response(self._documents.installation(installation))

    async def _access_tokens(self, request: web.Request) -> web.Response:
        self.check_jwt(request)
        installation = self._named(request)
        _refuse_suspended(installation)
        body = await body_of(request)
        chosen = _chosen(installation, body)
        permissions = _narrowed(installation, body)
        expires_at = now() + self.token_life
        ids = None if chosen is None else frozenset(r.id for r in chosen)
        secret = "ghs_" + secrets.token_urlsafe(27)
        self._world.tokens[secret] = Token(installation, ids, permissions, expires_at)
        answer: Json = {
            "token": secret,
            "expires_at": iso(expires_at),
            "permissions": permissions,
            "repository_selection": installation.selection if chosen is None else "selected",
        }
        if chosen is not None:
            answer["repositories"] = [self._documents.repository(r) for r in chosen]
        return web.json_response(answer, status=201)

    def _named(self, request: web.Request) -> Installation:
        found = self._world.installations.get(int(request.match_info["id"]))
        if found is None:
            raise RefusedError(404, "Not Found")
        return found


def credential_of(request: web.Request) -> str:
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() if scheme.lower() in ("bearer", "token") else ""


def _refuse_suspended(installation: Installation) -> None:
    if installation.suspended:
        raise RefusedError(403, "This installation has been suspended")


def _chosen(installation: Installation, body: Json) -> list[Repository] | None:
    names, ids = field(body, "repositories", [], list), field(body, "repository_ids", [], list)
    if not names and not ids:
        return None
    wanted = {str(n).lower() for n in names}, set(ids)
    chosen = [
        r for r in installation.repositories if r.name.lower() in wanted[0] or r.id in wanted[1]
    ]
    if {r.name.lower() for r in chosen} >= wanted[0] and {r.id for r in chosen} >= wanted[1]:
        return chosen
    raise RefusedError(
        422,
        "There is at least one repository that does not exist or is not accessible to the parent "
        "installation.",
    )


def _narrowed(installation: Installation, body: Json) -> dict[str, str]:
    wanted = field(body, "permissions", {}, dict)
    for permission, level in wanted.items():
        if not covers(installation.permissions, permission, level):
            raise RefusedError(422, NOT_GRANTED)
    return {**wanted, "metadata": "read"} if wanted else dict(installation.permissions)

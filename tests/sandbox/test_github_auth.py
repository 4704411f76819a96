"""The App's JWT and installation tokens, over HTTP."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gidgethub import apps
from gidgethub.aiohttp import GitHubAPI

from sandbox.github.model import Installation
from sandbox.github.server import GitHub

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]
MakeJwt = Callable[..., str]
UNDECODABLE = "A JSON web token could not be decoded"


async def test_gidgethub_gets_a_token_that_works(
    github: GitHub, installation: Installation, client: GitHubAPI, shape: Shape
) -> None:
    response = await apps.get_installation_access_token(
        client,
        installation_id=str(installation.id),
        app_id=str(github.app.id),
        private_key=github.private_key_pem,
    )
    shape("InstallationToken", response)
    repository = await client.getitem("/repos/acme/web", oauth_token=response["token"])
    assert repository["full_name"] == "acme/web"
    assert github.token_requests == 1
    assert client.rate_limit is not None
    assert client.rate_limit.remaining == 4999


@pytest.mark.parametrize("prefix", ["", "/api/v3"])
async def test_the_app_is_found_with_and_without_the_prefix_of_ghes(
    github: GitHub, session: aiohttp.ClientSession, app_jwt: MakeJwt, prefix: str
) -> None:
    headers = {"Authorization": f"Bearer {app_jwt()}"}
    async with session.get(f"{github.url}{prefix}/app", headers=headers) as response:
        assert (await response.json())["slug"] == "gitploy-relay"


@pytest.mark.parametrize("issuer", [4242, "4242", "Iv23liSandboxRelay00"])
async def test_the_issuer_may_be_the_id_or_the_client_id(
    send: Send, app_jwt: MakeJwt, issuer: object, shape: Shape
) -> None:
    status, document = await send("GET", "/app", app_jwt(iss=issuer))
    assert status == 200
    shape("Integration", document)


@pytest.mark.parametrize(
    ("claims", "status", "text"),
    [
        ({"iss": "4243"}, 404, "Integration not found"),
        ({"iss": None}, 401, "Missing 'issuer' claim"),
        ({"iat": time.time() + 3600}, 401, "'Issued at' claim ('iat')"),
        ({"iat": None}, 401, "'Issued at' claim ('iat')"),
        ({"exp": 1_000_000_000}, 401, "'Expiration time' claim ('exp') must be"),
        ({"exp": None}, 401, "'Expiration time' claim ('exp') must be"),
        ({"exp": 99_999_999_999}, 401, "'Expiration time' claim ('exp') is too far in the future"),
    ],
)
async def test_a_jwt_with_a_wrong_claim_is_rejected(
    send: Send, app_jwt: MakeJwt, claims: dict[str, Any], status: int, text: str
) -> None:
    actual, document = await send("GET", "/app", app_jwt(**claims))
    assert actual == status
    assert text in document["message"]
    assert document["documentation_url"]


async def test_a_jwt_may_expire_in_ten_minutes(send: Send, app_jwt: MakeJwt) -> None:
    assert (await send("GET", "/app", app_jwt(exp=int(time.time()) + 600)))[0] == 200


async def test_a_jwt_signed_with_another_key_is_rejected(send: Send, app_jwt: MakeJwt) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    status, document = await send("GET", "/app", app_jwt(pem.decode()))
    assert (status, document["message"]) == (401, UNDECODABLE)


async def test_a_jwt_with_another_algorithm_is_rejected(send: Send, github: GitHub) -> None:
    at = int(time.time())
    claims = {"iat": at, "exp": at + 60, "iss": github.app.client_id}
    forged = jwt.encode(claims, "x" * 32, algorithm="HS256")
    assert (await send("GET", "/app", forged))[0] == 401


@pytest.mark.parametrize("credential", ["", "ghs_nothing", "ey.ey.ey"])
async def test_a_credential_that_is_not_a_jwt_is_rejected(send: Send, credential: str) -> None:
    status, document = await send("GET", "/app", credential)
    assert (status, document["message"]) == (401, UNDECODABLE)


async def test_installations_are_listed_and_found_by_repository(
    send: Send, app_jwt: MakeJwt, installation: Installation, shape: Shape
) -> None:
    _, every = await send("GET", "/app/installations", app_jwt())
    _, one = await send("GET", "/repos/acme/web/installation", app_jwt())
    _, same = await send("GET", f"/app/installations/{installation.id}", app_jwt())
    assert every == [one] == [same]
    assert shape("Installation", one).id == installation.id


async def test_a_repository_without_the_app_has_no_installation(
    github: GitHub, send: Send, app_jwt: MakeJwt
) -> None:
    github.add_repository("other/web")
    assert (await send("GET", "/repos/other/web/installation", app_jwt()))[0] == 404


async def test_a_token_can_be_narrowed(
    send: Send, app_jwt: MakeJwt, installation: Installation, shape: Shape
) -> None:
    path = f"/app/installations/{installation.id}/access_tokens"
    requested = {"repositories": ["web"], "permissions": {"deployments": "read"}}
    status, document = await send("POST", path, app_jwt(), requested)
    assert status == 201
    shape("InstallationToken", document)
    assert document["permissions"] == {"deployments": "read", "metadata": "read"}
    assert [r["name"] for r in document["repositories"]] == ["web"]
    assert (await send("GET", "/repos/acme/web", document["token"]))[0] == 200
    assert (await send("GET", "/repos/acme/api", document["token"]))[0] == 404
    body = {"ref": "main"}
    status, rejected = await send("POST", "/repos/acme/web/deployments", document["token"], body)
    assert (status, rejected["message"]) == (403, "Resource not accessible by integration")


async def test_a_token_can_be_narrowed_by_repository_id(
    send: Send, app_jwt: MakeJwt, installation: Installation
) -> None:
    path = f"/app/installations/{installation.id}/access_tokens"
    requested = {"repository_ids": [installation.repositories[1].id]}
    _, document = await send("POST", path, app_jwt(), requested)
    assert [r["full_name"] for r in document["repositories"]] == ["acme/api"]


@pytest.mark.parametrize(
    "requested",
    [
        {"repositories": ["unknown"]},
        {"repository_ids": [1]},
        {"permissions": {"contents": "write"}},
        {"permissions": {"issues": "read"}},
        {"permissions": {"deployments": "everything"}},
        {"repositories": "web"},
    ],
)
async def test_a_token_cannot_be_widened(
    send: Send, app_jwt: MakeJwt, installation: Installation, requested: dict[str, Any]
) -> None:
    path = f"/app/installations/{installation.id}/access_tokens"
    assert (await send("POST", path, app_jwt(), requested))[0] == 422


async def test_an_unknown_installation_has_no_token(send: Send, app_jwt: MakeJwt) -> None:
    assert (await send("POST", "/app/installations/1/access_tokens", app_jwt()))[0] == 404


async def test_a_suspended_installation_can_do_nothing(
    send: Send, app_jwt: MakeJwt, installation: Installation, token: str
) -> None:
    installation.suspended = True
    path = f"/app/installations/{installation.id}/access_tokens"
    for response in (
        await send("POST", path, app_jwt()),
        await send("GET", "/repos/acme/web", token),
    ):
        assert response[0] == 403
        assert response[1]["message"] == "This installation has been suspended"


async def test_the_token_of_a_deleted_installation_is_invalid(
    github: GitHub, send: Send, installation: Installation, token: str
) -> None:
    del github.world.installations[installation.id]
    assert (await send("GET", "/repos/acme/web", token))[0] == 401


async def test_a_token_expires(
    github: GitHub, send: Send, app_jwt: MakeJwt, installation: Installation
) -> None:
    github.auth.token_life = timedelta(seconds=-1)
    path = f"/app/installations/{installation.id}/access_tokens"
    _, document = await send("POST", path, app_jwt())
    assert datetime.fromisoformat(document["expires_at"]) < datetime.now(UTC)
    status, rejected = await send("GET", "/repos/acme/web", document["token"])
    assert (status, rejected["message"]) == (401, "Bad credentials")


async def test_a_request_without_a_token_is_rejected(
    send: Send, installation: Installation
) -> None:
    assert (await send("GET", "/repos/acme/web"))[0] == 401
    assert (await send("GET", "/repos/acme/web", "ghp_unknown"))[0] == 401


async def test_a_request_without_a_user_agent_is_rejected(
    github: GitHub, session: aiohttp.ClientSession
) -> None:
    async with session.get(github.url, skip_auto_headers=["User-Agent"]) as response:
        assert response.status == 403
        assert "User-Agent" in await response.text()


async def test_each_response_has_the_rate_limit_and_the_limit_is_enforced(
    github: GitHub, session: aiohttp.ClientSession
) -> None:
    github.rate_limits.per_hour = 2
    user = github.add_user("alice")
    github.add_repository("alice/web")
    headers = {"Authorization": f"token {user.token}"}
    seen = []
    for _ in range(3):
        async with session.get(f"{github.url}/repos/alice/web", headers=headers) as response:
            seen.append((response.status, response.headers["x-ratelimit-remaining"]))
            assert int(response.headers["x-ratelimit-reset"]) > time.time()
    assert seen == [(200, "1"), (200, "0"), (403, "0")]

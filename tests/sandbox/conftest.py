import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import import_module
from typing import Any

import aiohttp
import jwt
import pytest
from gidgethub.aiohttp import GitHubAPI
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.github.model import Installation
from sandbox.github.server import GitHub
from sandbox.slack.server import Slack

Shape = Callable[[str, Any], Any]
StatusAndDocument = tuple[int, Any]
Send = Callable[..., Awaitable[StatusAndDocument]]


@pytest.fixture
async def github() -> AsyncIterator[GitHub]:
    async with GitHub() as server:
        yield server


@pytest.fixture
def installation(github: GitHub) -> Installation:
    return github.add_installation("acme", ["acme/web", "acme/api"])


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def client(github: GitHub, session: aiohttp.ClientSession) -> GitHubAPI:
    return GitHubAPI(session, "tests", base_url=github.api_url)


@pytest.fixture
def app_jwt(github: GitHub) -> Callable[..., str]:
    """A valid JWT of the App, with these claims changed; None removes one."""

    def make(key: str = github.private_key_pem, **claims: Any) -> str:
        at = int(time.time())
        every = {"iat": at - 60, "exp": at + 300, "iss": github.app.client_id} | claims
        kept = {name: value for name, value in every.items() if value is not None}
        # PyJWT itself insists on a string for `iss`; GitHub takes a number too.
        raw = json.dumps(kept).encode()
        return jwt.api_jws.encode(raw, key, algorithm="RS256")

    return make


@pytest.fixture
def send(github: GitHub, session: aiohttp.ClientSession) -> Send:
    """Sends one request to the API and returns the status and the document."""

    async def request(
        method: str, path: str, token: str = "", body: Any = None
    ) -> StatusAndDocument:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = github.api_url + path
        async with session.request(method, url, json=body, headers=headers) as response:
            empty = response.status == 204
            return response.status, None if empty else await response.json()

    return request


@pytest.fixture
async def token(installation: Installation, send: Send, app_jwt: Callable[..., str]) -> str:
    """A token with all permissions of the installation."""
    path = f"/app/installations/{installation.id}/access_tokens"
    _, document = await send("POST", path, app_jwt())
    return str(document["token"])


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    async with Slack() as server:
        server.add_channel("deploys")
        yield server


@pytest.fixture
def bot(slack: Slack) -> AsyncWebClient:
    return AsyncWebClient(slack.token, base_url=slack.api_url, retry_handlers=[])


@pytest.fixture(scope="session")
def shape() -> Shape:
    """Validates a document against GitHub's own description, and returns the model."""
    models = import_module("githubkit_schemas.latest.models")

    def check(name: str, document: Any) -> Any:
        return getattr(models, name).model_validate(document)

    return check


@pytest.fixture(scope="session")
def event_shape() -> Shape:
    """The same for the body of a webhook."""
    webhooks = import_module("githubkit_schemas.latest.webhooks").WebhookNamespace

    def check(event: str, body: Any) -> Any:
        return webhooks.parse(event, json.dumps(body))

    return check

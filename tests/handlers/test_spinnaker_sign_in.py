"""How the relay signs in to Spinnaker, and the errors where that fails."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from handlers.contract import State
from handlers.errors import Rejected, Unavailable
from sandbox.spinnaker.server import Spinnaker
from tests.handlers.runs import a_deployment
from tests.handlers.spinnaker_runs import World, a_pipeline, a_world
from tests.handlers.tools import FakeTool, a_certificate

DEPLOYMENT = a_deployment()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as created:
        created.spinnaker.add_pipeline(a_pipeline())
        yield created


async def test_a_user_who_may_not_search_everywhere_is_advised_to_name_the_application(
    world: World,
) -> None:
    world.spinnaker.searches_everywhere = False
    with pytest.raises(Rejected, match=r"403: .*; name the `application` in deploy\.yml"):
        await world.handler().find(DEPLOYMENT)
    assert (await world.deploy(application="shop")).state is State.SUCCESS


@pytest.mark.parametrize(
    "credential",
    [{"username": "relay", "password": "pa:ss é"}, {"token": "s3cret"}, {}],
    ids=["basic", "bearer", "open"],
)
async def test_the_relay_signs_in(credential: dict[str, Any]) -> None:
    async with a_world(**credential, webhooks_need_sign_in=True) as world:
        world.spinnaker.add_pipeline(a_pipeline())
        assert (await world.deploy(**credential)).state is State.SUCCESS


@pytest.mark.parametrize(
    ("needed", "given"),
    [
        ({"username": "relay", "password": "right"}, {"username": "relay", "password": "wr0ng"}),
        ({"username": "relay", "password": "right"}, {}),
        ({"token": "right"}, {"token": "wr0ng"}),
        ({"token": "right"}, {}),
    ],
)
async def test_a_wrong_credential_is_reported_at_once_and_not_shown(
    needed: dict[str, Any], given: dict[str, Any]
) -> None:
    async with a_world(**needed) as world:
        with pytest.raises(Rejected, match="check the credentials") as caught:
            await world.handler(**given).find(DEPLOYMENT)
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("path", ["/same", "/login"])
async def test_a_redirect_from_http_to_https_is_about_the_address(path: str) -> None:
    async with FakeTool() as proxy, a_world() as world:
        proxy.status = 301
        for location in (proxy.url.replace("http:", "https:") + path, "https://new.example/{}"):
            received = "/applications/*/executions/search"
            proxy.headers["Location"] = location.format(received[1:])
            with pytest.raises(Rejected, match=r"has moved; correct .* leads to https://"):
                await world.handler(url=proxy.url).find(DEPLOYMENT)


@pytest.mark.parametrize("location", ["/login", "https://sso.example/auth", ""])
async def test_a_redirect_to_another_page_is_about_the_credentials(location: str) -> None:
    async with FakeTool() as gate, a_world() as world:
        gate.status, gate.headers["Location"] = 302, location
        with pytest.raises(Rejected, match=r"302: check the credentials in deploy\.yml"):
            await world.handler(url=gate.url).find(DEPLOYMENT)


async def test_what_is_not_there_is_reported_to_be_a_matter_of_the_address() -> None:
    async with FakeTool() as other, a_world() as world:
        other.responds(404, {"error": "Not Found", "message": "404: Not Found"})
        with pytest.raises(Rejected, match="404: nothing is there; check its address"):
            await world.handler(url=other.url).find(DEPLOYMENT)


async def test_the_relay_signs_in_with_a_client_certificate(world: World, tmp_path: Path) -> None:
    server, client = a_certificate(tmp_path), a_certificate(tmp_path, "relay.example")
    async with behind_tls(world.spinnaker, server.file, server.key, client.file) as url:
        files: dict[str, Any] = {"ca": server.file, "certificate": client.file, "key": client.key}
        assert (await world.deploy(url=url, **files)).state is State.SUCCESS
        with pytest.raises(Unavailable):
            await world.handler(url=url, ca=server.file).start(DEPLOYMENT)
    assert world.posts() == 0  # only the address with TLS was used
    assert len(world.spinnaker.executions) == 1


@asynccontextmanager
async def behind_tls(
    spinnaker: Spinnaker, certificate: str, key: str, clients: str
) -> AsyncIterator[str]:
    """A second address of it, for clients with a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    app = web.Application(middlewares=spinnaker.middlewares())
    app.add_routes(spinnaker.routes())
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()

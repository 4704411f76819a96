"""Drone's responses to `check`, which verifies address and token without a deployment."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from handlers.contract import VerifiesAccess
from handlers.drone import Drone as Handler
from handlers.errors import Rejected, Unavailable
from handlers.http import Http
from sandbox.drone import Drone
from sandbox.faults import Fault
from tests.handlers.drone_runs import SLUG, World
from tests.handlers.tools import FakeTool, a_certificate, served_with_tls

USER = "GET /user"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with Drone(login="gitploy") as server, aiohttp.ClientSession() as session:
        yield World(server, server.add_repo(SLUG), Http(session))


def test_its_access_can_be_verified() -> None:
    assert issubclass(Handler, VerifiesAccess)


async def test_it_names_the_tokens_user(world: World) -> None:
    assert await world.handler().verify_access() == "signed in as gitploy"
    assert [(call.method, call.path) for call in world.drone.calls] == [("GET", "/user")]


async def test_a_wrong_token_is_reported_and_not_shown(world: World) -> None:
    with pytest.raises(Rejected, match="401: it does not know the token") as caught:
        await world.handler(token="wr0ng").verify_access()
    assert "wr0ng" not in str(caught.value)


async def test_a_path_that_is_not_drones_is_reported(world: World) -> None:
    world.drone.faults.add(USER, Fault.status(404, {"message": "Not Found"}))
    with pytest.raises(Rejected, match=r"Drone at .* returned 404: .*address in deploy\.yml"):
        await world.handler().verify_access()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.status(500), "returned 500"),
        (Fault.status(200, [1]), "does not understand"),
        (Fault.status(200, {"login": ""}), "does not understand"),
        (Fault.drop_before(), "gave no full response"),
        (Fault.hang(5), "did not respond in time"),
        (Fault.rate_limited(), "asks to wait"),
    ],
)
async def test_a_bad_response_is_reported(
    world: World, session: aiohttp.ClientSession, fault: Fault, message: str
) -> None:
    world = replace(world, http=Http(session, timeout=0.3 if fault.delay else 30))
    world.drone.faults.add(USER, fault)
    with pytest.raises(Unavailable, match=message):
        await world.handler().verify_access()


async def test_a_page_for_signing_in_is_not_drones_response(world: World) -> None:
    async with FakeTool() as other:
        other.shows_a_page()
        with pytest.raises(Unavailable, match=r"; check its address in deploy\.yml"):
            await world.handler(url=other.url).verify_access()


async def test_a_closed_port_is_reported(world: World) -> None:
    with pytest.raises(Unavailable, match="cannot be reached: connection refused"):
        await world.handler(url="http://127.0.0.1:9").verify_access()


async def test_the_own_authority_is_trusted(world: World, tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path)
    async with served_with_tls(certificate, leads_to=world.drone.url) as url:
        with pytest.raises(Unavailable, match=r"no safe connection to Drone at .*; set `ca`"):
            await world.handler(url=url).verify_access()
        with pytest.raises(Rejected, match="307: it has moved"):
            await world.handler(url=url, ca=certificate.file).verify_access()

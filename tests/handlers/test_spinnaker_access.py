"""Spinnaker's responses to `check`, which verifies address and credentials without a deployment."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from handlers.contract import VerifiesAccess
from handlers.errors import Rejected, Unavailable
from handlers.http import Http
from handlers.spinnaker import Spinnaker as Handler
from sandbox.faults import Fault
from sandbox.spinnaker.server import Spinnaker
from tests.handlers.spinnaker_runs import World, a_pipeline


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server = Spinnaker(token="s3cret")
    async with server, aiohttp.ClientSession() as session:
        server.add_pipeline(a_pipeline())
        yield World(server, Http(session))


def a_handler(world: World, **options: Any) -> Handler:
    return world.handler(**{"token": "s3cret", **options})


def test_its_access_can_be_verified() -> None:
    assert issubclass(Handler, VerifiesAccess)


async def test_a_good_address_is_accepted(world: World) -> None:
    assert await a_handler(world).verify_access() == "responds"
    message = "responds, and has the application 'shop'"
    assert await a_handler(world, application="shop").verify_access() == message
    assert await a_handler(world, application="shop", pipeline="Deploy").verify_access() == message
    assert world.posts() == 0


async def test_an_application_that_is_not_there_is_reported(world: World) -> None:
    with pytest.raises(Rejected, match=r"has no application 'shpo'; check it in deploy\.yml"):
        await a_handler(world, application="shpo").verify_access()


async def test_an_application_that_may_only_be_seen_is_not_enough(world: World) -> None:
    world.spinnaker.faults.add("GET /applications/shop/executions/*", Fault.status(403))
    with pytest.raises(Rejected, match="403: its user may not do this; check its permissions"):
        await a_handler(world, application="shop").verify_access()


async def test_a_user_who_may_not_search_everywhere_is_advised_to_name_the_application(
    world: World,
) -> None:
    world.spinnaker.searches_everywhere = False
    with pytest.raises(Rejected, match=r"403: .*; name the `application` in deploy\.yml"):
        await a_handler(world).verify_access()


@pytest.mark.parametrize("application", ["shop", None])
@pytest.mark.parametrize("given", [{"token": "wr0ng"}, {"token": None}])
async def test_a_wrong_token_is_reported_and_not_shown(
    world: World, application: str | None, given: dict[str, Any]
) -> None:
    with pytest.raises(Rejected, match="401: check the credentials") as caught:
        await a_handler(world, application=application, **given).verify_access()
    assert "wr0ng" not in str(caught.value)


async def test_gates_way_to_its_page_for_signing_in_is_reported() -> None:
    server = Spinnaker(username="relay", password="right")
    async with server, aiohttp.ClientSession() as session:
        handler = World(server, Http(session)).handler(username="relay", password="wr0ng")
        with pytest.raises(Rejected, match=r"302: check the credentials in deploy\.yml"):
            await handler.verify_access()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.status(500), "returned 500"),
        (Fault.status(200, [1]), "does not understand"),
        (Fault.drop_before(), "gave no full response"),
        (Fault.hang(5), "did not respond in time"),
        (Fault.rate_limited(), "asks to wait"),
    ],
)
async def test_a_bad_response_is_reported(
    world: World, session: aiohttp.ClientSession, fault: Fault, message: str
) -> None:
    world = replace(world, http=Http(session, timeout=0.3 if fault.delay else 30))
    for options in ({}, {"application": "shop"}):
        world.spinnaker.faults.add("GET *", fault)
        with pytest.raises(Unavailable, match=message):
            await a_handler(world, **options).verify_access()


async def test_a_closed_port_is_reported(world: World) -> None:
    with pytest.raises(Unavailable, match="cannot be reached: connection refused"):
        await a_handler(world, url="http://127.0.0.1:9").verify_access()

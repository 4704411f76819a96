"""Authentication of the stand-in for Spinnaker."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.spinnaker.server import Spinnaker
from tests.sandbox.test_spinnaker import EVENT, SEARCH, send


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_a_wrong_password_leads_to_the_page_for_signing_in(
    session: aiohttp.ClientSession,
) -> None:
    async with Spinnaker(username="relay", password="right") as server:
        for auth in (None, aiohttp.encode_basic_auth("relay", "wrong")):
            headers = {"Authorization": auth} if auth else {}
            assert await send(session, server, f"GET {SEARCH}", headers=headers) == (302, None)
        right = {"Authorization": aiohttp.encode_basic_auth("relay", "right")}
        assert await send(session, server, f"GET {SEARCH}", headers=right) == (200, [])


async def test_a_wrong_token_is_a_401(session: aiohttp.ClientSession) -> None:
    async with Spinnaker(token="right") as server:
        wrong = {"Authorization": "Bearer wrong"}
        assert (await send(session, server, f"GET {SEARCH}", headers=wrong))[0] == 401
        right = {"Authorization": "Bearer right"}
        assert (await send(session, server, f"GET {SEARCH}", headers=right))[0] == 200


@pytest.mark.parametrize(("needed", "status"), [(False, 200), (True, 401)])
async def test_webhooks_are_open_unless_configured_otherwise(
    session: aiohttp.ClientSession, needed: bool, status: int
) -> None:
    async with Spinnaker(token="right", webhooks_need_sign_in=needed) as server:
        line = "POST /webhooks/webhook/github"
        assert (await send(session, server, line, json=EVENT))[0] == status

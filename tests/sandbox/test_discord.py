"""The stand-in for Discord rejects what Discord rejects."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sandbox.discord import Discord
from sandbox.faults import Fault


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with Discord() as server:
        yield server


@pytest.fixture
def url(discord: Discord) -> str:
    return discord.add_webhook("deploys")


async def call(
    session: aiohttp.ClientSession, url: str, document: Any, method: str = "POST"
) -> tuple[int, Any]:
    async with session.request(method, url, json=document) as response:
        return response.status, await response.json() if response.status != 204 else None


async def test_a_message_is_posted_shown_edited_and_deleted(
    discord: Discord, url: str, session: aiohttp.ClientSession
) -> None:
    status, posted = await call(session, f"{url}?wait=true", {"content": "a", "unknown": 1})
    assert (status, posted["content"]) == (200, "a")
    one = f"{url}/messages/{posted['id']}"
    assert (await call(session, one, {"content": "b"}, "PATCH"))[0] == 200
    assert (await call(session, one, None, "GET"))[1]["content"] == "b"
    assert discord.posted("deploys")[0].edits == 1
    assert (await call(session, one, None, "DELETE"))[0] == 204
    assert await call(session, one, {"content": "c"}, "PATCH") == (
        404,
        {"message": "Unknown Message", "code": 10008},
    )


async def test_without_wait_the_response_is_empty(url: str, session: aiohttp.ClientSession) -> None:
    assert await call(session, url, {"content": "a"}) == (204, None)


@pytest.mark.parametrize(
    ("change", "status", "code"), [((1, "1"), 404, 10015), ((2, "wrong"), 401, 50027)]
)
async def test_webhook_and_token_must_be_right(
    url: str, session: aiohttp.ClientSession, change: tuple[int, str], status: int, code: int
) -> None:
    parts = url.rsplit("/", 2)
    parts[change[0]] = change[1]
    found, body = await call(session, "/".join(parts), {"content": "a"})
    assert (found, body["code"]) == (status, code)


EMBED = {"title": "t"}


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({}, 50006),
        ({"content": "", "embeds": []}, 50006),
        ({"content": "x" * 2001}, 50035),
        ({"content": "x", "username": "Clyde"}, 50035),
        ({"content": "x", "username": "u" * 81}, 50035),
        ({"embeds": EMBED}, 50035),
        ({"embeds": [EMBED] * 11}, 50035),
        ({"embeds": [{"title": "x" * 257}]}, 50035),
        ({"embeds": [{"description": "x" * 4097}]}, 50035),
        ({"embeds": [{"description": "x" * 4000}, {"description": "x" * 2001}]}, 50035),
        ({"embeds": [{"title": "t", "color": 0x1000000}]}, 50035),
        ({"embeds": [{"title": "t", "url": "javascript:alert(1)"}]}, 50035),
        ({"embeds": [{"title": "t", "timestamp": "now"}]}, 50035),
        ({"embeds": [{"title": "t", "fields": [{"name": "a", "value": ""}]}]}, 50035),
        ({"embeds": [{"title": "t", "fields": [{"name": "a", "value": "x" * 1025}]}]}, 50035),
        ({"embeds": [{"title": "t", "fields": [{"name": "a", "value": "b"}] * 26}]}, 50035),
        ([], 50035),
    ],
)
async def test_what_exceeds_a_limit_is_rejected(
    discord: Discord, url: str, session: aiohttp.ClientSession, document: Any, code: int
) -> None:
    status, body = await call(session, url, document)
    assert (status, body["code"]) == (400, code)
    assert discord.messages == {}


@pytest.mark.parametrize(
    ("allowed", "pings"),
    [
        ({}, ["@everyone", "<@12>"]),
        ({"allowed_mentions": {"parse": []}}, []),
        ({"allowed_mentions": {"parse": ["users"]}}, ["<@12>"]),
    ],
)
async def test_mentions_notify_only_if_they_are_allowed(
    discord: Discord,
    url: str,
    session: aiohttp.ClientSession,
    allowed: dict[str, Any],
    pings: list[str],
) -> None:
    embed = {"description": "@everyone"}  # notifies nobody
    await call(session, url, {"content": "@everyone <@12>", "embeds": [embed], **allowed})
    assert discord.posted("deploys")[0].pings == pings


async def test_a_message_in_a_thread_is_found_with_its_thread_id(
    discord: Discord, url: str, session: aiohttp.ClientSession
) -> None:
    thread = discord.add_thread("deploys")
    elsewhere = discord.add_thread("other")
    assert (await call(session, f"{url}?thread_id={elsewhere}", {"content": "a"}))[0] == 404
    _, posted = await call(session, f"{url}?wait=true&thread_id={thread}", {"content": "a"})
    one = f"{url}/messages/{posted['id']}"
    assert (await call(session, one, {"content": "b"}, "PATCH"))[0] == 404
    assert (await call(session, f"{one}?thread_id={thread}", {"content": "b"}, "PATCH"))[0] == 200


async def test_a_webhook_has_a_rate_limit(session: aiohttp.ClientSession) -> None:
    async with Discord(limited=True) as discord:
        url = discord.add_webhook("deploys")
        for _ in range(5):
            assert (await call(session, url, {"content": "a"}))[0] == 204
        async with session.post(url, json={"content": "a"}) as response:
            assert response.status == 429
            assert 0 < (await response.json())["retry_after"] <= 2
            assert int(response.headers["Retry-After"]) >= 1
        other = discord.add_webhook("deploys")
        assert (await call(session, other, {"content": "a"}))[0] == 204


async def test_faults_can_be_injected(
    discord: Discord, url: str, session: aiohttp.ClientSession
) -> None:
    discord.faults.add("POST /webhooks/*", Fault.status(502, acts=True))
    assert (await call(session, url, {"content": "a"}))[0] == 502
    assert len(discord.posted("deploys")) == 1

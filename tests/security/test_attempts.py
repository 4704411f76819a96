"""Wrong credentials are limited and logged for a while only; right ones never are."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.world import World, live
from webhook.security.attempts import MOST, WITHIN, FailedAttempts

PING = b'{"zen": "Keep it logically awesome."}'


def test_attempts_are_counted_by_address_until_a_minute_without_any() -> None:
    now = [0.0]
    failed = FailedAttempts(lambda: now[0])
    assert [failed.add("a"), failed.add("a"), failed.add("b")] == [1, 2, 1]
    now[0] = WITHIN - 1
    assert failed.add("a") == 3
    now[0] = 2 * WITHIN - 2
    assert failed.add("a") == 4
    now[0] += WITHIN + 1
    assert failed.add("a") == 1


REQUESTS = {
    "webhook": ("POST", "/webhook"),
    "page": ("GET", "/deployments/acme/site/1?key=wrong"),
    "report": ("POST", "/repos/acme/site/deployments/1/statuses"),
    "slack": ("POST", "/slack/commands"),
}


async def attempt(session: aiohttp.ClientSession, world: World, name: str) -> int:
    method, path = REQUESTS[name]
    headers = world.github.delivery_headers("ping", b"something else")
    headers |= {"Authorization": "token grt_wrong", "X-Slack-Signature": "v0=wrong"}
    headers |= {"X-Slack-Request-Timestamp": "1"}
    async with session.request(method, world.url + path, data=PING, headers=headers) as response:
        if response.status == 429:
            assert response.headers["Retry-After"] == "60"
        return response.status


async def test_wrong_credentials_are_limited_and_right_ones_are_not(
    store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signing = {"GITPLOY_SLACK_SIGNING_SECRET": "a-signing-secret-of-slack"}
    opened = live(store_url, tmp_path, environ=signing, workers=0)
    async with opened as world, aiohttp.ClientSession() as session:
        for name, status in {"webhook": 401, "page": 403, "report": 401, "slack": 401}.items():
            async with asyncio.TaskGroup() as group:
                tried = [group.create_task(attempt(session, world, name)) for _ in range(MOST + 20)]
            assert sorted(one.result() for one in tried) == [status] * MOST + [429] * 20, name
        headers = world.github.delivery_headers("ping", PING)
        async with session.post(f"{world.url}/webhook", data=PING, headers=headers) as response:
            assert response.status == 202
    logged = [line for line in capsys.readouterr().err.splitlines() if "request rejected" in line]
    assert len([line for line in logged if "/webhook" in line]) == MOST + 1

"""The stand-in for an endpoint accepts only signed, current and valid events."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sandbox.event_receiver import EventReceiver, make_secret

EVENT = {"specversion": "1.0", "id": "1", "source": "https://relay.acme.io", "type": "a.b"}
JSON = "application/cloudevents+json; charset=utf-8"


@pytest.fixture
async def receiver() -> AsyncIterator[EventReceiver]:
    async with EventReceiver() as server:
        yield server


async def send(
    receiver: EventReceiver,
    session: aiohttp.ClientSession,
    body: bytes,
    *,
    secret: str = "",
    at: float | None = None,
    event_id: str = "1",
    content_type: str = JSON,
) -> int:
    timestamp = str(int(time.time() if at is None else at))
    key = base64.b64decode((secret or receiver.secret).removeprefix("whsec_"))
    digest = hmac.new(key, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "Content-Type": content_type,
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,AAAA v1,{base64.b64encode(digest).decode()}",
    }
    async with session.post(receiver.address, data=body, headers=headers) as response:
        return response.status


def written(**changes: Any) -> bytes:
    event = {name: value for name, value in {**EVENT, **changes}.items() if value is not None}
    return json.dumps(event).encode()


async def test_a_repeated_event_is_stored_once(
    receiver: EventReceiver, session: aiohttp.ClientSession
) -> None:
    for _ in range(2):
        assert await send(receiver, session, written(time="2026-11-22T03:04:05Z")) == 202
    assert list(receiver.events) == ["1"]
    assert receiver.arrivals["1"] == 2


@pytest.mark.parametrize(
    "given",
    [
        {"secret": make_secret()},
        {"at": time.time() - 3600},
        {"at": time.time() + 3600},
        {"event_id": ""},
        {"event_id": "a.b"},
    ],
)
async def test_an_event_without_a_current_signature_is_rejected(
    receiver: EventReceiver, session: aiohttp.ClientSession, given: dict[str, Any]
) -> None:
    assert await send(receiver, session, written(), **given) == 401
    assert receiver.events == {}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        written(id=None),
        written(type=""),
        written(source="relay"),
        written(specversion="0.3"),
        written(time="yesterday"),
        written(time="2026-11-22T03:04:05"),
        written(deployment_id="7"),
    ],
)
async def test_a_body_that_is_not_an_event_is_rejected(
    receiver: EventReceiver, session: aiohttp.ClientSession, body: bytes
) -> None:
    assert await send(receiver, session, body) == 400


async def test_only_structured_mode_is_accepted(
    receiver: EventReceiver, session: aiohttp.ClientSession
) -> None:
    assert await send(receiver, session, written(), content_type="application/json") == 415


async def test_an_endpoint_that_is_gone_responds_with_410(
    receiver: EventReceiver, session: aiohttp.ClientSession
) -> None:
    receiver.gone = True
    assert await send(receiver, session, written()) == 410

"""POST /webhook, over real HTTP: what is stored, what is rejected, and with which message."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from backports import zstd

from sandbox.github.webhooks import sign
from tests.world import QUICK, World, live, until
from webhook.store.deliveries import decompressed

PING = b'{"zen": "Keep it logically awesome.", "hook_id": 7}'
# Verified in a thread.
LARGE = PING[:-1] + b', "x": "' + b"x" * 100_000 + b'"}'


@pytest.fixture
async def world(store_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """Without a worker: what arrives stays as it was stored."""
    secrets = {"GITPLOY_WEBHOOK_SECRET": "a-new-secret-of-the-app,a-secret-of-the-sandbox"}
    async with live(store_url, tmp_path, environ=secrets, workers=0) as world:
        yield world


async def post(
    world: World, body: bytes = PING, event: str = "ping", without: str = "", **changed: Any
) -> tuple[int, dict[str, Any]]:
    """One delivery as GitHub sends it, but for the headers named (`_` stands for `-`)."""
    headers = world.github.delivery_headers(event, body)
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    headers.pop(without, None)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.url}/webhook", data=body, headers=headers) as response,
    ):
        return response.status, await response.json()


def kept(world: World) -> list[dict[str, Any]]:
    return world.rows("select * from deliveries order by id")


def to_process(world: World) -> list[int]:
    rows = world.rows("select subject from schedule where task = 'receive' order by subject")
    return [row["subject"] for row in rows]


async def test_a_signed_delivery_is_on_disk_to_be_processed_before_the_202(world: World) -> None:
    status, document = await post(world, X_GitHub_Delivery="guid-1")
    assert (status, document["delivery"]) == (202, "guid-1")
    [delivery] = kept(world)
    assert bytes(delivery["body"]) == PING
    assert (delivery["event"], delivery["outcome"]) == ("ping", None)
    assert to_process(world) == [delivery["id"]]


@pytest.mark.parametrize("size", [1_000, 10_000, 100_000])
async def test_a_body_is_stored_in_fewer_bytes_from_which_it_comes_back(
    world: World, size: int
) -> None:
    body = json.dumps({"zen": "\u00e9" * size}).encode()
    assert (await post(world, body=body))[0] == 202
    [delivery] = kept(world)
    assert len(delivery["body"]) < size
    assert zstd.decompress(delivery["body"]) == body


async def test_a_ping_gets_a_confirmation_that_the_webhook_works(world: World) -> None:
    _, document = await post(world)
    assert document["message"] == "the webhook works"


async def test_the_example_of_githubs_documentation_verifies() -> None:
    assert sign(b"Hello, World!", "It's a Secret to Everybody")["X-Hub-Signature-256"] == (
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )


async def test_each_of_several_secrets_is_accepted(world: World) -> None:
    status, _ = await post(world, **_signed(PING, "a-new-secret-of-the-app"))
    assert status == 202
    status, _ = await post(world, **_signed(PING, "a-secret-of-the-sandbox"))
    assert status == 202


async def test_an_unfinished_redelivery_is_worked_on_again_and_a_finished_one_is_not(
    world: World,
) -> None:
    for _ in range(2):
        assert (await post(world, X_GitHub_Delivery="guid-1"))[0] == 202
    assert [row["arrivals"] for row in kept(world)] == [2]
    assert len(to_process(world)) == 1
    with psycopg.connect(world.store_url) as connection:
        connection.execute("update deliveries set outcome = 'done'")
        connection.execute("delete from schedule")
    assert (await post(world, X_GitHub_Delivery="guid-1"))[0] == 202
    assert to_process(world) == []


async def test_the_same_guid_of_another_hook_is_another_delivery(world: World) -> None:
    await post(world, X_GitHub_Delivery="guid-1", X_GitHub_Hook_ID="1")
    await post(world, X_GitHub_Delivery="guid-1", X_GitHub_Hook_ID="2")
    assert len(kept(world)) == 2


async def test_many_at_once_are_all_kept_once(world: World) -> None:
    guids = [f"guid-{i % 40}" for i in range(80)]
    responses = await asyncio.gather(*(post(world, X_GitHub_Delivery=guid) for guid in guids))
    assert {status for status, _ in responses} == {202}
    assert sorted(row["guid"] for row in kept(world)) == sorted(set(guids))


def _signed(body: bytes, secret: str) -> dict[str, Any]:
    return {"X_Hub_Signature_256": sign(body, secret)["X-Hub-Signature-256"]}


REFUSALS: dict[str, tuple[dict[str, Any], int, str]] = {
    "wrong secret": (_signed(PING, "somebody else's"), 401, "fits none of the secrets"),
    "tampered body": (_signed(PING + b" ", "a-secret-of-the-sandbox"), 401, "fits none"),
    "SHA-1 only": ({"without": "X-Hub-Signature-256"}, 401, "SHA-1"),
    "empty signature": ({"X_Hub_Signature_256": ""}, 401, "SHA-1"),
    "non-ASCII signature": ({"X_Hub_Signature_256": "sha256=\u00e9"}, 401, "fits none"),
    "no event": ({"without": "X-GitHub-Event"}, 400, "X-GitHub-Event is missing"),
    "no GUID": ({"without": "X-GitHub-Delivery"}, 400, "X-GitHub-Delivery is missing"),
    "malformed GUID": ({"X_GitHub_Delivery": "a b"}, 400, "X-GitHub-Delivery is malformed"),
    "malformed hook id": ({"X_GitHub_Hook_ID": "x"}, 400, "X-GitHub-Hook-ID is malformed"),
    "form": ({"Content_Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
    "a list": ({"body": b"[1]"}, 400, "not a JSON object"),
    "not JSON": ({"body": b"hello"}, 400, "not a JSON object"),
    "empty body": ({"body": b""}, 400, "not a JSON object"),
}


async def test_a_malformed_delivery_is_rejected_with_a_message_and_not_stored(world: World) -> None:
    for case, (change, expected, message) in REFUSALS.items():
        status, document = await post(world, **change)
        assert status == expected, case
        assert message in document["error"], case
        assert document["remedy"], case
        assert kept(world) == [], case


async def test_a_delivery_that_is_sent_by_hand_is_told_which_header_is_missing_and_what_it_is(
    world: World,
) -> None:
    for header, example in (
        ("X-GitHub-Event", "such as ping"),
        ("X-GitHub-Delivery", "a UUID"),
        ("X-GitHub-Hook-ID", "a number"),
    ):
        _, document = await post(world, without=header)
        assert f"GitHub sends {header}" in document["remedy"]
        assert example in document["remedy"]
        assert "by hand, add it" in document["remedy"]


async def test_a_body_that_a_forwarder_wrote_anew_is_rejected_with_that_question(
    world: World,
) -> None:
    """As smee-client does: parsed and serialised again."""
    original = b'{"zen": "caf\\u00e9", "ratio": 1.0}'
    anew = json.dumps(json.loads(original), separators=(",", ":"), ensure_ascii=False).encode()
    signature = sign(original, "It's a Secret to Everybody")["X-Hub-Signature-256"]
    status, document = await post(world, body=anew, X_Hub_Signature_256=signature)
    assert status == 401
    assert "was the body changed on its way, by a forwarder or a proxy?" in document["remedy"]


async def test_a_missing_signature_is_rejected(world: World) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{world.url}/webhook",
            data=PING,
            headers={
                "Content-Type": "application/json",
                "X-GitHub-Event": "ping",
                "X-GitHub-Delivery": "guid-1",
                "X-GitHub-Hook-ID": "1",
            },
        ) as response,
    ):
        assert response.status == 401
        assert (await response.json())["error"] == "the signature is missing"


@pytest.mark.slow
async def test_26_mb_are_rejected_and_25_mb_are_stored(world: World) -> None:
    filler = b'{"a": "' + os.urandom(1).hex().encode() * (13 * 1024 * 1024 - 5) + b'"}'
    status, document = await post(world, body=filler)
    assert (status, document["error"]) == (413, "the body is larger than 25 MB")
    largest = json.dumps({"a": ""}).encode()
    largest = largest[:-2] + b"x" * (25 * 1024 * 1024 - len(largest)) + largest[-2:]
    assert (await post(world, body=largest))[0] == 202
    assert [len(decompressed(row["body"])) for row in kept(world)] == [25 * 1024 * 1024]


async def test_26_mb_without_a_length_are_rejected_too(world: World) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(26):
            yield b" " * 1024 * 1024

    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{world.url}/webhook",
            data=pieces(),
            headers=world.github.delivery_headers("ping", PING),
        ) as response,
    ):
        assert response.status == 413


async def test_opening_it_in_a_browser_explains_its_purpose(world: World) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{world.url}/webhook") as response,
    ):
        assert response.status == 405
        assert "webhook URL" in (await response.json())["remedy"]


async def test_without_a_store_the_response_is_503_with_retry_after(
    store_url: str, tmp_path: Path
) -> None:
    gone = store_url.replace("/test_", "/gone_")
    async with live(gone, tmp_path, workers=0) as world:
        body = PING
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{world.url}/webhook",
                data=body,
                headers=world.github.delivery_headers("ping", body),
            ) as response,
        ):
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert "readyz" in (await response.json())["remedy"]


async def test_after_deliveries_that_the_store_could_not_keep_in_time_it_keeps_others(
    store_url: str, tmp_path: Path
) -> None:
    # Each try may take half of that: long enough where the machine is busy.
    timing = replace(QUICK, connection_within=timedelta(seconds=1))
    async with live(store_url, tmp_path, workers=0, timing=timing) as world:
        assert (await post(world))[0] == 202
        with psycopg.connect(store_url) as other:
            other.execute("lock table deliveries")
            bodies = (PING, PING, LARGE)
            responses = await asyncio.gather(*(post(world, body=body) for body in bodies))
            assert {status for status, _ in responses} == {503}
        doubted = "select doubt from delivery_scan where doubted_at > now() - interval '1 minute'"
        assert (await post(world))[0] == 202
        # Somebody may have waited for one of them: GitHub's list is compared for that.
        await until(lambda: world.rows(doubted) or None)
        [due] = world.rows("select due_at - now() as span from schedule where task = 'recover'")
        assert due["span"] <= timing.deliveries_compared_after_doubt

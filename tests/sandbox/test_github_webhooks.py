"""Webhooks: what is sent, how it is signed, and what is recorded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from gidgethub import sansio
from gidgethub.aiohttp import GitHubAPI

from sandbox.faults import Fault
from sandbox.github.model import ErrorResponse, Installation
from sandbox.github.server import GitHub
from sandbox.github.webhooks import ARRIVES, Transit, sign
from sandbox.server import Server

Send = Callable[..., Awaitable[tuple[int, Any]]]
Shape = Callable[[str, Any], Any]
MakeJwt = Callable[..., str]


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes

    def event(self, secret: str) -> sansio.Event:
        lower = {name.lower(): value for name, value in self.headers.items()}
        return sansio.Event.from_http(lower, self.body, secret=secret)


class Receiver(Server):
    def __init__(self) -> None:
        super().__init__()
        self.received: list[Received] = []

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/webhook", self._take)]

    def middlewares(self) -> list[Any]:
        return [self.faults.middleware]

    async def _take(self, request: web.Request) -> web.Response:
        self.received.append(Received(dict(request.headers), await request.read()))
        return web.Response(status=202, text="kept")


@pytest.fixture
async def receiver(github: GitHub, installation: Installation) -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        github.webhook_url = f"{server.url}/webhook"
        yield server


async def test_a_deployment_is_delivered_signed(
    github: GitHub, receiver: Receiver, installation: Installation, event_shape: Shape
) -> None:
    created = await github.create_deployment("acme/web", payload={"who": "ä"})
    await github.settled()
    event = receiver.received[0].event(github.webhook_secret)
    assert event.event == "deployment"
    assert event.data["deployment"]["id"] == created.id
    assert event.data["workflow_run"] is None
    assert event.data["installation"]["id"] == installation.id
    assert event.data["organization"]["login"] == "acme"
    event_shape("deployment", event.data)
    headers = receiver.received[0].headers
    assert headers["User-Agent"].startswith("GitHub-Hookshot/")
    assert headers["X-GitHub-Hook-Installation-Target-Type"] == "integration"
    assert headers["X-GitHub-Hook-Installation-Target-ID"] == str(github.app.id)
    assert headers["X-Hub-Signature"].startswith("sha1=")


async def test_the_event_of_a_deployment_by_an_actions_job_has_its_run(
    github: GitHub, receiver: Receiver, event_shape: Shape
) -> None:
    await github.create_deployment("acme/web", workflow_run={"id": 77})
    await github.settled()
    body = receiver.received[0].event(github.webhook_secret).data
    event_shape("deployment", body)
    assert body["workflow_run"]["id"] == 77
    assert body["workflow"]["path"] == ".github/workflows/deploy.yml"


async def test_a_status_is_delivered_but_not_an_inactive_one(
    github: GitHub, receiver: Receiver, send: Send, token: str, event_shape: Shape
) -> None:
    created = await github.create_deployment("acme/web", environment="qa")
    path = f"/repos/acme/web/deployments/{created.id}/statuses"
    await send("POST", path, token, {"state": "success"})
    later = await github.create_deployment("acme/web", environment="qa")
    await github.create_status(later.id, "success")
    await github.create_status(later.id, "inactive")
    await github.settled()
    events = [r.event(github.webhook_secret) for r in receiver.received]
    statuses = [e.data for e in events if e.event == "deployment_status"]
    for body in statuses:
        event_shape("deployment_status", body)
    assert github.states(created.id) == ["success", "inactive"]
    assert len(statuses) == 2
    by_app = [b["deployment_status"]["performed_via_github_app"] is not None for b in statuses]
    assert sorted(by_app) == [False, True]


async def test_a_ping_is_delivered(github: GitHub, receiver: Receiver, event_shape: Shape) -> None:
    await github.ping()
    await github.settled()
    event = receiver.received[0].event(github.webhook_secret)
    assert event.event == "ping"
    assert event_shape("ping", event.data).hook_id


async def test_nothing_is_delivered_without_an_installation_or_a_subscription(
    github: GitHub, receiver: Receiver, installation: Installation
) -> None:
    github.add_repository("other/web")
    await github.create_deployment("other/web")
    installation.suspended = True
    await github.create_deployment("acme/web")
    installation.suspended = False
    github.app.events.remove("deployment")
    await github.create_deployment("acme/web")
    github.webhook_url = ""
    assert await github.ping() is None
    await github.settled()
    assert receiver.received == []
    assert github.deliveries == []


async def test_tests_can_sign_their_own_deliveries(
    github: GitHub, receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    body = b'{"zen":"mine"}'
    headers = github.delivery_headers("ping", body, guid="g-1")
    async with session.post(github.webhook_url, data=body, headers=headers) as response:
        assert response.status == 202
    event = receiver.received[0].event(github.webhook_secret)
    assert (event.delivery_id, event.data) == ("g-1", {"zen": "mine"})


def test_the_signature_is_that_of_githubs_documentation() -> None:
    signed = sign(b"Hello, World!", "It's a Secret to Everybody")
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signed["X-Hub-Signature-256"] == f"sha256={digest}"


async def test_every_attempt_is_recorded_and_none_is_repeated(
    github: GitHub, receiver: Receiver, send: Send, app_jwt: MakeJwt, shape: Shape
) -> None:
    await receiver.stop()
    await github.create_deployment("acme/web")
    await github.settled()
    await receiver.start()
    receiver.faults.add("POST /webhook", Fault.status(500))
    await github.create_deployment("acme/web")
    await github.settled()
    receiver.faults.add("POST /webhook", Fault.hang(0.5))
    github.webhooks.timeout = 0.1
    await github.create_deployment("acme/web")
    await github.settled()
    github.webhooks.timeout = 10
    await github.create_deployment("acme/web")
    await github.settled()
    _, items = await send("GET", "/app/hook/deliveries", app_jwt())
    for item in items:
        shape("HookDeliveryItem", item)
    assert [(i["status"], i["status_code"]) for i in items] == [
        ("OK", 202),
        ("timed out", 0),
        ("Invalid HTTP Response: 500", 500),
        ("failed to connect to host", 0),
    ]
    _, failed = await send("GET", "/app/hook/deliveries?status=failure", app_jwt())
    assert [i["status_code"] for i in failed] == [500]
    _, one = await send("GET", f"/app/hook/deliveries/{items[0]['id']}", app_jwt())
    full = shape("HookDelivery", one)
    assert full.response.payload == "kept"
    assert one["request"]["payload"]["deployment"]
    assert one["request"]["headers"]["X-GitHub-Delivery"] == one["guid"]


async def test_a_redelivery_keeps_its_guid_and_its_bytes(
    github: GitHub, receiver: Receiver, send: Send, app_jwt: MakeJwt
) -> None:
    await github.create_deployment("acme/web")
    await github.settled()
    first = github.deliveries[0]
    path = f"/app/hook/deliveries/{first.id}/attempts"
    assert (await send("POST", path, app_jwt()))[0] == 202
    await github.redeliver(first.guid)
    await github.settled()
    assert [d.redelivery for d in github.deliveries] == [False, True, True]
    assert len({d.guid for d in github.deliveries}) == 1
    assert len({d.id for d in github.deliveries}) == 3
    assert len({r.body for r in receiver.received}) == 1
    with pytest.raises(ErrorResponse):
        await github.redeliver("unknown")
    assert (await send("POST", "/app/hook/deliveries/1/attempts", app_jwt()))[0] == 404


async def test_deliveries_are_paged_by_a_cursor(
    github: GitHub, receiver: Receiver, client: GitHubAPI, send: Send, app_jwt: MakeJwt
) -> None:
    await asyncio.gather(*(github.ping() for _ in range(5)))
    await github.settled()
    path = "/app/hook/deliveries"
    found = [d["id"] async for d in client.getiter(path + "?per_page=2", jwt=app_jwt())]
    assert found == sorted((d.id for d in github.deliveries), reverse=True)
    assert (await send("GET", path, "ghs_token"))[0] == 401
    assert (await send("GET", path + "?cursor=x", app_jwt()))[0] == 422


async def test_sending_does_not_wait_for_the_receiver(github: GitHub, receiver: Receiver) -> None:
    receiver.faults.add("POST /webhook", Fault.hang(0.5))
    async with asyncio.timeout(0.2):
        await github.create_deployment("acme/web")
    assert github.deliveries == []


async def test_the_list_has_what_githubs_has(
    github: GitHub, receiver: Receiver, send: Send, app_jwt: MakeJwt
) -> None:
    hook, path = github.webhooks, "/app/hook/deliveries"
    hook.large_ids = True
    hook.transit = lambda one: ARRIVES if one.redelivery else Transit(fate="swallowed")
    await github.create_deployment("acme/web")
    await github.settled()
    assert receiver.received == []
    _, [swallowed] = await send("GET", path, app_jwt())
    assert (swallowed["status"], swallowed["status_code"]) == ("OK", 200)
    assert swallowed["id"] > 2**53
    # A redelivery is signed with the secret of now.
    github.app.webhook_secret = "another-secret-of-the-app"
    await send("POST", f"{path}/{swallowed['id']}/attempts", app_jwt())
    await github.settled()
    assert receiver.received[0].event(github.webhook_secret).event == "deployment"
    # The list shows it late, and no page by number.
    hook.listed_after = timedelta(minutes=2)
    await github.ping()
    await github.settled()
    assert len((await send("GET", f"{path}?page=2", app_jwt()))[1]) == 2
    github.world.ahead = timedelta(minutes=3)
    _, items = await send("GET", path, app_jwt())
    assert [item["event"] for item in items] == ["ping", "deployment", "deployment"]
    # It may have lost the payload.
    github.deliveries[-1].forgotten = True
    _, full = await send("GET", f"{path}/{items[0]['id']}", app_jwt())
    assert full["request"] == {"headers": None, "payload": None}
    # Each page's cursor may be stale, and after three days nothing is left.
    second = f"{path}?per_page=1&cursor=v1_{items[1]['id']}"
    assert (await send("GET", second, app_jwt()))[0] == 200
    hook.forget_cursors()
    assert (await send("GET", second, app_jwt()))[0] == 422
    github.world.ahead = timedelta(days=3, minutes=1)
    at = int(github.world.now().timestamp())
    later = app_jwt(iat=at - 60, exp=at + 300)
    assert (await send("GET", path, later))[1] == []
    assert (await send("GET", f"{path}/{items[0]['id']}", later))[0] == 404


async def test_the_hooks_configuration_is_read_and_changed(
    github: GitHub, receiver: Receiver, send: Send, app_jwt: MakeJwt, shape: Shape
) -> None:
    path = "/app/hook/config"
    _, config = await send("GET", path, app_jwt())
    assert shape("WebhookConfig", config).url == github.webhook_url
    assert config == {
        "url": github.webhook_url,
        "content_type": "json",
        "insecure_ssl": "0",
        "secret": "********",
    }
    changed = {"content_type": "form", "secret": "a-new-secret-of-the-app", "insecure_ssl": "1"}
    status, config = await send("PATCH", path, app_jwt(), changed)
    assert (status, config["content_type"], config["secret"]) == (200, "form", "********")
    await github.ping()
    await github.settled()
    [received] = receiver.received
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert received.headers.items() >= sign(received.body, "a-new-secret-of-the-app").items()
    _, full = await send("GET", f"/app/hook/deliveries/{github.deliveries[0].id}", app_jwt())
    assert full["request"]["payload"]["zen"]
    assert (await send("PATCH", path, app_jwt(), {"content_type": "xml"}))[0] == 422
    assert (await send("PATCH", path, app_jwt(), {"url": "ftp://example.com"}))[0] == 422
    assert (await send("GET", path, "ghs_token"))[0] == 401

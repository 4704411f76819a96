"""Drone with bad responses, or none."""

import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from handlers.contract import Run, State
from handlers.drone import Drone
from handlers.errors import Rejected, Unavailable
from sandbox.faults import Fault
from sandbox.server import Server
from tests.handlers.drone_runs import SLUG, World, a_world, waits
from tests.handlers.runs import a_deployment
from tests.handlers.tools import FakeTool, a_certificate, not_done, unknown_outcome

ONE = "GET /repos/acme/shop/builds/*"
PROMOTE = "POST /repos/acme/shop/builds/*/promote"
RUNS = Run("2", State.IN_PROGRESS, "http://drone.example/acme/shop/2")
ASKING = ("find", "start", "check")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world(takes=None) as world:
        yield world


async def verify_access(handler: Drone, what: str) -> Any:
    if what == "check":
        return await handler.check(a_deployment(), RUNS)
    return await getattr(handler, what)(a_deployment())


async def error_of(handler: Drone, what: str) -> Unavailable:
    """The read of a start has started nothing, whatever its outcome."""
    received = verify_access(handler, what)
    return await (not_done(received) if what == "start" else unknown_outcome(received))


class FixedBody(Server):
    """Responds to everything with `body`."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.route("*", "/{any:.*}", self._respond)]

    async def _respond(self, request: web.Request) -> web.Response:
        return web.Response(body=self.body, content_type="application/json")


@pytest.mark.parametrize("what", ASKING)
async def test_a_drone_that_is_down_is_tried_again(world: World, what: str) -> None:
    address = f"127.0.0.1:{unused_port()}"
    error = await not_done(verify_access(world.handler(url=f"http://{address}"), what))
    assert f"Drone at {address} cannot be reached" in str(error)


@pytest.mark.parametrize("what", ASKING)
async def test_a_drone_that_hangs_is_tried_again(what: str) -> None:
    async with a_world(timeout=0.3) as world:
        world.drone.faults.add("*", Fault.hang(30))
        assert "did not respond in time" in str(await error_of(world.handler(), what))


@pytest.mark.parametrize("what", ASKING)
async def test_429_is_retried_when_drone_allows(world: World, what: str) -> None:
    world.drone.faults.add("*", Fault.rate_limited(30))
    with pytest.raises(Unavailable) as caught:
        await verify_access(world.handler(), what)
    assert caught.value.retry_at is not None
    left = caught.value.retry_at - datetime.now(UTC)
    assert timedelta(seconds=25) < left <= timedelta(seconds=30)


@pytest.mark.parametrize("what", ASKING)
async def test_500_is_tried_again(world: World, what: str) -> None:
    world.drone.faults.add("*", Fault.status(500))
    assert "returned 500" in str(await error_of(world.handler(), what))


INVALID = {
    "html": b"<!doctype html><title>Sign in</title>",
    "nothing": b"",
    "a number": b"42",
    "an object": b"{}",
    "a list of nothing": b"[null]",
    "an error in a list": b'[{"message": "no"}]',
    "a build without a number": b'{"status":"success","event":"push","after":"x","created":1}',
    "a huge number": b'[{"number":' + b"9" * 5000 + b',"status":"success"}]',
    "a number too large": b'{"number":1e400,"status":"success","event":"","after":"","created":1}',
    "a status that is none": b'{"number":2,"status":{},"event":"","after":"","created":1}',
    "an endless status": b'{"number":2,"status":"%s","event":"","after":"","created":1}'
    % (b"x" * 999),
    "deep": b"[" * 100_000,
    "9 MB": b" " * 9 * 1024**2,
}


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
@pytest.mark.parametrize("what", ASKING)
async def test_a_response_of_another_shape_is_tried_again(
    world: World, what: str, body: bytes
) -> None:
    async with FixedBody(body) as unusual:
        error = await error_of(world.handler(url=unusual.url), what)
    address = unusual.url.removeprefix("http://")
    assert str(error).startswith(f"Drone at {address} returned")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.status(500, acts=True), "returned 500"),
        (Fault.status(200, ["?"], acts=True), "does not understand"),
        (Fault.drop_after(), "gave no full response"),
    ],
    ids=["500", "shape", "drop"],
)
async def test_a_promotion_with_an_invalid_response_may_exist(
    world: World, fault: Fault, message: str
) -> None:
    world.built()
    world.drone.faults.add(PROMOTE, fault)
    assert message in str(await unknown_outcome(world.handler().start(a_deployment())))
    assert await world.handler().find(a_deployment()) is not None


async def test_an_address_that_is_not_the_apis_is_reported(world: World) -> None:
    async with FakeTool() as other:
        other.shows_a_page()
        error = await error_of(world.handler(url=other.url), "start")
    assert "check its address in deploy.yml" in str(error)


@pytest.mark.parametrize("build", ["existing", "create"])
async def test_a_read_of_the_awaited_build_is_tried_again(world: World, build: str) -> None:
    if build == "existing":
        world.built("running")
    world.drone.faults.add(ONE, Fault.status(500))
    await not_done(world.handler(build=build).start(a_deployment()))
    assert "build #1 " in await waits(world.handler(build=build), a_deployment())
    assert len(world.drone.builds(SLUG)) == 1


async def test_a_drone_that_cannot_promote_is_reported_at_once(world: World) -> None:
    """The open-source edition."""
    world.built()
    world.drone.faults.add(PROMOTE, Fault.status(501, {"message": "Not Implemented"}))
    with pytest.raises(Rejected) as caught:
        await world.handler().start(a_deployment())
    address = world.drone.url.removeprefix("http://")
    assert str(caught.value) == f"Drone at {address} returned 501: Not Implemented"
    assert len(world.posts()) == 1


@pytest.mark.parametrize("what", ["find", "start"])
async def test_a_wrong_token_is_rejected_at_once(world: World, what: str) -> None:
    world.built()
    with pytest.raises(Rejected, match="does not know the token") as caught:
        await verify_access(world.handler(token="wrong"), what)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("what", ["find", "start"])
async def test_an_unknown_repository_is_rejected_at_once(world: World, what: str) -> None:
    with pytest.raises(Rejected, match="has no repository 'acme/none', or none that"):
        await verify_access(world.handler(repo="acme/none"), what)


@pytest.mark.parametrize("build", ["existing", "create"])
async def test_a_token_that_may_only_read_is_rejected_with_what_it_lacks(
    world: World, build: str
) -> None:
    if build == "existing":
        world.built()
    world.repo.access = "read"
    with pytest.raises(Rejected, match=f"returned 404: .* write access to {SLUG}"):
        await world.handler(build=build).start(a_deployment())


async def test_a_redirect_is_rejected_at_once(world: World) -> None:
    world.drone.faults.add("*", Fault.status(302))
    with pytest.raises(Rejected, match="correct its address"):
        await world.handler().start(a_deployment())


@pytest.mark.parametrize("status", [414, 431])
async def test_a_payload_too_long_for_an_address_is_reported(world: World, status: int) -> None:
    world.built()
    world.drone.faults.add(PROMOTE, Fault.status(status))
    with pytest.raises(Rejected, match="payload and parameters are too long"):
        await world.handler().start(a_deployment())


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 409, 410, 501])
async def test_a_run_is_not_given_up_for_an_unusual_rejection(world: World, status: int) -> None:
    world.drone.faults.add("*", Fault.status(status), times=2)
    with pytest.raises(Unavailable):
        await world.handler().check(a_deployment(), RUNS)


async def test_a_run_that_the_token_may_not_see_any_more_is_not_given_up(world: World) -> None:
    world.repo.access = "none"
    with pytest.raises(Unavailable, match="404"):
        await world.handler().check(a_deployment(), RUNS)


async def test_a_run_that_vanishes_is_rejected(world: World) -> None:
    with pytest.raises(Rejected, match="Build #2 is gone from Drone") as gone:
        await world.handler().check(a_deployment(), RUNS)
    assert (gone.value.status, gone.value.certain) == (404, False)


@pytest.mark.parametrize("status", [401, 403, 409, 500, 501])
async def test_a_cancel_that_is_rejected_does_not_count_as_done(world: World, status: int) -> None:
    world.drone.faults.add("DELETE *", Fault.status(status))
    with pytest.raises(Unavailable):
        await world.handler().cancel(a_deployment(), RUNS)


async def test_a_cancel_with_read_access_only_does_not_count_as_done(world: World) -> None:
    world.built()
    run = await world.handler().start(a_deployment())
    world.repo.access = "read"
    with pytest.raises(Unavailable, match="404"):
        await world.handler().cancel(a_deployment(), run)
    assert [promotion.status for promotion in world.promotions()] == ["pending"]


class TestTls:
    @pytest.fixture
    async def safe(self, world: World, tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
        """The address of the same Drone with an unknown certificate, and its file."""
        certificate, key, _ = a_certificate(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        app = web.Application()
        app.add_routes(world.drone.routes())
        server = TestServer(app, host="127.0.0.1", scheme="https")
        await server.start_server(ssl=context)
        yield str(server.make_url("")).rstrip("/"), certificate
        await server.close()

    @pytest.mark.parametrize("what", ASKING)
    async def test_an_unknown_certificate_is_reported(
        self, world: World, safe: tuple[str, str], what: str
    ) -> None:
        with pytest.raises(Unavailable, match=r"no safe connection to Drone .* certificate"):
            await verify_access(world.handler(url=safe[0]), what)

    async def test_its_own_authority_can_be_named(
        self, world: World, safe: tuple[str, str]
    ) -> None:
        world.built()
        url, certificate = safe
        run = await world.handler(url=url, ca=certificate).start(a_deployment())
        assert run.url == f"{url}/{SLUG}/2"

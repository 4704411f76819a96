"""The stand-in for Drone, as a client uses it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from yarl import URL

from sandbox.drone import Drone, Pipeline

SHA = "a" * 40
BUILDS = "/api/repos/acme/shop/builds"
Send = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
async def drone() -> AsyncIterator[Drone]:
    async with Drone(takes=None) as server:
        server.add_repo("acme/shop")
        yield server


@pytest.fixture
def call(drone: Drone, session: aiohttp.ClientSession) -> Send:
    async def request(
        method: str, path: str, *, token: str | None = None, **more: Any
    ) -> tuple[int, Any]:
        bearer = drone.token if token is None else token
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        url = URL(drone.url + path, encoded=True)
        async with session.request(method, url, headers=headers, **more) as response:
            return response.status, await response.json()

    return request


async def test_builds_are_listed_newest_first_without_their_stages(
    drone: Drone, call: Send
) -> None:
    for _ in range(30):
        drone.add_build("acme/shop", SHA)
    _, page = await call("GET", BUILDS)
    assert [build["number"] for build in page] == list(range(30, 5, -1))
    _, page = await call("GET", f"{BUILDS}?page=2&per_page=20")
    assert [build["number"] for build in page] == list(range(10, 0, -1))
    _, page = await call("GET", f"{BUILDS}?page=3&per_page=20")
    assert page == []
    _, page = await call("GET", f"{BUILDS}?per_page=101")
    assert len(page) == 25
    assert "stages" not in page[0]
    _, build = await call("GET", f"{BUILDS}/30")
    assert build["stages"][0]["steps"][0]["status"] == "success"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", BUILDS), ("GET", f"{BUILDS}/1"), ("DELETE", f"{BUILDS}/1"), ("POST", BUILDS)],
)
async def test_a_request_without_the_token_is_rejected(
    drone: Drone, call: Send, method: str, path: str
) -> None:
    drone.add_build("acme/shop", SHA)
    for token in ("", "wrong"):
        assert await call(method, path, token=token) == (401, {"message": "Unauthorized"})


async def test_a_public_repository_can_be_read_by_anybody(drone: Drone, call: Send) -> None:
    drone.repos["acme/shop"].public = True
    assert await call("GET", BUILDS, token="") == (200, [])
    assert (await call("POST", f"{BUILDS}/1/promote?target=x", token=""))[0] == 401


async def test_a_user_without_permission_gets_a_404(drone: Drone, call: Send) -> None:
    drone.add_build("acme/shop", SHA)
    drone.repos["acme/shop"].access = "read"
    assert (await call("GET", f"{BUILDS}/1"))[0] == 200
    for method, path in (("POST", "/1/promote?target=production"), ("POST", ""), ("DELETE", "/1")):
        assert await call(method, BUILDS + path) == (404, {"message": "Not Found"})
    drone.repos["acme/shop"].access = "none"
    assert (await call("GET", BUILDS))[0] == 404
    assert (await call("GET", BUILDS.replace("shop", "none")))[0] == 404


async def test_a_promotion_reads_its_parameters_from_the_query(drone: Drone, call: Send) -> None:
    drone.add_build("acme/shop", SHA, params={"OLD": "1", "BOTH": "1"})
    query = "target=production&BOTH=2&NEW=a%3Bb%26c+d&BAD=x;y&access_token=t&NEW=twice"
    status, created = await call("POST", f"{BUILDS}/1/promote?{query}", data={"BODY": "x"})
    assert (status, created["number"], created["parent"], created["event"]) == (
        200,
        2,
        1,
        "promote",
    )
    assert (created["after"], created["deploy_to"], created["trigger"]) == (
        SHA,
        "production",
        "relay",
    )
    assert created["params"] == {"OLD": "1", "BOTH": "2", "NEW": "a;b&c d"}
    _, again = await call("POST", f"{BUILDS}/2/promote?target=staging")
    assert again["params"] == created["params"]


@pytest.mark.parametrize("status", ["failure", "running", "killed"])
async def test_whatever_build_is_promoted(drone: Drone, call: Send, status: str) -> None:
    drone.add_build("acme/shop", SHA, status=status)
    assert (await call("POST", f"{BUILDS}/1/promote?target=production"))[1]["number"] == 2


async def test_a_target_that_triggers_nothing_gets_null(drone: Drone, call: Send) -> None:
    drone.add_build("acme/shop", SHA)
    assert await call("POST", f"{BUILDS}/1/promote?target=moon") == (200, None)
    assert await call("POST", f"{BUILDS}/1/rollback?target=production") == (200, None)
    assert len(drone.builds("acme/shop")) == 1


async def test_a_pipeline_without_a_trigger_runs_for_any(drone: Drone, call: Send) -> None:
    drone.add_build("acme/shop", SHA)
    drone.repos["acme/shop"].pipelines.append(Pipeline("test"))
    assert (await call("POST", f"{BUILDS}/1/promote?target=moon"))[1]["status"] == "pending"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/1/promote", 400), ("/9/promote?target=x", 404), ("/x/promote?target=x", 400)],
)
async def test_an_invalid_promotion_is_rejected(
    drone: Drone, call: Send, path: str, status: int
) -> None:
    drone.add_build("acme/shop", SHA)
    assert (await call("POST", BUILDS + path))[0] == status


async def test_a_build_is_created_for_a_commit(drone: Drone, call: Send) -> None:
    _, created = await call("POST", f"{BUILDS}?commit={SHA}&branch=dev&KEY=value")
    assert (created["event"], created["after"], created["ref"]) == ("custom", SHA, "refs/heads/dev")
    assert created["params"] == {"KEY": "value"}
    assert (await call("POST", f"{BUILDS}?commit=unknown"))[0] == 404


async def test_a_bad_yaml_makes_a_build_without_parameters(drone: Drone, call: Send) -> None:
    drone.add_build("acme/shop", SHA)
    drone.repos["acme/shop"].bad_yaml = "yaml: line 3"
    _, created = await call("POST", f"{BUILDS}/1/promote?target=production&KEY=value")
    assert (created["status"], created["error"], created["deploy_to"]) == (
        "error",
        "yaml: line 3",
        "production",
    )
    assert "params" not in created


async def test_a_build_with_takes_runs_by_itself(drone: Drone, call: Send) -> None:
    drone.takes = 60
    drone.repos["acme/shop"].ends["production"] = "failure"
    drone.add_build("acme/shop", SHA)
    _, created = await call("POST", f"{BUILDS}/1/promote?target=production")
    seen = [created["status"]]
    [build] = drone.builds("acme/shop", "promote")
    for _ in range(2):
        build.plan = [(at - 40, status) for at, status in build.plan]
        seen.append((await call("GET", f"{BUILDS}/2"))[1]["status"])
    assert seen == ["pending", "running", "failure"]


async def test_killing_ends_a_build_once(drone: Drone, call: Send) -> None:
    drone.add_build("acme/shop", SHA, status="running")
    drone.add_build("acme/shop", SHA)
    assert (await call("DELETE", f"{BUILDS}/1"))[1]["status"] == "killed"
    assert (await call("DELETE", f"{BUILDS}/1"))[0] == 200
    status, ended = await call("DELETE", f"{BUILDS}/2")
    assert (status, ended["status"]) == (200, "success")
    assert (await call("DELETE", f"{BUILDS}/3"))[0] == 404


async def test_only_the_stages_of_a_build_show_that_it_waits_for_approval(
    drone: Drone, call: Send
) -> None:
    drone.repos["acme/shop"].approval = True
    created = drone.deployment_hook(
        "acme/shop", 7, SHA, "production", {"a": 1, "b": None, "c": True}
    )
    assert created is not None
    _, build = await call("GET", f"{BUILDS}/1")
    assert (build["status"], build["stages"][0]["status"]) == ("pending", "blocked")
    assert (build["deploy_id"], build["trigger"]) == (7, "@hook")
    assert build["params"] == {"a": "1", "b": "<nil>", "c": "true"}
    drone.approve("acme/shop", created)
    assert (await call("GET", f"{BUILDS}/1"))[1]["stages"][0]["status"] == "pending"


async def test_a_deployment_that_triggers_nothing_makes_no_build(drone: Drone) -> None:
    assert drone.deployment_hook("acme/shop", 7, SHA, "moon", "a text") is None


@pytest.mark.parametrize("path", ["/acme/shop/1", "/ui/api/repos/acme/shop/builds"])
async def test_any_other_address_is_the_web_page(
    drone: Drone, session: aiohttp.ClientSession, path: str
) -> None:
    async with session.get(drone.url + path) as response:
        assert (response.status, response.content_type) == (200, "text/html")

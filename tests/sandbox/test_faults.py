"""Fault injection: the effect of each fault on a client."""

import asyncio
import time

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.faults import Fault, Faults
from sandbox.github.model import Deployment, Installation
from sandbox.github.server import GitHub
from sandbox.slack.server import Slack

MATCH = "POST /repos/*/*/deployments/*/statuses"
Headers = dict[str, str]


@pytest.fixture
async def deployment(github: GitHub, installation: Installation) -> Deployment:
    return await github.create_deployment("acme/web")


class Client:
    def __init__(
        self, github: GitHub, session: aiohttp.ClientSession, existing: Deployment
    ) -> None:
        self._session = session
        self._headers = {"Authorization": f"token {next(iter(github.world.users))}"}
        self._url = f"{github.api_url}/repos/acme/web/deployments/{existing.id}/statuses"

    async def write(self) -> tuple[int, Headers]:
        json = {"state": "success"}
        async with self._session.post(self._url, json=json, headers=self._headers) as response:
            await response.read()
            return response.status, {k.lower(): v for k, v in response.headers.items()}


@pytest.fixture
def client(github: GitHub, session: aiohttp.ClientSession, deployment: Deployment) -> Client:
    return Client(github, session, deployment)


async def test_a_fault_is_injected_as_often_as_requested(
    github: GitHub, client: Client, deployment: Deployment
) -> None:
    github.faults.add(MATCH, Fault.status(502), times=2)
    assert [(await client.write())[0] for _ in range(3)] == [502, 502, 201]
    assert github.states(deployment.id) == ["success"]
    assert [c.status for c in github.called("POST", "/statuses")] == [502, 502, 201]
    assert len(github.faults.fired) == 2


async def test_a_fault_is_injected_only_into_requests_that_match(
    github: GitHub, client: Client
) -> None:
    github.faults.add("GET /repos/*/*/deployments/*/statuses", Fault.status(502))
    github.faults.add("POST /repos/*/*/deployments", Fault.status(502))
    assert (await client.write())[0] == 201


async def test_faults_can_be_cleared(github: GitHub, client: Client) -> None:
    github.faults.add(MATCH, Fault.status(502), times=9)
    github.faults.clear()
    assert (await client.write())[0] == 201


async def test_a_500_may_have_acted(github: GitHub, client: Client, deployment: Deployment) -> None:
    github.faults.add(MATCH, Fault.status(500, acts=True))
    assert (await client.write())[0] == 500
    assert github.states(deployment.id) == ["success"]


@pytest.mark.parametrize(
    ("fault", "status", "expected"),
    [
        (Fault.rate_limited(retry_after=2), 429, {"retry-after": "2"}),
        (Fault.secondary_limit(), 403, {"retry-after": "60"}),
        (Fault.secondary_limit(None), 403, {"x-ratelimit-remaining": "4999"}),
        (Fault.primary_limit(reset_in=3600), 403, {"x-ratelimit-remaining": "0"}),
    ],
)
async def test_github_limits_in_four_ways(
    github: GitHub, client: Client, fault: Fault, status: int, expected: Headers
) -> None:
    github.faults.add(MATCH, fault)
    actual, headers = await client.write()
    assert actual == status
    assert expected.items() <= headers.items()
    assert int(headers["x-ratelimit-reset"]) > time.time()


async def test_a_hanging_request_is_still_done_after_the_client_has_gone(
    github: GitHub, client: Client, deployment: Deployment
) -> None:
    github.faults.add(MATCH, Fault.hang(0.1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.write()
    assert github.states(deployment.id) == []
    await github.wait_for(deployment.id, "success")


async def test_a_connection_drops_before_the_act(
    github: GitHub, client: Client, deployment: Deployment
) -> None:
    github.faults.add(MATCH, Fault.drop_before())
    with pytest.raises(aiohttp.ClientError):
        await client.write()
    assert github.states(deployment.id) == []
    assert github.calls[-1].status is None


async def test_a_connection_drops_after_the_act(
    github: GitHub, client: Client, deployment: Deployment
) -> None:
    github.faults.add(MATCH, Fault.drop_after())
    with pytest.raises(aiohttp.ClientError):
        await client.write()
    assert github.states(deployment.id) == ["success"]
    assert github.calls[-1].status is None


async def test_a_fault_of_slack_has_its_own_shape(slack: Slack, bot: AsyncWebClient) -> None:
    slack.faults.add("POST /chat.postMessage", Fault.slack("internal_error", acts=True))
    slack.faults.add("POST /chat.postMessage", Fault.rate_limited(3))
    with pytest.raises(SlackApiError, match="internal_error"):
        await bot.chat_postMessage(channel="deploys", text="a")
    assert len(slack.messages("deploys")) == 1
    with pytest.raises(SlackApiError, match="ratelimited") as caught:
        await bot.chat_postMessage(channel="deploys", text="b")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "3"


def test_random_faults_repeat_with_their_seed() -> None:
    def run(seed: int) -> list[Fault | None]:
        faults = Faults()
        faults.add_random("*", [Fault.status(500), Fault.drop_after()], 0.3, seed)
        return [faults.next("GET", "/api/v3/x") for _ in range(200)]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 30 < sum(fault is not None for fault in run(1)) < 90


async def test_a_server_comes_back_under_its_address(github: GitHub, client: Client) -> None:
    before = github.url
    await github.stop()
    with pytest.raises(aiohttp.ClientError):
        await client.write()
    await github.start()
    assert github.url == before
    assert (await client.write())[0] == 201

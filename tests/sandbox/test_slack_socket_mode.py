"""Socket Mode of the stand-in for Slack, with slack_sdk's own client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient as Client
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.slack.model import User
from sandbox.slack.server import Slack


class Listener:
    """Keeps what came, and acknowledges it unless event_request not to."""

    def __init__(self) -> None:
        self.received: list[SocketModeRequest] = []
        self.silent = 0
        self.payload: dict[str, Any] | None = None

    async def __call__(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        self.received.append(request)
        if self.silent:
            self.silent -= 1
            return
        await client.send_socket_mode_response(
            SocketModeResponse(request.envelope_id, self.payload)
        )


@pytest.fixture
def listener() -> Listener:
    return Listener()


def untyped(client: Any) -> Any:
    """slack_sdk has no types on what opens and closes a connection."""
    return client


Connect = Callable[[], Awaitable[Client]]


@pytest.fixture
async def connect(slack: Slack, listener: Listener) -> AsyncIterator[Connect]:
    """One more connection; all are closed in the end, also of a test that fails."""
    slack.socket_mode = True
    clients: list[Client] = []

    async def one_more() -> Client:
        web = AsyncWebClient(base_url=slack.api_url)
        client = Client(slack.app.app_token, web_client=web, ping_interval=0.05)
        client.socket_mode_request_listeners.append(listener)
        clients.append(client)
        await untyped(client).connect()
        await slack.sockets.connected(len(clients))
        return client

    yield one_more
    await asyncio.gather(*(untyped(client).close() for client in clients))


@pytest.fixture
async def client(connect: Connect) -> Client:
    return await connect()


@pytest.fixture
def ada(slack: Slack) -> User:
    return slack.add_user("ada")


async def test_commands_and_events_are_sent_through_the_connection(
    slack: Slack, client: Client, listener: Listener, ada: User
) -> None:
    listener.payload = {"text": "started"}
    response = await slack.command("/deploy", "acme/site", ada)
    assert (response.status, response.document) == (200, {"text": "started"})
    assert [w.text for w in slack.ephemeral_messages] == ["started"]
    event = await slack.event({"type": "app_uninstalled"})
    assert (event.status, event.body) == (200, "")
    command, event_request = listener.received
    assert (command.type, command.accepts_response_payload) == ("slash_commands", True)
    assert (command.payload["command"], command.payload["text"]) == ("/deploy", "acme/site")
    assert (event_request.type, event_request.retry_attempt) == ("events_api", 0)
    assert event_request.payload["event"]["type"] == "app_uninstalled"


async def test_a_press_comes_as_interactive(
    slack: Slack, client: Client, listener: Listener, ada: User, bot: AsyncWebClient
) -> None:
    button = {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}}
    blocks = [{"type": "actions", "elements": [button]}]
    await bot.chat_postMessage(channel="deploys", text="a", blocks=blocks)
    assert (await slack.press(slack.messages("deploys")[0], "go", ada)).status == 200
    [request] = listener.received
    assert (request.type, request.payload["type"]) == ("interactive", "block_actions")


async def test_an_envelope_without_acknowledgement_is_sent_again_through_another_connection(
    slack: Slack, client: Client, connect: Connect, listener: Listener, ada: User
) -> None:
    await connect()
    slack.response_timeout, listener.silent = 0.1, 1
    response = await slack.event({"type": "app_uninstalled"})
    assert (response.status, response.attempts) == (200, 2)
    assert [request.retry_attempt for request in listener.received] == [0, 1]
    assert len({request.envelope_id for request in listener.received}) == 1
    assert [len(connection.sent) for connection in slack.sockets.connections] == [1, 1]
    listener.silent = 2
    assert (await slack.command("/deploy", "", ada)).error == "operation_timeout"


async def test_the_client_reconnects_after_a_refresh_and_a_broken_connection(
    slack: Slack, client: Client, listener: Listener
) -> None:
    [first] = slack.sockets.connections
    await slack.sockets.disconnect("refresh_requested")
    await slack.sockets.connected()
    assert (await slack.event({"type": "a"})).status == 200
    assert first.sent == []
    await slack.sockets.drop()
    assert (await slack.event({"type": "b"})).status == 200
    assert [request.payload["event"]["type"] for request in listener.received] == ["a", "b"]


async def test_a_connection_needs_the_apps_own_token(slack: Slack) -> None:
    web = AsyncWebClient(base_url=slack.api_url, retry_handlers=[])

    async def error(token: str) -> str:
        with pytest.raises(SlackApiError) as caught:
            await web.apps_connections_open(app_token=token)
        return str(caught.value.response["error"])

    assert await error(slack.token) == "not_allowed_token_type"
    assert await error("xapp-wrong") == "invalid_auth"
    slack.app.app_token_scopes.clear()
    assert await error(slack.app.app_token) == "missing_scope"
    app = AsyncWebClient(slack.app.app_token, base_url=slack.api_url, retry_handlers=[])
    with pytest.raises(SlackApiError, match="not_allowed_token_type"):
        await app.auth_test()


async def test_a_ticket_is_valid_once(slack: Slack) -> None:
    web = AsyncWebClient(base_url=slack.api_url)
    url = (await web.apps_connections_open(app_token=slack.app.app_token))["url"]
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url) as socket:
            hello = await socket.receive_json()
            assert (hello["type"], hello["num_connections"]) == ("hello", 1)
            assert hello["connection_info"] == {"app_id": slack.app.id}
            await slack.sockets.disconnect("warning")
            assert (await socket.receive_json())["reason"] == "warning"
            await slack.sockets.connected()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)


async def test_without_a_connection_nothing_is_delivered(slack: Slack, ada: User) -> None:
    slack.socket_mode, slack.response_timeout = True, 0.02
    response = await slack.command("/deploy", "", ada)
    assert (response.status, response.error) == (None, "operation_timeout")
    await asyncio.wait_for(slack.workspace.uninstall(), 1)

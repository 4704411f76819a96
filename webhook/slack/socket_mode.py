"""Socket Mode: the relay connects to Slack and receives through it what people do.

Source: docs.slack.dev/apis/events-api/using-socket-mode and slack_sdk 3.47, `socket_mode.aiohttp`.
Units: seconds.
Errors: none; it connects again until it succeeds. An envelope is acknowledged after it was
stored, so Slack sends one again that was not.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from webhook.config.environments import Config, CurrentConfig
from webhook.settings import SlackSettings
from webhook.slack.actions.contract import Actions
from webhook.slack.actions.http import ActionIntake, Document
from webhook.store.database import sync_pool
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now

log = structlog.get_logger()

# What Slack sends, of type interactive, slash_commands or events_api -> the response.
OnEnvelope = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any] | None]]

TIMEOUT = 10

_NO_CONNECTION = (SlackClientError, aiohttp.ClientError, OSError, TimeoutError, ValueError)


async def listen(
    slack: SlackSettings, on_envelope: OnEnvelope, timing: Timing = DEFAULT_TIMING
) -> None:
    """Connect, and connect again, until it is cancelled."""
    shortest = timing.socket_retry_at_least.total_seconds()
    longest = timing.socket_retry_at_most.total_seconds()
    pause = shortest
    while True:
        try:
            async for _ in _connected(slack, on_envelope, timing):
                pause = shortest
            reason = "the connection was lost"
        except _NO_CONNECTION as error:
            reason = _reason(error)
        log.warning("no Socket Mode connection to Slack, retrying", error=reason, retry_in=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, longest)


async def _connected(
    slack: SlackSettings, on_envelope: OnEnvelope, timing: Timing
) -> AsyncIterator[None]:
    """Yields at intervals while there is a connection."""
    lost_after = timing.socket_lost_after.total_seconds()
    interval = timing.socket_check_interval.total_seconds()
    client = _client(slack)
    client.socket_mode_request_listeners.append(_listener(on_envelope))
    try:
        async with asyncio.timeout(lost_after):
            client.wss_uri = await client.issue_new_wss_url()
            await client.connect()  # type: ignore[no-untyped-call]
        log.info("connected to Slack by Socket Mode")
        missing = 0.0
        while missing < lost_after:
            if await client.is_connected():
                missing = 0.0
                yield
            else:
                missing += interval
            await asyncio.sleep(interval)
    finally:
        with suppress(*_NO_CONNECTION):
            await client.close()  # type: ignore[no-untyped-call]


def _client(slack: SlackSettings) -> SocketModeClient:
    web = AsyncWebClient(base_url=slack.base_url, timeout=TIMEOUT, retry_handlers=[])
    assert slack.app_token
    client = SocketModeClient(app_token=slack.app_token, logger=_quiet(), web_client=web)
    # slack_sdk uses HTTPS_PROXY for every address; NO_PROXY counts too.
    if proxy_bypass(urlsplit(slack.base_url).hostname or ""):
        client.proxy = web.proxy = None
    return client


def _quiet() -> logging.Logger:
    """slack_sdk's log lines hold addresses that are secrets."""
    logger = logging.getLogger(f"{__name__}.slack_sdk")
    logger.setLevel(logging.CRITICAL)
    return logger


def _listener(
    on_envelope: OnEnvelope,
) -> Callable[[AsyncBaseSocketModeClient, SocketModeRequest], Awaitable[None]]:
    async def handle(client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        try:
            response = await on_envelope(request.type, request.payload)
        except Exception as error:  # noqa: BLE001 - unacknowledged, Slack sends it again
            log.error("an envelope of Slack was not stored", kind=request.type, error=str(error))
            return
        payload = dict(response) if response and request.accepts_response_payload else None
        await client.send_socket_mode_response(SocketModeResponse(request.envelope_id, payload))

    return handle


def _reason(error: Exception) -> str:
    if not isinstance(error, SlackApiError):
        return str(error) or type(error).__name__
    code = str(error.response.get("error", ""))
    remedy = "see docs.slack.dev for this error"
    if code in ("invalid_auth", "not_authed", "not_allowed_token_type", "token_revoked"):
        remedy = "set GITPLOY_SLACK_APP_TOKEN anew, from the app's Basic Information"
    if code == "missing_scope":
        remedy = "give the app-level token the scope connections:write"
    return f"Slack returned {code}: {remedy}"


CONNECTIONS = 2


@asynccontextmanager
async def listening(
    slack: SlackSettings,
    config: Config,
    url: str,
    *,
    actions: Actions,
    timing: Timing = DEFAULT_TIMING,
    clock: Clock = utc_now,
) -> AsyncIterator[None]:
    """As long as the block lasts; each worker has a connection of its own, which Slack allows."""
    if not slack.app_token:
        yield
        return
    pool = sync_pool(url, CONNECTIONS, timing)
    intake = ActionIntake(pool, CurrentConfig(config), actions, timing, clock)

    async def store(kind: str, payload: Mapping[str, Any]) -> Document:
        return await asyncio.to_thread(intake.envelope, kind, payload)

    task = asyncio.create_task(listen(slack, store, timing))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(pool.close)

"""How Slack calls the App: signed HTTP requests to its URLs.

Source: https://docs.slack.dev/authentication/verifying-requests-from-slack
Units: seconds.
Errors: in `AppResponse`; nothing is raised.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import aiohttp
from slack_sdk.signature import SignatureVerifier

from sandbox.slack.model import Json
from sandbox.slack.workspace import Site

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
USER_AGENT = "Slackbot 1.0 (+https://api.slack.com/robots)"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A payload for the App. `kind` is Socket Mode's type; `accepts` is whether the acknowledgement
    may include a response."""

    kind: str
    payload: Json = field(repr=False)
    accepts: bool = False
    url: str = ""
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class AppResponse:
    """How the App responded. `status` is None without a response. `duplicates` are the responses to
    the other presses of a button that was pressed several times. `invalid` is Slack's error if it
    does not accept a response that came in time."""

    status: int | None
    seconds: float
    body: str
    delivery: Delivery
    timed_out: bool = False
    attempts: int = 1
    duplicates: tuple["AppResponse", ...] = ()
    invalid: str = ""

    @property
    def document(self) -> Any:
        """The body, if it is JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def error(self) -> str:
        """The error that Slack shows to the user."""
        if self.timed_out:
            return "operation_timeout"
        return self.invalid if self.status == 200 else "dispatch_failed"


class HttpDelivery:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, delivery: Delivery) -> AppResponse:
        """With a new signature."""
        body, content_type = _encoded(delivery)
        url = {
            "interactive": self._site.interactions_url,
            "slash_commands": self._site.commands_url,
            "events_api": self._site.events_url,
        }[delivery.kind]
        headers = {"Content-Type": content_type, "User-Agent": USER_AGENT, "Accept": "*/*"}
        headers |= signature_headers(self._site.app.signing_secret, body) | dict(delivery.headers)
        return await self.send_again(replace(delivery, url=url, body=body, headers=headers))

    async def send_again(self, delivery: Delivery) -> AppResponse:
        """The same bytes with the same signature."""
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=True)
        started = time.monotonic()

        def response_of(
            status: int | None, body: str = "", *, timed_out: bool = False
        ) -> AppResponse:
            return AppResponse(
                status, time.monotonic() - started, body, delivery, timed_out=timed_out
            )

        try:
            async with (
                asyncio.timeout(self._site.response_timeout),
                self._session.post(
                    delivery.url,
                    data=delivery.body,
                    headers=delivery.headers,
                    allow_redirects=False,
                ) as response,
            ):
                return response_of(response.status, await response.text())
        except TimeoutError:
            return response_of(None, timed_out=True)
        except aiohttp.ClientError:
            return response_of(None)


def signature_headers(secret: str, body: bytes, at: float | None = None) -> dict[str, str]:
    """Made by slack_sdk, so that the relay's verification is tested against Slack's own code."""
    timestamp = str(int(time.time() if at is None else at))
    signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
    return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature or ""}


def _encoded(delivery: Delivery) -> tuple[bytes, str]:
    if delivery.kind == "interactive":
        return urlencode({"payload": json.dumps(delivery.payload)}).encode(), FORM
    if delivery.kind == "slash_commands":
        return urlencode(delivery.payload).encode(), FORM
    return json.dumps(delivery.payload).encode(), JSON

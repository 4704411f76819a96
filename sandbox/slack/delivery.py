"""How Slack calls the App: signed requests to its URLs.

Source: https://docs.slack.dev/authentication/verifying-requests-from-slack
Units: seconds.
Errors: an Answer says what went wrong; nothing is raised.
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
ROBOT = "Slackbot 1.0 (+https://api.slack.com/robots)"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing to tell the App. `kind` is Socket Mode's type; `accepts` whether its
    acknowledgement may carry an answer."""

    kind: str
    payload: Json = field(repr=False)
    accepts: bool = False
    url: str = ""
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is None where none came. `twins` are the others of several at once; `trouble` is
    what Slack does not take in an answer that came in time."""

    status: int | None
    seconds: float
    body: str
    delivery: Delivery
    timed_out: bool = False
    attempts: int = 1
    twins: tuple["Answer", ...] = ()
    trouble: str = ""

    @property
    def document(self) -> Any:
        """The body, where it is JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def error(self) -> str:
        """What Slack shows to the person in place of an answer."""
        if self.timed_out:
            return "operation_timeout"
        return self.trouble if self.status == 200 else "dispatch_failed"


class Post:
    """The way over HTTP."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, delivery: Delivery) -> Answer:
        """Anew: with a signature of now."""
        body, content_type = _encoded(delivery)
        url = {
            "interactive": self._site.interactions_url,
            "slash_commands": self._site.commands_url,
            "events_api": self._site.events_url,
        }[delivery.kind]
        headers = {"Content-Type": content_type, "User-Agent": ROBOT, "Accept": "*/*"}
        headers |= signed(self._site.app.signing_secret, body) | dict(delivery.headers)
        return await self.again(replace(delivery, url=url, body=body, headers=headers))

    async def again(self, delivery: Delivery) -> Answer:
        """The same bytes, with the same signature."""
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=True)
        started = time.monotonic()

        def answer(status: int | None, body: str = "", *, late: bool = False) -> Answer:
            return Answer(status, time.monotonic() - started, body, delivery, timed_out=late)

        try:
            async with (
                asyncio.timeout(self._site.patience),
                self._session.post(
                    delivery.url,
                    data=delivery.body,
                    headers=delivery.headers,
                    allow_redirects=False,
                ) as response,
            ):
                return answer(response.status, await response.text())
        except TimeoutError:
            return answer(None, late=True)
        except aiohttp.ClientError:
            return answer(None)


def signed(secret: str, body: bytes, at: float | None = None) -> dict[str, str]:
    """By slack_sdk, which the relay's own verification can be held against."""
    timestamp = str(int(time.time() if at is None else at))
    signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
    return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature or ""}


def _encoded(delivery: Delivery) -> tuple[bytes, str]:
    if delivery.kind == "interactive":
        return urlencode({"payload": json.dumps(delivery.payload)}).encode(), FORM
    if delivery.kind == "slash_commands":
        return urlencode(delivery.payload).encode(), FORM
    return json.dumps(delivery.payload).encode(), JSON

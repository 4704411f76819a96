"""Replies that only one person sees, sent to the response_url of their request.

Source: docs.slack.dev, "Handling user interaction" (response_url: five uses within 30 minutes, no
token; limits are not documented, and treated like those of the API).
Errors: `RetryAt` and `UnknownOutcome` for what may be tried again. A reply that Slack rejects
is logged: the request itself is done.
The URL is a secret, because whoever has it speaks for the relay; it goes nowhere but to Slack.
slack_sdk's AsyncWebhookClient does not fit: it follows redirects, which would carry the message
elsewhere, and in a session that is shared it has no timeout of its own.
"""

import re
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog
from slack_sdk.models.blocks import (
    ActionsBlock,
    ButtonElement,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from webhook.errors import RetryAt, UnknownOutcome
from webhook.slack.blocks.mrkdwn import BlockMessage, plain
from webhook.timing import Clock, utc_now

log = structlog.get_logger()

TIMEOUT = aiohttp.ClientTimeout(total=5)
LONGEST_WAIT = 600
_SECONDS = re.compile(r"[0-9]{1,6}", re.ASCII)
# Slack hands out response_urls of another host than its API's.
_HOOKS = {"slack.com": "hooks.slack.com", "slack-gov.com": "hooks.slack-gov.com"}


def question(text: str, action_id: int, *, action: str, button: str) -> BlockMessage:
    """Asks for a confirmation; a press on its `button` requests `action` again, with that id."""
    press = ButtonElement(
        text=PlainTextObject(text=plain(button, 75)),
        action_id=action,
        value=str(action_id),
        style="primary",
    )
    section = SectionBlock(text=MarkdownTextObject(text=text, verbatim=True))
    return BlockMessage(text, [section, ActionsBlock(elements=[press])])


class Replies:
    """`base_url` is the API's; replies go to its host, or to the one that belongs to it."""

    def __init__(
        self, base_url: str, session: aiohttp.ClientSession, clock: Clock = utc_now
    ) -> None:
        self._clock = clock
        self._session = session
        self._origins = _origins(base_url)

    async def send(self, url: str, message: BlockMessage, *, replace: bool = False) -> bool:
        """Whether Slack accepted it. `replace`: it replaces the message with the button."""
        if not url or _origin(url) not in self._origins:
            log.warning(
                "a reply has no valid address", error="no response_url, or not one of Slack's"
            )
            return False
        document = {
            "response_type": "ephemeral",
            "replace_original": replace,
            "text": message.text,
            "blocks": message.documents,
        }
        if not message.blocks:
            del document["blocks"]
        status = await self._post(url, document)
        if status == HTTPStatus.BAD_REQUEST and document.pop("blocks", None):
            status = await self._post(url, document)  # it rejects their form
        return status == HTTPStatus.OK

    async def _post(self, url: str, document: dict[str, Any]) -> int:
        try:
            async with self._session.post(
                url, json=document, allow_redirects=False, timeout=TIMEOUT
            ) as response:
                _require_final(response, self._clock())
                if response.status != HTTPStatus.OK:
                    log.warning("Slack rejected a reply", status=response.status)
                return response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            # Without its text, which may hold the URL.
            raise UnknownOutcome(f"a reply did not reach Slack: {type(error).__name__}") from None


def _require_final(response: aiohttp.ClientResponse, now: datetime) -> None:
    """Errors: `RetryAt` and `UnknownOutcome` where another try may succeed."""
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = response.headers.get("Retry-After", "")
        seconds = min(int(wait), LONGEST_WAIT) if _SECONDS.fullmatch(wait) else 1
        raise RetryAt.in_seconds("Slack asks to wait with a reply", seconds, now)
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise UnknownOutcome(f"Slack did not accept a reply: HTTP {response.status}")


def _origins(base_url: str) -> set[str]:
    host = (urlsplit(base_url).hostname or "").removeprefix("www.")
    hooks = {f"https://{_HOOKS[host]}"} if host in _HOOKS else set()
    return {_origin(base_url), *hooks}


def _origin(url: str) -> str:
    """Scheme, host and port; empty if it is not a plain web address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.username is not None or parts.password is not None or not parts.hostname:
        return ""
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    suffix = "" if port in (None, usual) else f":{port}"
    return f"{parts.scheme}://{parts.hostname}{suffix}"

"""The stand-in for Discord: webhooks of channels, and the messages that they post and edit.

Source: docs.discord.com, "Webhook Resource", "Message Resource" (limits of embeds, allowed
mentions), "Rate Limits", "Opcodes and Status Codes". Like Discord, it ignores unknown fields, and
a webhook cannot read the history of its channel.
Units: seconds; lengths are characters.
"""

import re
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox.faults import Fault
from sandbox.server import Server

# The calls that a webhook is allowed in each period.
MAX_CALLS, PERIOD = 5, 2.0
_MAX_EMBEDS, _MAX_FIELDS, _MAX_TOTAL_TEXT = 10, 25, 6000
_PATH = r"/api{version:(?:/v\d+)?}/webhooks/{id}/{token}"
_NAME = re.compile(r"discord|clyde|```|[@#:]|^(?:everyone|here)$", re.IGNORECASE)
_PING = re.compile(r"@everyone|@here|<@!?\d+>|<@&\d+>")
_UNKNOWN = {"message": 10008, "webhook": 10015, "channel": 10003}


@dataclass(slots=True)
class Message:
    id: str
    channel: str
    thread: str
    username: str
    content: str
    embeds: list[dict[str, Any]]
    # The mentions that notified somebody when it was posted; edits notify nobody.
    pings: list[str]
    edits: int = 0

    @property
    def text(self) -> str:
        """All its text, as a user reads it."""
        lines = [self.content]
        for embed in self.embeds:
            lines += [embed.get("title", ""), embed.get("description", "")]
            lines += [f"{one['name']}: {one['value']}" for one in embed.get("fields", [])]
        return "\n".join(line for line in lines if line)


@dataclass(slots=True)
class Webhook:
    id: str
    token: str = field(repr=False)
    channel: str
    name: str
    calls: list[float] = field(default_factory=list)


class Discord(Server):
    """`limited`: whether there is a rate limit for each webhook. `max_fields`: of an embed."""

    def __init__(self, *, limited: bool = False, port: int = 0) -> None:
        super().__init__(port=port)
        self.limited = limited
        self.max_fields = _MAX_FIELDS
        self.webhooks: dict[str, Webhook] = {}
        self.threads: dict[str, str] = {}
        self.messages: dict[str, Message] = {}
        self._ids = count(1_100_000_000_000_000_001)

    def routes(self) -> Sequence[web.RouteDef]:
        one = f"{_PATH}/messages/{{message}}"
        return [
            web.post(_PATH, self._execute),
            web.get(_PATH, self._show_webhook),
            web.get(one, self._show),
            web.patch(one, self._edit),
            web.delete(one, self._delete),
        ]

    def middlewares(self) -> Sequence[Middleware]:
        return [self.faults.middleware]

    # -- for tests -------------------------------------------------------------------------------

    def add_webhook(self, channel: str, name: str = "Deployments") -> str:
        """Returns its URL."""
        one = Webhook(str(next(self._ids)), secrets.token_urlsafe(48), channel, name)
        self.webhooks[one.id] = one
        return f"{self.url}/api/webhooks/{one.id}/{one.token}"

    def add_thread(self, channel: str) -> str:
        thread = str(next(self._ids))
        self.threads[thread] = channel
        return thread

    def posted(self, channel: str) -> list[Message]:
        return [one for one in self.messages.values() if one.channel == channel]

    @staticmethod
    def rate_limit(retry_after: float) -> Fault:
        body = {"message": "You are being rate limited.", "retry_after": retry_after}
        headers = {"Retry-After": str(int(retry_after) + 1), "X-RateLimit-Scope": "shared"}
        return Fault(status_code=429, headers=headers, body={**body, "global": False})

    # -- the server ------------------------------------------------------------------------------

    async def _execute(self, request: web.Request) -> web.Response:
        webhook = self._webhook(request)
        self._count_call(webhook)
        document = await _document(request)
        thread = self._thread(request, webhook)
        _validate(document, self.max_fields)
        content, embeds = document.get("content") or "", document.get("embeds") or []
        if not content and not embeds:
            raise _rejected(400, 50006, "Cannot send an empty message")
        message = Message(
            id=str(next(self._ids)),
            channel=webhook.channel,
            thread=thread,
            username=document.get("username") or webhook.name,
            content=content,
            embeds=embeds,
            pings=_pings(content, document.get("allowed_mentions")),
        )
        self.messages[message.id] = message
        if request.query.get("wait") not in ("true", "1", "True"):
            return web.Response(status=204)
        return web.json_response(_message_document(message, webhook))

    async def _edit(self, request: web.Request) -> web.Response:
        webhook = self._webhook(request)
        self._count_call(webhook)
        document = await _document(request)
        message = self._message(request, webhook)
        _validate(document, self.max_fields)
        content = document.get("content", message.content) or ""
        embeds = document.get("embeds", message.embeds) or []
        if not content and not embeds:
            raise _rejected(400, 50006, "Cannot send an empty message")
        message.content, message.embeds = content, embeds
        message.edits += 1
        return web.json_response(_message_document(message, webhook))

    async def _show(self, request: web.Request) -> web.Response:
        webhook = self._webhook(request)
        return web.json_response(_message_document(self._message(request, webhook), webhook))

    async def _delete(self, request: web.Request) -> web.Response:
        del self.messages[self._message(request, self._webhook(request)).id]
        return web.Response(status=204)

    async def _show_webhook(self, request: web.Request) -> web.Response:
        webhook = self._webhook(request)
        return web.json_response({"id": webhook.id, "type": 1, "name": webhook.name})

    def _webhook(self, request: web.Request) -> Webhook:
        webhook = self.webhooks.get(request.match_info["id"])
        if webhook is None:
            raise _unknown("webhook")
        if not secrets.compare_digest(webhook.token, request.match_info["token"]):
            raise _rejected(401, 50027, "Invalid Webhook Token")
        return webhook

    def _thread(self, request: web.Request, webhook: Webhook) -> str:
        thread = request.query.get("thread_id", "")
        if thread and self.threads.get(thread) != webhook.channel:
            raise _unknown("channel")
        return thread

    def _message(self, request: web.Request, webhook: Webhook) -> Message:
        """A message in a thread is found only with the thread's id."""
        message = self.messages.get(request.match_info["message"])
        here = (webhook.channel, request.query.get("thread_id", ""))
        if message is None or (message.channel, message.thread) != here:
            raise _unknown("message")
        return message

    def _count_call(self, webhook: Webhook) -> None:
        now = time.monotonic()
        webhook.calls = [at for at in webhook.calls if at > now - PERIOD]
        if self.limited and len(webhook.calls) >= MAX_CALLS:
            wait = round(webhook.calls[0] + PERIOD - now, 3)
            fault = self.rate_limit(wait)
            raise _error(429, fault.body, dict(fault.headers))
        webhook.calls.append(now)


async def _document(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise _rejected(400, 50035, "Invalid Form Body")
    try:
        document = await request.json()
    except ValueError:
        raise _rejected(400, 50109, "The request body contains invalid JSON.") from None
    if not isinstance(document, dict):
        raise _rejected(400, 50035, "Invalid Form Body")
    return document


def _validate(document: dict[str, Any], max_fields: int) -> None:
    errors = dict(_errors(document, max_fields))
    if errors:
        raise _error(400, {"message": "Invalid Form Body", "code": 50035, "errors": errors})


def _errors(document: dict[str, Any], max_fields: int) -> Iterator[tuple[str, str]]:
    """Field and error code."""
    yield from _text(document, "content", 2000)
    yield from _text(document, "username", 80)
    if _NAME.search(document.get("username") or ""):
        yield "username", "USERNAME_INVALID_CONTAINS"
    embeds = document.get("embeds")
    if embeds is not None and not isinstance(embeds, list):
        yield "embeds", "BASE_TYPE_BAD_LIST"
        return
    if len(embeds or ()) > _MAX_EMBEDS:
        yield "embeds", "BASE_TYPE_MAX_LENGTH"
    if sum(map(_size, embeds or ())) > _MAX_TOTAL_TEXT:
        yield "embeds", "MAX_EMBED_SIZE_EXCEEDED"
    for embed in embeds or ():
        yield from _embed_errors(embed, max_fields)


def _embed_errors(embed: dict[str, Any], max_fields: int) -> Iterator[tuple[str, str]]:
    yield from _text(embed, "title", 256)
    yield from _text(embed, "description", 4096)
    colour = embed.get("color", 0)
    if not isinstance(colour, int) or not 0 <= colour <= 0xFFFFFF:
        yield "color", "NUMBER_TYPE_MAX"
    if "url" in embed and not re.match(r"https?://[^/]+", str(embed["url"])):
        yield "url", "URL_TYPE_INVALID_SCHEME"
    if "timestamp" in embed:
        try:
            datetime.fromisoformat(embed["timestamp"])
        except (TypeError, ValueError):
            yield "timestamp", "DATE_TIME_TYPE_PARSE"
    fields = embed.get("fields", [])
    if len(fields) > max_fields:
        yield "fields", "BASE_TYPE_MAX_LENGTH"
    for one in fields:
        yield from _text(one, "name", 256, required=True)
        yield from _text(one, "value", 1024, required=True)


def _text(
    document: dict[str, Any], name: str, max_length: int, *, required: bool = False
) -> Iterator[tuple[str, str]]:
    value = document.get(name)
    if value is None and not required:
        return
    if not isinstance(value, str) or (required and not value.strip()):
        yield name, "BASE_TYPE_REQUIRED" if required else "STRING_TYPE_CONVERT"
    elif len(value.encode("utf-16-le")) // 2 > max_length:
        yield name, "BASE_TYPE_MAX_LENGTH"


def _size(embed: dict[str, Any]) -> int:
    texts = [embed.get("title"), embed.get("description")]
    for one in embed.get("fields", []):
        texts += [one.get("name"), one.get("value")]
    return sum(len(text) for text in texts if isinstance(text, str))


def _pings(content: str, allowed: Any) -> list[str]:
    """Only mentions in the content notify; without `allowed_mentions`, all of them."""
    found = _PING.findall(content)
    if allowed is None:
        return found
    kinds: dict[str, list[str]] = defaultdict(list)
    for one in found:
        kinds["everyone" if one[1:] in ("everyone", "here") else "users"].append(one)
    return [one for kind in allowed.get("parse", []) for one in kinds[kind]]


def _message_document(message: Message, webhook: Webhook) -> dict[str, Any]:
    return {
        "id": message.id,
        "type": 0,
        "channel_id": message.thread or message.channel,
        "webhook_id": webhook.id,
        "author": {"id": webhook.id, "username": message.username, "bot": True},
        "content": message.content,
        "embeds": message.embeds,
    }


def _unknown(what: str) -> web.HTTPException:
    return _rejected(404, _UNKNOWN[what], f"Unknown {what.capitalize()}")


def _rejected(status: int, code: int, message: str) -> web.HTTPException:
    return _error(status, {"message": message, "code": code})


def _error(
    status: int, document: dict[str, Any], headers: dict[str, str] | None = None
) -> web.HTTPException:
    response = web.json_response(document)
    kind = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        404: web.HTTPNotFound,
        429: web.HTTPTooManyRequests,
    }[status]
    return kind(text=response.text, content_type="application/json", headers=headers)

"""Reading a call as Slack does: JSON, form or query; typed fields; pages with a cursor."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from sandbox.slack.blocks import MAX_TEXT_IN_ALL, faults_of, text_in_all
from sandbox.slack.model import Json, Message, SlackError

TRUE = (True, 1, "1", "true", "True")


class Arguments:
    """The arguments of one call."""

    def __init__(self, fields: Json) -> None:
        self._fields = {k: v for k, v in fields.items() if v is not None}

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def text(self, name: str) -> str:
        return str(self._fields.get(name, ""))

    def required(self, name: str) -> str:
        if not self.text(name):
            words = f"[ERROR] missing required field: {name}"
            raise SlackError("invalid_arguments", response_metadata={"messages": [words]})
        return self.text(name)

    def flag(self, name: str) -> bool:
        return self._fields.get(name) in TRUE

    def parsed(self, name: str, error: str) -> Any:
        """A structure, which a form carries as JSON in a string."""
        value = self._fields.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value else None
        except ValueError:
            raise SlackError(error) from None

    def page(self, items: Sequence[Any], default: int) -> tuple[Sequence[Any], str]:
        """The page that was asked for, and the cursor of the next."""
        size, start = self._whole("limit", default), 0
        if not 1 <= size <= 999:
            raise SlackError("invalid_limit")
        if cursor := self.text("cursor"):
            start = _offset(cursor)
        following = start + size
        more = following < len(items)
        return items[start:following], _cursor(following) if more else ""

    def _whole(self, name: str, default: int) -> int:
        text = self.text(name)
        return int(text) if text.isdecimal() else default


async def arguments_of(request: web.Request) -> Arguments:
    fields: Json = dict(request.query)
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.read() or b"{}")
        except ValueError:
            raise SlackError("invalid_json") from None
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        return Arguments(fields | body)
    return Arguments(fields | dict(await request.post()))


def content_of(arguments: Arguments, longest: int) -> tuple[str, list[Json] | None]:
    """Text and blocks, if Slack would take them."""
    text = arguments.text("text")
    blocks: Any = arguments.parsed("blocks", "invalid_blocks_format")
    if not text.strip() and not blocks:
        raise SlackError("no_text")
    if len(text) > longest:
        raise SlackError("msg_too_long")
    if not blocks:
        return text, None
    if faults := faults_of(blocks):
        raise SlackError("invalid_blocks", errors=faults, response_metadata={"messages": faults})
    if text_in_all(blocks) > MAX_TEXT_IN_ALL:
        raise SlackError("msg_blocks_too_long")
    return text, blocks


def metadata_of(arguments: Arguments) -> Json | None:
    metadata: Any = arguments.parsed("metadata", "invalid_metadata_format")
    if not metadata:
        return None
    if not isinstance(metadata, dict):
        raise SlackError("invalid_metadata_format")
    if not isinstance(metadata.get("event_type"), str):
        raise SlackError("invalid_metadata_schema")
    if not isinstance(metadata.get("event_payload"), dict):
        raise SlackError("invalid_metadata_schema")
    return {"event_type": metadata["event_type"], "event_payload": metadata["event_payload"]}


def between(arguments: Arguments, messages: Sequence[Message]) -> list[Message]:
    """Those after `oldest` and before `latest`; the ends themselves only if `inclusive`."""
    oldest, latest = arguments.text("oldest"), arguments.text("latest")
    ends = {oldest, latest} if arguments.flag("inclusive") else set()
    after, before = float(oldest or 0), float(latest or "inf")
    return [m for m in messages if m.ts in ends or (after < float(m.ts) < before)]


def _cursor(offset: int) -> str:
    return base64.b64encode(f"offset:{offset}".encode()).decode()


def _offset(cursor: str) -> int:
    try:
        return int(base64.b64decode(cursor).decode().removeprefix("offset:"))
    except ValueError:
        raise SlackError("invalid_cursor") from None

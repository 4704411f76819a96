"""Reading a method call as Slack does: the token, and arguments as JSON, form or query."""

import base64
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sandbox.slack.block_kit import MAX_TOTAL_TEXT, block_errors, total_text_length
from sandbox.slack.model import Json, Message, SlackError
from sandbox.slack.workspace import App, Site, Token, Workspace

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
            message = f"[ERROR] missing required field: {name}"
            raise SlackError("invalid_arguments", response_metadata={"messages": [message]})
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
        """The requested page, and the cursor of the next one."""
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


def content_of(
    arguments: Arguments, max_length: int, unsupported: Collection[str] = ()
) -> tuple[str, list[Json] | None]:
    """Text and blocks, if Slack accepts them; `unsupported` types of blocks it does not."""
    text = arguments.text("text")
    blocks: Any = arguments.parsed("blocks", "invalid_blocks_format")
    if not text.strip() and not blocks:
        raise SlackError("no_text")
    if len(text) > max_length:
        raise SlackError("msg_too_long")
    if not blocks:
        return text, None
    if errors := block_errors(blocks, unsupported):
        raise SlackError("invalid_blocks", errors=errors, response_metadata={"messages": errors})
    if total_text_length(blocks) > MAX_TOTAL_TEXT:
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
    """Messages after `oldest` and before `latest`; with `inclusive`, those at the ends too."""
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


@dataclass(frozen=True, slots=True)
class MethodCall:
    """A call with a valid token."""

    token: Token
    arguments: Arguments

    @property
    def workspace(self) -> Workspace:
        return self.token.workspace

    def require_scope(self, scope: str) -> None:
        if scope and scope not in self.token.scopes:
            provided = ",".join(sorted(self.token.scopes))
            raise SlackError("missing_scope", needed=scope, provided=provided)


# Name -> the scope that every call needs, and the function.
Methods = dict[str, tuple[str, Callable[[MethodCall], Json]]]


def _token_of(request: web.Request, arguments: Arguments) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token if scheme.lower() == "bearer" and token else arguments.text("token")
    if not token:
        raise SlackError("not_authed")
    return token


def authenticate(site: Site, request: web.Request, arguments: Arguments) -> MethodCall:
    value = _token_of(request, arguments)
    if value == site.app.app_token:
        raise SlackError("not_allowed_token_type")
    token = site.tokens.get(value)
    if token is None:
        raise SlackError("invalid_auth")
    if token.error:
        raise SlackError(token.error)
    return MethodCall(token, arguments)


def authenticate_app(app: App, request: web.Request, arguments: Arguments, known: set[str]) -> None:
    """A call with the App-level token, which belongs to no workspace."""
    value = _token_of(request, arguments)
    if value in known:
        raise SlackError("not_allowed_token_type")
    if value != app.app_token:
        raise SlackError("invalid_auth")
    if "connections:write" not in app.app_token_scopes:
        provided = ",".join(sorted(app.app_token_scopes))
        raise SlackError("missing_scope", needed="connections:write", provided=provided)

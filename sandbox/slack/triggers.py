"""What an interaction lets the App do for a while: open a view, and use its response_url.

Source: https://docs.slack.dev/interactivity/handling-user-interaction
        https://docs.slack.dev/reference/methods/views.open
Units: seconds; the lifetimes are attributes of `Site`.
Errors: SlackError for a view; 404 with `used_url` or `expired_url` for a response_url.
"""

import json
import secrets
import time
from dataclasses import dataclass, field

from aiohttp import web

from sandbox.slack.methods import MAX_POST_LENGTH, edit
from sandbox.slack.model import EphemeralMessage, Json, Message, SlackError, User
from sandbox.slack.request import Arguments, content_of
from sandbox.slack.workspace import Site, Workspace

MAX_USES = 5


@dataclass(slots=True)
class Trigger:
    workspace: Workspace
    user: User
    created: float = field(default_factory=time.monotonic)
    used: bool = False


class Triggers:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._triggers: dict[str, Trigger] = {}

    def make(self, workspace: Workspace, user: User) -> str:
        name = f"{len(self._triggers) + 1}.1000.{secrets.token_hex(16)}"
        self._triggers[name] = Trigger(workspace, user)
        return name

    def use(self, name: str, workspace: Workspace) -> User:
        """The user who caused it. A trigger is valid once, for three seconds."""
        trigger = self._triggers.get(name)
        if trigger is None or trigger.workspace is not workspace:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if time.monotonic() >= trigger.created + self._site.trigger_lifetime:
            raise SlackError("expired_trigger_id")
        trigger.used = True
        return trigger.user


@dataclass(slots=True)
class _ResponseUrl:
    workspace: Workspace
    user: User
    channel: str
    original: Message | EphemeralMessage | None
    created: float = field(default_factory=time.monotonic)
    uses: int = 0


class ResponseUrls:
    """response_url: messages in response to one interaction, without a token."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._urls: dict[str, _ResponseUrl] = {}

    def make(
        self,
        workspace: Workspace,
        user: User,
        channel: str,
        original: Message | EphemeralMessage | None = None,
    ) -> str:
        name = secrets.token_hex(16)
        self._urls[name] = _ResponseUrl(workspace, user, channel, original)
        return f"{self._site.url}/response/{name}"

    async def respond(self, request: web.Request) -> web.Response:
        url = self._urls.get(request.match_info["name"])
        if url is None:
            return web.Response(text="no_service", status=404)
        if time.monotonic() >= url.created + self._site.response_url_lifetime:
            return web.Response(text="expired_url", status=404)
        if url.uses >= MAX_USES:
            return web.Response(text="used_url", status=404)
        try:
            self._apply(url, Arguments(json.loads(await request.read())))
        except (ValueError, AttributeError):
            return web.Response(text="invalid_payload", status=400)
        except SlackError as error:
            return web.json_response(error.document, status=400)
        url.uses += 1
        return web.Response(text="ok")

    def _apply(self, url: _ResponseUrl, arguments: Arguments) -> None:
        if arguments.flag("delete_original"):
            self._delete(url)
            return
        text, blocks = content_of(arguments, MAX_POST_LENGTH, self._site.unsupported_blocks)
        if arguments.flag("replace_original") and url.original is not None:
            self._replace(url, url.original, text, blocks)
        else:
            self.show(url.workspace, url.user, url.channel, arguments)

    def show(self, workspace: Workspace, user: User, channel: str, arguments: Arguments) -> None:
        """A new message, which only the user sees unless `response_type` is `in_channel`."""
        text, blocks = content_of(arguments, MAX_POST_LENGTH, self._site.unsupported_blocks)
        thread_ts = arguments.text("thread_ts") or None
        if arguments.text("response_type") != "in_channel":
            ephemeral = EphemeralMessage(user.id, channel, text, blocks or [], thread_ts=thread_ts)
            workspace.add_ephemeral(ephemeral)
            return
        message = Message(self._site.clock.ts(), workspace.bot.user, text, blocks or [], thread_ts)
        workspace.publish(workspace.channels[channel], message)

    def _delete(self, url: _ResponseUrl) -> None:
        original, channel = url.original, url.workspace.channels[url.channel]
        if isinstance(original, Message):
            channel.messages.pop(original.ts, None)
        elif original in channel.ephemeral_messages:
            channel.ephemeral_messages.remove(original)
            self._site.ephemeral_messages.remove(original)

    def _replace(
        self,
        url: _ResponseUrl,
        original: Message | EphemeralMessage,
        text: str,
        blocks: list[Json] | None,
    ) -> None:
        if isinstance(original, EphemeralMessage):
            original.text, original.blocks = text, blocks or []
            return
        edit(original, text, blocks, self._site.clock.ts())
        url.workspace.notify(url.workspace.channels[url.channel], original)

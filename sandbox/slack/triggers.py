"""What an act of a person lets the App do for a while: open a form, and answer.

Source: https://docs.slack.dev/interactivity/handling-user-interaction
        https://docs.slack.dev/reference/methods/views.open
Units: life spans are seconds, kept in the Site.
Errors: SlackError for a form; 404 with `used_url` or `expired_url` for an answer.
"""

import json
import secrets
import time
from dataclasses import dataclass, field

from aiohttp import web

from sandbox.slack.chat import LONGEST_POST, edit
from sandbox.slack.model import Json, Message, SlackError, User, Whisper
from sandbox.slack.request import Arguments, content_of
from sandbox.slack.workspace import Site, Workspace

USES = 5


@dataclass(slots=True)
class Trigger:
    workspace: Workspace
    user: User
    made: float = field(default_factory=time.monotonic)
    used: bool = False


class Triggers:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._made: dict[str, Trigger] = {}

    def make(self, workspace: Workspace, user: User) -> str:
        name = f"{len(self._made) + 1}.1000.{secrets.token_hex(16)}"
        self._made[name] = Trigger(workspace, user)
        return name

    def take(self, name: str, workspace: Workspace) -> User:
        """Whose act it was; good once, for three seconds."""
        trigger = self._made.get(name)
        if trigger is None or trigger.workspace is not workspace:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if time.monotonic() >= trigger.made + self._site.trigger_life:
            raise SlackError("expired_trigger_id")
        trigger.used = True
        return trigger.user


@dataclass(slots=True)
class _Hook:
    workspace: Workspace
    user: User
    channel: str
    original: Message | Whisper | None
    made: float = field(default_factory=time.monotonic)
    uses: int = 0


class Responses:
    """response_url: an answer to one act, without a token."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._hooks: dict[str, _Hook] = {}

    def make(
        self,
        workspace: Workspace,
        user: User,
        channel: str,
        original: Message | Whisper | None = None,
    ) -> str:
        name = secrets.token_hex(16)
        self._hooks[name] = _Hook(workspace, user, channel, original)
        return f"{self._site.url}/response/{name}"

    async def take(self, request: web.Request) -> web.Response:
        hook = self._hooks.get(request.match_info["name"])
        if hook is None:
            return web.Response(text="no_service", status=404)
        if time.monotonic() >= hook.made + self._site.response_url_life:
            return web.Response(text="expired_url", status=404)
        if hook.uses >= USES:
            return web.Response(text="used_url", status=404)
        try:
            said = json.loads(await request.read())
            self._apply(hook, Arguments(said))
        except (ValueError, AttributeError):
            return web.Response(text="invalid_payload", status=400)
        except SlackError as error:
            return web.json_response(error.document, status=400)
        hook.uses += 1
        return web.Response(text="ok")

    def _apply(self, hook: _Hook, said: Arguments) -> None:
        if said.flag("delete_original"):
            self._delete(hook)
            return
        text, blocks = content_of(said, LONGEST_POST)
        if said.flag("replace_original") and hook.original is not None:
            self._replace(hook, hook.original, text, blocks)
        else:
            self.show(hook.workspace, hook.user, hook.channel, said)

    def show(self, workspace: Workspace, user: User, channel: str, said: Arguments) -> None:
        """A new answer: for that person only, unless it says `in_channel`."""
        text, blocks = content_of(said, LONGEST_POST)
        thread_ts = said.text("thread_ts") or None
        if said.text("response_type") != "in_channel":
            whisper = Whisper(user.id, channel, text, blocks or [], thread_ts=thread_ts)
            workspace.whisper(whisper)
            return
        shown = Message(self._site.clock.ts(), workspace.bot.user, text, blocks or [], thread_ts)
        workspace.put(workspace.channels[channel], shown)

    def _delete(self, hook: _Hook) -> None:
        original, channel = hook.original, hook.workspace.channels[hook.channel]
        if isinstance(original, Message):
            channel.messages.pop(original.ts, None)
        elif original in channel.ephemerals:
            channel.ephemerals.remove(original)
            self._site.whispers.remove(original)

    def _replace(
        self, hook: _Hook, original: Message | Whisper, text: str, blocks: list[Json] | None
    ) -> None:
        if isinstance(original, Whisper):
            original.text, original.blocks = text, blocks or []
            return
        edit(original, text, blocks, self._site.clock.ts())
        hook.workspace.tell(hook.workspace.channels[hook.channel], original)

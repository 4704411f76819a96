"""Channels as Slack's client shows them to the person in the cookie, who presses buttons, fills in
forms and types.

Source: https://docs.slack.dev/interactivity/handling-user-interaction
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from jinja2 import Undefined

from sandbox.pages import Pages
from sandbox.slack.interactions import AnyMessage, Interactions
from sandbox.slack.markup import Markups
from sandbox.slack.model import Channel, Json, Message, User
from sandbox.slack.payloads import find_button
from sandbox.slack.views import SELECTS_MANY, View
from sandbox.slack.workspace import Site, Workspace

COOKIE = "sandbox_slack_user"
APP_NAME = "Gitploy Relay"
NOT_CONNECTED = "We had some trouble connecting. Try again?"


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as this person sees it, with the replies in its thread."""

    message: AnyMessage
    author: str
    ephemeral: bool
    replies: tuple["Shown", ...] = ()

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(float(self.message.ts), UTC)

    @property
    def is_app(self) -> bool:
        return self.author == APP_NAME

    @property
    def edited(self) -> bool:
        return isinstance(self.message, Message) and bool(self.message.edited_ts)

    @property
    def broadcast(self) -> bool:
        return isinstance(self.message, Message) and self.message.broadcast


@dataclass(frozen=True, slots=True)
class Visit:
    """Who is in which channel."""

    workspace: Workspace
    channel: Channel
    user: User

    @property
    def path(self) -> str:
        return f"/archives/{self.channel.id}"


class Website:
    """`_notices`: user id -> what Slack says about the last thing that the user did."""

    def __init__(self, site: Site, interactions: Interactions) -> None:
        self._site = site
        self._interactions = interactions
        self._notices: dict[str, str] = {}
        # What Slack's documents leave out is left out of the page.
        self._pages = Pages(Path(__file__).with_name("pages"), undefined=Undefined)

    def routes(self) -> list[web.RouteDef]:
        return [
            *self._pages.routes(),
            web.get("/channel/{name}", self._by_name),
            web.get("/archives/{channel}", self._show),
            web.get("/archives/{channel}/p{digits:\\d{7,}}", self._show),
            web.post("/archives/{channel}/person", self._switch),
            web.post("/archives/{channel}/send", self._send),
            web.post("/archives/{channel}/press", self._press),
            web.post("/archives/{channel}/dismiss", self._dismiss),
            web.post("/archives/{channel}/view", self._submit),
        ]

    # -- who is where -----------------------------------------------------------------------------

    async def _by_name(self, request: web.Request) -> web.StreamResponse:
        for workspace in self._site.workspaces:
            for channel in workspace.channels.values():
                if channel.name == request.match_info["name"]:
                    raise web.HTTPFound(f"/archives/{channel.id}")
        raise web.HTTPNotFound(text="There is no such channel")

    def _visit(self, request: web.Request) -> Visit:
        channel_id = request.match_info["channel"]
        for workspace in self._site.workspaces:
            if channel := workspace.channels.get(channel_id):
                known = workspace.users.get(request.cookies.get(COOKIE, ""))
                user = known or next(iter(workspace.users.values()), None)
                return Visit(workspace, channel, user or workspace.add_user("guest"))
        raise web.HTTPNotFound(text="There is no such channel")

    async def _switch(self, request: web.Request) -> web.StreamResponse:
        visit, form = self._visit(request), await request.post()
        response = web.HTTPSeeOther(visit.path)
        if (chosen := str(form.get("user", ""))) in visit.workspace.users:
            response.set_cookie(COOKIE, chosen, httponly=True, samesite="Lax")
        raise response

    # -- the page ---------------------------------------------------------------------------------

    async def _show(self, request: web.Request) -> web.StreamResponse:
        visit = self._visit(request)
        workspace, names = visit.workspace, visit.workspace.names
        channels = {channel.id: channel.name for channel in workspace.channels.values()}
        return self._pages.respond(
            request,
            "channel.html",
            visit=visit,
            messages=list(self._messages(visit)),
            markup=Markups({**names, workspace.bot.user: APP_NAME}, channels),
            linked=_timestamp(request.match_info.get("digits", "")),
            asked=self._question(request, visit),
            view=self._open_view(visit),
            notice=self._notices.get(visit.user.id, ""),
        )

    def _messages(self, visit: Visit) -> Iterator[Shown]:
        """By time; what only this person sees among them."""
        shown = [m for m in visit.channel.messages.values() if m.broadcast or not m.is_reply]
        own = [m for m in visit.channel.ephemeral_messages if m.user == visit.user.id]
        every: list[AnyMessage] = [*shown, *(m for m in own if not m.thread_ts)]
        for message in sorted(every, key=lambda m: float(m.ts)):
            replies: list[AnyMessage] = []
            if isinstance(message, Message) and not message.is_reply:
                hidden = [m for m in own if m.thread_ts == message.ts]
                replies = [*visit.channel.replies(message.ts), *hidden]
            in_order = sorted(replies, key=lambda m: float(m.ts))
            yield _shown(visit, message, [_shown(visit, one) for one in in_order])

    def _question(self, request: web.Request, visit: Visit) -> Json | None:
        """The dialog of a button that wants to be sure."""
        query = request.query
        try:
            message = _message(visit, query.get("ask", ""))
            button = find_button(message.blocks, query.get("action", ""), query.get("value"))
        except LookupError:
            return None
        if "confirm" not in button:
            return None
        return {"button": button, "dialog": button["confirm"], "ts": message.ts}

    def _open_view(self, visit: Visit) -> View | None:
        try:
            return self._interactions.views.newest(visit.user.id)
        except ValueError:
            return None

    # -- what the person does ---------------------------------------------------------------------

    async def _send(self, request: web.Request) -> web.StreamResponse:
        """A slash command, or a message."""
        visit = self._visit(request)
        text = str((await request.post()).get("text", "")).strip()
        self._notices.pop(visit.user.id, None)
        if text.startswith("/"):
            name, _, rest = text.partition(" ")
            response = await self._interactions.command(name, rest, visit.user, visit.channel)
            if response.error:
                failed = f'{name} failed with the error "{response.error}"'
                self._notices[visit.user.id] = failed
        elif text:
            visit.workspace.add_message(visit.channel.id, text, user=visit.user.id)
        raise web.HTTPSeeOther(visit.path)

    async def _press(self, request: web.Request) -> web.StreamResponse:
        visit, form = self._visit(request), await request.post()
        ts, action = str(form.get("ts", "")), str(form.get("action", ""))
        value = str(form["value"]) if "value" in form else None
        self._notices.pop(visit.user.id, None)
        try:
            message = _message(visit, ts)
            button = find_button(message.blocks, action, value)
        except LookupError:
            self._notices[visit.user.id] = "That button is not there any more."
            raise web.HTTPSeeOther(visit.path) from None
        if "confirm" in button and "confirmed" not in form:
            asked = {"ask": ts, "action": action, **({} if value is None else {"value": value})}
            raise web.HTTPSeeOther(f"{visit.path}?{urlencode(asked)}")
        response = await self._interactions.press(message, action, visit.user, value=value)
        if response.error:
            self._notices[visit.user.id] = NOT_CONNECTED
        raise web.HTTPSeeOther(button.get("url") or visit.path)

    async def _dismiss(self, request: web.Request) -> web.StreamResponse:
        """Of a message that only this person sees."""
        visit, form = self._visit(request), await request.post()
        for message in list(visit.channel.ephemeral_messages):
            if (message.ts, message.user) == (str(form.get("ts", "")), visit.user.id):
                visit.channel.ephemeral_messages.remove(message)
        self._notices.pop(visit.user.id, None)
        raise web.HTTPSeeOther(visit.path)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        visit, form = self._visit(request), await request.post()
        view = self._open_view(visit)
        self._notices.pop(visit.user.id, None)
        if view is None or view.id != form.get("view"):
            raise web.HTTPSeeOther(visit.path)
        if "close" in form:
            view.open = False
            raise web.HTTPSeeOther(visit.path)
        try:
            response = await self._interactions.submit(view, _values(view, form), visit.user)
        except ValueError as error:
            self._notices[visit.user.id] = str(error)
        else:
            if response.error:
                self._notices[visit.user.id] = NOT_CONNECTED
        raise web.HTTPSeeOther(visit.path)


def _shown(visit: Visit, message: AnyMessage, replies: list[Shown] | None = None) -> Shown:
    if not isinstance(message, Message):
        return Shown(message, APP_NAME, ephemeral=True)
    own = message.user == visit.workspace.bot.user
    author = APP_NAME if own else visit.workspace.names.get(message.user, message.user)
    return Shown(message, author, ephemeral=False, replies=tuple(replies or ()))


def _message(visit: Visit, ts: str) -> AnyMessage:
    if ts in visit.channel.messages:
        return visit.channel.messages[ts]
    for message in visit.channel.ephemeral_messages:
        if (message.ts, message.user) == (ts, visit.user.id):
            return message
    raise LookupError(ts)


def _timestamp(digits: str) -> str:
    return f"{digits[:-6]}.{digits[-6:]}" if digits else ""


def _values(view: View, form: Any) -> Mapping[str, Any]:
    """What was filled in: an option that is not chosen, and a field that is empty, count too."""
    values: dict[str, Any] = {}
    for block in view.blocks:
        if block["type"] == "input":
            sent = [str(text) for text in form.getall(f"field-{block['block_id']}", [])]
            many = block["element"]["type"] in SELECTS_MANY
            values[block["block_id"]] = sent if many else (sent or [""])[0].replace("\r\n", "\n")
    return values

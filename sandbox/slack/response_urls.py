"""What people do in Slack: press a button, give a command, fill in a form; and Slack's events.

Source: https://docs.slack.dev/interactivity/handling-user-interaction
Errors: LookupError and ValueError where a person could not do that; the App's trouble is in the
Answer.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sandbox.slack import payloads
from sandbox.slack.delivery import Answer, Delivery, Post
from sandbox.slack.model import Channel, Json, Message, SlackError, User, Whisper
from sandbox.slack.request import Arguments
from sandbox.slack.sockets import Sockets
from sandbox.slack.triggers import Responses, Triggers
from sandbox.slack.views import View, Views
from sandbox.slack.workspace import Site, Workspace

Pressed = Message | Whisper
Place = Pressed | tuple[str, str]


class Answers:
    def __init__(self, site: Site) -> None:
        self._site = site
        self.triggers = Triggers(site)
        self.responses = Responses(site)
        self.views = Views(self.triggers)
        self.sockets = Sockets(site)
        self.post = Post(site)

    async def close(self) -> None:
        await self.sockets.close()
        await self.post.close()

    # -- what people do -----------------------------------------------------------------------

    def button(self, place: Place, action_id: str, workspace: Workspace | None = None) -> Json:
        """The button as it stands there now."""
        _, pressed = _found(workspace or self._site.workspaces[0], place)
        return payloads.button_in(pressed.blocks, action_id)

    async def press(self, place: Place, action_id: str, user: User, *, times: int = 1) -> Answer:
        """A person presses a button, maybe several times before anything happens. `place` is
        what carries it, or (channel, ts)."""
        workspace = self._site.workspace_of(user.team_id)
        channel, pressed = _found(workspace, place)
        button = payloads.button_in(pressed.blocks, action_id)

        def once() -> Delivery:
            payload = payloads.block_actions(workspace, user, channel, pressed, button)
            payload["trigger_id"] = self.triggers.make(workspace, user)
            payload["response_url"] = self.responses.make(workspace, user, channel.id, pressed)
            return Delivery("interactive", payload)

        first, *others = await asyncio.gather(*(self._send(once()) for _ in range(times)))
        return replace(first, twins=tuple(others))

    async def command(
        self, name: str, text: str, user: User, channel: Channel | str | None = None
    ) -> Answer:
        """A slash command; what the App answers at once is shown to the person."""
        workspace = self._site.workspace_of(user.team_id)
        where = _channel(workspace, channel)
        payload = payloads.command(workspace, user, where, name, text)
        payload["response_url"] = self.responses.make(workspace, user, where.id)
        payload["trigger_id"] = self.triggers.make(workspace, user)
        answer = await self._send(Delivery("slash_commands", payload, accepts=True))
        if not answer.error:
            self._show(workspace, user, where, answer)
        return answer

    async def submit(self, view: View, values: Mapping[str, Any], user: User) -> Answer:
        """A person fills in the form in front of them, and sends it off."""
        if view.user != user.id:
            raise ValueError("that form is on somebody else's screen")
        payload = payloads.view_submission(view.workspace, user, self.views.fill(view, values))
        payload["trigger_id"] = self.triggers.make(view.workspace, user)
        answer = await self._send(Delivery("interactive", payload, accepts=True))
        if not answer.error:
            try:
                self.views.take_answer(view, answer.document)
            except SlackError as error:
                return replace(answer, trouble=str(error))
        return answer

    def _show(self, workspace: Workspace, user: User, channel: Channel, answer: Answer) -> None:
        said = answer.document if isinstance(answer.document, dict) else {"text": answer.body}
        if any(said.values()):
            self.responses.show(workspace, user, channel.id, Arguments(said))

    # -- what Slack does --------------------------------------------------------------------------

    async def event(self, said: Json, workspace: Workspace | None = None) -> Answer:
        where = workspace or self._site.workspaces[0]
        return await self._send(Delivery("events_api", payloads.event(where, said)))

    async def verify_events_url(self) -> Answer:
        """As when somebody enters the URL at api.slack.com; it is entered if the answer is the
        challenge."""
        return await self.post.send(Delivery("events_api", payloads.challenge()))

    async def redeliver(self, answer: Answer, *, retry: int = 0, reason: str = "") -> Answer:
        """The same bytes; with `retry`, as Slack repeats an event: signed anew, and counted."""
        delivery = answer.delivery
        if self._site.socket_mode:
            return await self.sockets.send(delivery, retry or 1)
        if not retry:
            return await self.post.again(delivery)
        counted = {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": reason}
        return await self.post.send(replace(delivery, headers=counted))

    async def _send(self, delivery: Delivery) -> Answer:
        if self._site.socket_mode:
            return await self.sockets.send(delivery)
        return await self.post.send(delivery)


def _channel(workspace: Workspace, channel: Channel | str | None) -> Channel:
    if isinstance(channel, Channel):
        return channel
    return workspace.channel(channel) if channel else next(iter(workspace.channels.values()))


def _found(workspace: Workspace, place: Place) -> tuple[Channel, Pressed]:
    """What stands at that place now: a message that is gone has no buttons."""
    if isinstance(place, Whisper):
        return workspace.channels[place.channel], place
    if isinstance(place, Message):
        for channel in workspace.channels.values():
            if channel.messages.get(place.ts) is place:
                return channel, place
        raise LookupError(f"the message is not in {workspace.name}")
    channel = workspace.channel(place[0])
    if place[1] not in channel.messages:
        raise LookupError("no message stands there")
    return channel, channel.messages[place[1]]

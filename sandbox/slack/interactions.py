"""What users do in Slack: press a button, enter a command, submit a view; and Slack's events.

Source: https://docs.slack.dev/interactivity/handling-user-interaction
Errors: LookupError and ValueError if a user could not do that; errors of the App are in
`AppResponse`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sandbox.slack import payloads
from sandbox.slack.delivery import AppResponse, Delivery, HttpDelivery
from sandbox.slack.model import Channel, EphemeralMessage, Json, Message, SlackError, User
from sandbox.slack.request import Arguments
from sandbox.slack.socket_mode import Sockets
from sandbox.slack.triggers import ResponseUrls, Triggers
from sandbox.slack.views import View, Views
from sandbox.slack.workspace import Site, Workspace

AnyMessage = Message | EphemeralMessage
# A message, or the name of its channel and its ts.
Target = AnyMessage | tuple[str, str]


class Interactions:
    def __init__(self, site: Site) -> None:
        self._site = site
        self.triggers = Triggers(site)
        self.response_urls = ResponseUrls(site)
        self.views = Views(self.triggers)
        self.sockets = Sockets(site)
        self.http = HttpDelivery(site)

    async def close(self) -> None:
        await self.sockets.close()
        await self.http.close()

    # -- what users do ------------------------------------------------------------------------

    def button(self, target: Target, action_id: str, workspace: Workspace | None = None) -> Json:
        """The button as it is now."""
        _, pressed = _resolve(workspace or self._site.workspaces[0], target)
        return payloads.find_button(pressed.blocks, action_id)

    async def press(
        self,
        target: Target,
        action_id: str,
        user: User,
        *,
        times: int = 1,
        value: str | None = None,
    ) -> AppResponse:
        """Press a button, with `times` several times at once. `target` is its message; `value`
        says which one, where several have the same action_id."""
        workspace = self._site.workspace_of(user.team_id)
        channel, pressed = _resolve(workspace, target)
        button = payloads.find_button(pressed.blocks, action_id, value)

        def press() -> Delivery:
            payload = payloads.block_actions(workspace, user, channel, pressed, button)
            payload["trigger_id"] = self.triggers.make(workspace, user)
            payload["response_url"] = self.response_urls.make(workspace, user, channel.id, pressed)
            return Delivery("interactive", payload)

        first, *others = await asyncio.gather(*(self._send(press()) for _ in range(times)))
        return replace(first, duplicates=tuple(others))

    async def command(
        self, name: str, text: str, user: User, channel: Channel | str | None = None
    ) -> AppResponse:
        """Enter a slash command. The user sees what the App responds."""
        workspace = self._site.workspace_of(user.team_id)
        channel = _channel(workspace, channel)
        payload = payloads.command(workspace, user, channel, name, text)
        payload["response_url"] = self.response_urls.make(workspace, user, channel.id)
        payload["trigger_id"] = self.triggers.make(workspace, user)
        response = await self._send(Delivery("slash_commands", payload, accepts=True))
        if not response.error:
            self._show_response(workspace, user, channel, response)
        return response

    async def submit(self, view: View, values: Mapping[str, Any], user: User) -> AppResponse:
        """Fill in a view and submit it."""
        if view.user != user.id:
            raise ValueError("that view is open for somebody else")
        payload = payloads.view_submission(view.workspace, user, self.views.fill(view, values))
        payload["trigger_id"] = self.triggers.make(view.workspace, user)
        response = await self._send(Delivery("interactive", payload, accepts=True))
        if not response.error:
            try:
                self.views.apply_response(view, response.document)
            except SlackError as error:
                return replace(response, invalid=str(error))
        return response

    def _show_response(
        self, workspace: Workspace, user: User, channel: Channel, response: AppResponse
    ) -> None:
        fields = (
            response.document if isinstance(response.document, dict) else {"text": response.body}
        )
        if any(fields.values()):
            self.response_urls.show(workspace, user, channel.id, Arguments(fields))

    # -- what Slack does --------------------------------------------------------------------------

    async def event(self, event: Json, workspace: Workspace | None = None) -> AppResponse:
        payload = payloads.event(workspace or self._site.workspaces[0], event)
        return await self._send(Delivery("events_api", payload))

    async def verify_events_url(self) -> AppResponse:
        """As Slack does when the URL is entered at api.slack.com."""
        return await self.http.send(Delivery("events_api", payloads.challenge()))

    async def redeliver(
        self, response: AppResponse, *, retry: int = 0, reason: str = ""
    ) -> AppResponse:
        """The same request; with `retry`, signed again and with the headers of a retry."""
        delivery = response.delivery
        if self._site.socket_mode:
            return await self.sockets.send(delivery, retry or 1)
        if not retry:
            return await self.http.send_again(delivery)
        headers = {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": reason}
        return await self.http.send(replace(delivery, headers=headers))

    async def _send(self, delivery: Delivery) -> AppResponse:
        if self._site.socket_mode:
            return await self.sockets.send(delivery)
        return await self.http.send(delivery)


def _channel(workspace: Workspace, channel: Channel | str | None) -> Channel:
    if isinstance(channel, Channel):
        return channel
    return workspace.channel(channel) if channel else next(iter(workspace.channels.values()))


def _resolve(workspace: Workspace, target: Target) -> tuple[Channel, AnyMessage]:
    """The channel and the message, as they are now."""
    if isinstance(target, EphemeralMessage):
        return workspace.channels[target.channel], target
    if isinstance(target, Message):
        for channel in workspace.channels.values():
            if channel.messages.get(target.ts) is target:
                return channel, target
        raise LookupError(f"the message is not in {workspace.name}")
    channel = workspace.channel(target[0])
    if target[1] not in channel.messages:
        raise LookupError("there is no such message")
    return channel, channel.messages[target[1]]

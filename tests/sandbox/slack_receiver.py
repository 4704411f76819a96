"""An App that stores what Slack sends, and responds as a test sets it."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from sandbox.server import Server
from sandbox.slack.server import Slack


class Receiver(Server):
    def __init__(self, slack: Slack) -> None:
        super().__init__()
        self.slack = slack
        self.received: list[dict[str, Any]] = []
        self.raw: list[tuple[bytes, dict[str, str]]] = []
        self.response: Any = None
        self.status = 200
        self.delay = 0.0

    async def start(self) -> None:
        await super().start()
        self.slack.interactions_url = f"{self.url}/slack/interactions"
        self.slack.commands_url = f"{self.url}/slack/commands"
        self.slack.events_url = f"{self.url}/slack/events"

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/slack/{what}", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        body, headers = await request.read(), dict(request.headers)
        assert SignatureVerifier(self.slack.app.signing_secret).is_valid_request(body, headers)
        self.raw.append((body, headers))
        what = request.match_info["what"]
        if what == "events":
            payload = json.loads(body)
        else:
            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
            payload = json.loads(form["payload"]) if what == "interactions" else form
        self.received.append(payload)
        await asyncio.sleep(self.delay)
        if "challenge" in payload:
            return web.json_response({"challenge": payload["challenge"]})
        if self.response is None:
            return web.Response(status=self.status)
        return web.json_response(self.response, status=self.status)

"""GitHub and Slack that respond at once, and when each thing of a deployment reached them.

Units: seconds of time.monotonic().
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.webhook_sender import WebhookSender
from sandbox.github.model import Deployment, Status
from sandbox.sandbox import Sandbox
from sandbox.slack.model import Channel, Message

REPOSITORIES = 10
ENVIRONMENTS = 50
# What is measured, in its order: the first status, the message, the final status and its edit.
EVENTS = ("queued", "message", "success", "edit")
# How the text of a message begins whose deployment has succeeded.
_SUCCEEDED = "✅"


class StandIns:
    """Each repository has a channel for each environment, since Slack takes only about one message
    a second in a channel."""

    def __init__(self) -> None:
        self.sandbox = Sandbox()
        github, slack = self.sandbox.github, self.sandbox.slack
        github.rate_limits.per_hour = 10**9
        slack.post_interval, slack.burst = 1.0, 5  # it allows short bursts
        self.repositories = [f"acme/site-{number}" for number in range(REPOSITORIES)]
        self.environments = [f"env-{number}" for number in range(ENVIRONMENTS)]
        installed = self.sandbox.installation.repositories
        installed += [github.add_repository(name) for name in self.repositories]
        self.channels = {
            (name, environment): slack.add_channel(f"{name.removeprefix('acme/')}-{environment}")
            for name in self.repositories
            for environment in self.environments
        }
        self.seen: dict[int, dict[str, float]] = {}
        self.sent: dict[int, float] = {}
        self._open: set[int] = set()
        self._ended = asyncio.Event()
        self._next = self._targets()
        self.sender = WebhookSender(github.delivery_headers)
        github.on_status.append(self._on_status)
        slack.on_change.append(self._on_message)

    def deploy_yml(self, handler: str) -> str:
        return "envs:\n" + "".join(self._environment(name, handler) for name in self.environments)

    def _environment(self, environment: str, handler: str) -> str:
        lines = [f"  - name: {environment}", f"    {handler}", "    timeout: 2h"]
        lines += ["    serialization: false", "    slack:"]
        for name in self.repositories:
            channel = self.channels[name, environment].id
            lines.append(f"      - {{repos: [{name}], channel: {channel}}}")
        return "\n".join(lines) + "\n"

    def environ(self, data_dir: Path, config: Path, port: int) -> dict[str, str]:
        environ = self.sandbox.environ(data_dir, config, port)
        self.sandbox.github.webhook_url = ""  # it does not send by itself
        self.sender.port = port
        return environ

    async def deploy(self) -> int:
        """One more deployment, in the channel that had none for longest; GitHub sends its event."""
        repository, environment = next(self._next)
        at = time.monotonic()
        deployment = await self.sandbox.github.create_deployment(
            repository, environment=environment, required_contexts=[]
        )
        self.sender.send("deployment", self.sandbox.github.events.deployment(deployment))
        self.sent[deployment.id] = at
        self._open.add(deployment.id)
        return deployment.id

    async def settled(self, within: float) -> bool:
        """Whether all deployments have their final status and edit by then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._open:
                    self._ended.clear()
                    await self._ended.wait()
        return not self._open

    def forget(self) -> None:
        self.seen.clear()
        self.sent.clear()
        self._open.clear()

    def _targets(self) -> Iterator[tuple[str, str]]:
        while True:
            for environment in self.environments:
                for name in self.repositories:
                    yield name, environment

    def _on_status(self, deployment: Deployment, status: Status) -> None:
        self._saw(deployment.id, status.state)
        if status.state != "inactive":  # GitHub sends no event of these
            events = self.sandbox.github.events
            self.sender.send("deployment_status", events.deployment_status(deployment, status))

    def _on_message(self, channel: Channel, message: Message) -> None:
        key = (message.metadata or {}).get("event_payload", {}).get("key", "")
        id_, _, purpose = key.partition(":")
        if purpose != "main":
            return
        self._saw(int(id_), "message")
        if message.text.startswith(_SUCCEEDED):
            self._saw(int(id_), "edit")

    def _saw(self, deployment_id: int, event: str) -> None:
        seen = self.seen.setdefault(deployment_id, {})
        seen.setdefault(event, time.monotonic())
        if "success" in seen and "edit" in seen:
            self._open.discard(deployment_id)
            self._ended.set()

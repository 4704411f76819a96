"""GitHub and Slack together, with one repository, one person and two channels in them."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from webhook.sandbox.github import GitHub
from webhook.sandbox.server import HOST
from webhook.sandbox.slack import Slack

REPOSITORY = "acme/site"


class Sandbox:
    """Start it with `async with`; `environ` is what a relay needs to live in it."""

    def __init__(self, github: GitHub | None = None, slack: Slack | None = None) -> None:
        self.github = github or GitHub()
        self.slack = slack or Slack(scopes=("chat:write", "channels:history"))
        self.person = self.github.add_user("octocat")
        self.installation = self.github.add_installation("acme", [REPOSITORY])
        self.deploys = self.slack.add_channel("deploys")
        self.oncall = self.slack.add_channel("oncall")

    async def __aenter__(self) -> Self:
        await self.github.start()
        await self.slack.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.github.stop()
        await self.slack.stop()

    def environ(self, data_dir: Path, config: Path, port: int) -> dict[str, str]:
        """The relay's variables; it listens on `port`, where GitHub sends its webhooks from now."""
        self.github.webhook_url = f"http://{HOST}:{port}/webhook"
        return {
            "GITPLOY_SERVER_HOST": f"{HOST}:{port}",
            "GITPLOY_SERVER_PROTO": "http",
            "GITPLOY_WEBHOOK_SECRET": self.github.webhook_secret,
            "GITPLOY_GITHUB_BASE_URL": self.github.api_url,
            "GITPLOY_GITHUB_APP_ID": str(self.github.app.id),
            "GITPLOY_GITHUB_PRIVATE_KEY": self.github.private_key_pem,
            "GITPLOY_SLACK_BOT_TOKEN": self.slack.token,
            "GITPLOY_SLACK_BASE_URL": self.slack.api_url,
            "GITPLOY_CONFIG": str(config),
            "GITPLOY_DATA_DIR": str(data_dir),
            "PORT": str(port),
        }


def free_ports(count: int) -> Sequence[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports

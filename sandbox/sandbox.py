"""GitHub and Slack together, with one repository, a few people and two channels."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sandbox.github.server import GitHub
from sandbox.server import HOST
from sandbox.slack.server import Slack

REPOSITORY = "acme/site"
# Who may do what in it. The first is the one who does things where nobody else is named.
PEOPLE = {
    "octocat": "write",
    "octoadmin": "admin",
    "octowriter": "write",
    "octoreader": "read",
    "octoguest": "none",
}


class Sandbox:
    """Start it with `async with`; `environ` has the variables of a relay that uses it. With
    `interactive` the relay gets Slack's signing secret, so that buttons and commands work; with
    `oauth` it gets a client instead of a bot token, and the App is not installed in Slack yet."""

    def __init__(
        self,
        github: GitHub | None = None,
        slack: Slack | None = None,
        *,
        interactive: bool = False,
        oauth: bool = False,
    ) -> None:
        self.github = github or GitHub()
        self.github.strict = True
        scopes = ("chat:write", "channels:history")
        self.slack = slack or Slack(scopes=scopes, installed=not oauth)
        self.interactive = interactive
        self.oauth = oauth
        self.installation = self.github.add_installation("acme", [REPOSITORY])
        for login, role in PEOPLE.items():
            self.github.add_collaborator(REPOSITORY, login, role)
        self.user = next(iter(self.github.world.users.values()))
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
        """The variables of a relay on `port`, to which GitHub and Slack send from now on."""
        self.github.webhook_url = f"http://{HOST}:{port}/webhook"
        self.github.app.callback_urls = [f"http://{HOST}:{port}/signin"]
        return {
            "GITPLOY_SERVER_HOST": f"{HOST}:{port}",
            "GITPLOY_SERVER_PROTO": "http",
            "GITPLOY_WEBHOOK_SECRET": self.github.webhook_secret,
            "GITPLOY_GITHUB_BASE_URL": self.github.api_url,
            "GITPLOY_GITHUB_APP_ID": str(self.github.app.id),
            "GITPLOY_GITHUB_CLIENT_ID": self.github.app.client_id,
            "GITPLOY_GITHUB_CLIENT_SECRET": self.github.app.client_secret,
            "GITPLOY_GITHUB_PRIVATE_KEY": self.github.private_key_pem,
            **self._slack(f"http://{HOST}:{port}/slack"),
            "GITPLOY_CONFIG": str(config),
            "GITPLOY_DATA_DIR": str(data_dir),
            "PORT": str(port),
        }

    def _slack(self, relay: str) -> dict[str, str]:
        """Slack's variables. The URLs in the App's settings at Slack become those of `relay`."""
        self.slack.interactions_url = f"{relay}/interactions"
        self.slack.commands_url = f"{relay}/commands"
        self.slack.events_url = f"{relay}/events"
        app = self.slack.app
        app.redirect_urls = [f"{relay}/signin"]
        variables = {"GITPLOY_SLACK_BASE_URL": self.slack.api_url}
        if self.interactive:
            variables["GITPLOY_SLACK_SIGNING_SECRET"] = app.signing_secret
        if self.slack.socket_mode:
            variables["GITPLOY_SLACK_APP_TOKEN"] = app.app_token
        if self.oauth:
            variables["GITPLOY_SLACK_CLIENT_ID"] = app.client_id
            return variables | {"GITPLOY_SLACK_CLIENT_SECRET": app.client_secret}
        return variables | {"GITPLOY_SLACK_BOT_TOKEN": self.slack.token}


def free_ports(count: int) -> Sequence[int]:
    """Ports that are free now."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports

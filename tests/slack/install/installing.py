"""What the tests of an installation in Slack share: a person with a browser that follows no
redirect by itself, and the pages of an installation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import psycopg
from yarl import URL

from sandbox.sandbox import Sandbox
from sandbox.slack.workspace import Workspace
from tests.web.viewing import Seen
from tests.world import World, live
from webhook.security.cipher import Cipher
from webhook.slack.install.views import install_link
from webhook.store.database import connect

DEPLOY_YML = """
slack: {channel: "#deploys", failures: "#oncall"}
envs:
  - name: production
    handler: command
    with: {run: ["true"]}
  - name: staging
    handler: command
    with: {run: ["true"]}
    slack: {channel: "#staging"}
"""


@dataclass(frozen=True)
class Page:
    status: int
    headers: Any
    html: str

    @property
    def text(self) -> str:
        return Seen(self.html).text

    @property
    def location(self) -> str:
        return str(self.headers["Location"])

    def key(self) -> str:
        """Of the form."""
        fields = {found["name"]: found["value"] for found in Seen(self.html).all("input")}
        return fields["key"]


@dataclass
class Browser:
    """Keeps cookies. `given`: all codes, states and keys that were ever in its address."""

    session: aiohttp.ClientSession
    given: list[str] = field(default_factory=list)

    async def get(self, url: str) -> Page:
        parameters = parse_qs(urlsplit(url).query)
        self.given += [
            parameters[name][0] for name in ("key", "code", "state") if name in parameters
        ]
        async with self.session.get(URL(url, encoded=True), allow_redirects=False) as response:
            return Page(response.status, response.headers, await response.text())

    async def post(self, url: str, key: str) -> Page:
        form = {"key": key}
        async with self.session.post(url, data=form, allow_redirects=False) as response:
            return Page(response.status, response.headers, await response.text())

    async def press(self, link: str) -> Page:
        """Open the link, then press its button."""
        return await self.post(link.partition("?")[0], (await self.get(link)).key())

    async def allowed(self, world: World, workspace: Workspace | None = None) -> str:
        """Where Slack leads back to after "Allow"."""
        page = await self.press(link(world))
        url: str = await world.slack.authorize_app(page.location, "allow", workspace=workspace)
        return url

    async def install(self, world: World, workspace: Workspace | None = None) -> Page:
        return await self.get(await self.allowed(world, workspace))


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    jar = aiohttp.CookieJar(unsafe=True)  # which means: of addresses without a name, too
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Browser(session)


@asynccontextmanager
async def installable(
    store_url: str, folder: Path, environ: dict[str, str] | None = None
) -> AsyncIterator[World]:
    """A relay that is installed nowhere yet."""
    sandbox = Sandbox(oauth=True)
    async with live(
        store_url, folder, DEPLOY_YML, sandbox=sandbox, environ=environ, workers=0
    ) as world:
        yield world


def link(world: World) -> str:
    with connect(world.store_url) as connection:
        return install_link(connection, world.url)


def installed(world: World) -> dict[str, str]:
    """Team -> its token, as it is stored."""
    cipher = Cipher(world.setup.secret_keys)
    rows = world.rows("select team, token from slack_installations where error = ''")
    return {row["team"]: cipher.decrypt(row["token"]) for row in rows}


def forget_about_time(world: World) -> None:
    """All that waits to be used is too old from now on."""
    with psycopg.connect(world.store_url) as connection:
        connection.execute("update oauth_states set expires_at = now() - interval '1 second'")

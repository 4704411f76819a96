"""What the tests of refreshed tokens share: a workspace whose tokens expire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import psycopg
from psycopg.rows import dict_row

from sandbox.slack.server import Slack
from webhook.security.cipher import Cipher
from webhook.settings import SlackSettings
from webhook.slack import oauth as slack_oauth
from webhook.slack.oauth import SlackOAuth
from webhook.slack.tokens import StoredTokens
from webhook.store import slack_installations
from webhook.store.database import AsyncPool, async_pool, connect
from webhook.store.slack_installations import NewInstallation
from webhook.timing import DEFAULT_TIMING, Timing

CIPHER = Cipher(["a key of the tests, long enough"])
TEAM = "T0SANDBOX"
SOON, TOO_LATE = timedelta(minutes=90), timedelta(seconds=-1)


@dataclass
class Refreshing:
    """A workspace with tokens that expire, as the worker sees it."""

    slack: Slack
    store_url: str
    pool: AsyncPool
    oauth: SlackOAuth
    settings: SlackSettings
    session: aiohttp.ClientSession
    timing: Timing = DEFAULT_TIMING

    async def token(self, oauth: SlackOAuth | None = None) -> str:
        return await StoredTokens(self.pool, CIPHER, oauth or self.oauth, self.timing).of(TEAM)

    def row(self) -> dict[str, Any]:
        with psycopg.connect(self.store_url, row_factory=dict_row) as connection:
            [row] = connection.execute("select * from slack_installations").fetchall()
        return row

    def expires(self, left: timedelta) -> None:
        with psycopg.connect(self.store_url) as connection:
            expires_at = datetime.now(UTC) + left
            connection.execute("update slack_installations set expires_at = %s", [expires_at])

    def install(self, expires_in: timedelta | None = SOON) -> str:
        """As the page does it; the token. None: one that does not expire."""
        self.slack.app.rotates = expires_in is not None
        granted = slack_oauth.exchange(self.settings, self._code(), "")
        new = NewInstallation(
            team=granted.team,
            team_name=granted.team_name,
            app_id=granted.app_id,
            bot_user=granted.bot_user,
            scopes=granted.scopes,
            token=CIPHER.encrypt(granted.token),
            refresh_token=CIPHER.encrypt(granted.refresh_token) if granted.refresh_token else None,
            expires_at=granted.expires_at,
            installed_by=granted.by,
        )
        with connect(self.store_url) as connection:
            slack_installations.save(connection, new)
        if expires_in is not None:
            self.expires(expires_in)
        return granted.token

    def _code(self) -> str:
        return self.slack._codes.make(self.slack.workspace, "U1", ["chat:write"], "")

    def given(self) -> int:
        """How many tokens Slack gave."""
        return len(self.slack.workspace.tokens)


@asynccontextmanager
async def refreshing(store_url: str) -> AsyncIterator[Refreshing]:
    slack = Slack(installed=False)
    await slack.start()
    settings = SlackSettings(
        client_id=slack.app.client_id,
        client_secret=slack.app.client_secret,
        scopes=("chat:write",),
        bot_token=None,
        signing_secret=None,
        app_token=None,
        base_url=slack.api_url,
    )
    async with aiohttp.ClientSession() as session, async_pool(store_url, 4) as pool:
        oauth = SlackOAuth(settings, session)
        yield Refreshing(slack, store_url, pool, oauth, settings, session)
    await slack.stop()


async def waiting(pool: AsyncPool, count: int) -> None:
    async with asyncio.timeout(5):
        while pool.get_stats().get("requests_waiting", 0) < count:
            await asyncio.sleep(0.01)

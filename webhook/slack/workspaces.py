"""The workspaces that the relay may post to: those installed by OAuth, and the one whose token is
in GITPLOY_SLACK_BOT_TOKEN.

Errors: `Rejected` where there is none, or several and deploy.yml does not name one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import aiohttp
import structlog

from webhook.errors import Rejected, RetryAt
from webhook.invocation import COMMAND
from webhook.rejections import RejectionPolicy
from webhook.security.cipher import Cipher, DecryptionError
from webhook.settings import SlackSettings
from webhook.slack.client import Calls, Slack
from webhook.slack.errors import EXPIRED, token_is_invalid
from webhook.slack.oauth import SlackOAuth
from webhook.slack.tokens import StoredTokens, token_rejected_since
from webhook.store import slack_installations
from webhook.store.database import AsyncPool
from webhook.store.slack_installations import Installation
from webhook.timing import Clock, Timing

log = structlog.get_logger()

INSTALL = f"{COMMAND} slack install-link"

T = TypeVar("T")


@dataclass(slots=True)
class _Configured:
    """The workspace of GITPLOY_SLACK_BOT_TOKEN. `error`: why its token is not used before
    `paused_until`."""

    slack: Slack
    team: str = ""
    error: str = ""
    paused_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Installed:
    token: str = field(repr=False)
    at: datetime
    slack: Slack


class Workspaces:
    def __init__(
        self,
        settings: SlackSettings,
        session: aiohttp.ClientSession,
        pool: AsyncPool,
        cipher: Cipher,
        *,
        timing: Timing,
        clock: Clock,
    ) -> None:
        self._timing = timing
        self._clock = clock
        self._settings = settings
        self._session = session
        self._pool = pool
        self._cipher = cipher
        self._tokens = StoredTokens(pool, cipher, SlackOAuth(settings, session, clock), timing)
        self._calls = Calls(clock)
        token = settings.bot_token
        self._configured = _Configured(self._client(token)) if token else None
        self._installed: dict[str, _Installed] = {}

    def _client(self, token: str) -> Slack:
        return Slack(token, self._settings.base_url, self._session, self._calls)

    async def of(self, team: str = "") -> Slack:
        """The workspace of that id; without one, the only one there is."""
        if self._configured and await self._is_configured(team):
            return self._usable(self._configured)
        return await self._of_installed(team)

    async def _is_configured(self, team: str) -> bool:
        assert self._configured is not None
        if not team or team == self._configured.team:
            return True
        try:
            self._configured.team = (await self._usable(self._configured).bot()).team
            return self._configured.team == team
        except Rejected as error:
            if token_is_invalid(error):
                self._pause(error)
            return False

    def _usable(self, configured: _Configured) -> Slack:
        if configured.paused_until and configured.paused_until > self._clock():
            raise Rejected(configured.error)
        return configured.slack

    async def _of_installed(self, team: str) -> Slack:
        async with self._pool.connection() as connection:
            installed = await slack_installations.every(connection)
        installation = _chosen(installed, team)
        if installation.error:
            raise Rejected(installation.error)
        try:
            token = await self._tokens.of(installation.team)
        except DecryptionError as error:
            raise Rejected(str(error)) from error
        known = self._installed.get(installation.team)
        # Installed again it may have the same token, yet other scopes.
        if known is None or (known.token, known.at) != (token, installation.installed_at):
            known = _Installed(token, installation.installed_at, self._client(token))
            self._installed[installation.team] = known
        return known.slack

    async def using(self, team: str, act: Callable[[Slack], Awaitable[T]]) -> T:
        """Act in a workspace; a token that Slack rejects is not used again."""
        slack = await self.of(team)
        try:
            return await act(slack)
        except Rejected as error:
            if token_is_invalid(error):
                await self._stop_using(slack, error)
            raise

    async def _stop_using(self, slack: Slack, error: Rejected) -> None:
        log.error("a Slack token is invalid", error=str(error))
        if self._configured and slack is self._configured.slack:
            self._pause(error)
            return
        for team, installed in list(self._installed.items()):
            if installed.slack is slack:
                del self._installed[team]
                if again := await self._stop(team, installed, error):
                    raise again from error

    async def _stop(self, team: str, installed: _Installed, error: Rejected) -> RetryAt | None:
        """Unless it has another token already, can be refreshed, or was not rejected for long."""
        now = self._clock()
        async with self._pool.connection() as connection, connection.transaction():
            known = await slack_installations.lock(connection, team)
            if known is None or self._cipher.decrypt(known.token) != installed.token:
                return None
            if error.code == EXPIRED and known.refresh_token:
                await slack_installations.expire(connection, team)
                return RetryAt("the token is refreshed first", now)
            since = token_rejected_since(known, installed.slack.accepted_at, now)
            again = RejectionPolicy.doubtful(self._timing).retry_at(since, now)
            if again is None:
                await slack_installations.stop_async(connection, team, str(error))
                return None
            await slack_installations.rejected(connection, team, since, now)
            return RetryAt(str(error), again)

    def _pause(self, error: Rejected) -> None:
        assert self._configured is not None
        self._configured.error = str(error)
        self._configured.paused_until = self._clock() + self._timing.rejected_token_pause


def _chosen(installed: list[Installation], team: str) -> Installation:
    if team:
        found = next((one for one in installed if one.team == team), None)
        if found is None:
            raise Rejected(f"the Slack app is not installed in workspace {team}; run: {INSTALL}")
        return found
    if not installed:
        raise Rejected(f"the Slack app is installed in no workspace; run: {INSTALL}")
    usable = [one for one in installed if not one.error]
    if len(usable) > 1:
        names = ", ".join(f"{one.team} ({one.team_name})" for one in usable[:10])
        raise Rejected(
            f"the Slack app is installed in several workspaces: {names};"
            " say which with 'workspace: T…' under slack: in deploy.yml"
        )
    return (usable or installed)[0]

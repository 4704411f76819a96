"""The token of an installed workspace, refreshed before it expires.

Source: docs.slack.dev/authentication/using-token-rotation: a token is valid for 12 hours, and a
refresh token works once. So one process refreshes at a time: it holds the row from before
the call until the new pair is committed, and nobody waits for it while the old token is valid.

Errors: `Rejected` (not installed, or removed), `RetryAt`, `UnknownOutcome`; `DecryptionError` where
no key opens it.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.invocation import COMMAND
from webhook.rejections import RejectionPolicy, still_rejected_since
from webhook.security.cipher import Cipher
from webhook.slack.oauth import SlackOAuth, Tokens
from webhook.store import slack_installations
from webhook.store.database import Async, AsyncPool
from webhook.store.slack_installations import Installation
from webhook.timing import DEFAULT_TIMING, Timing

log = structlog.get_logger()

_REINSTALL = f"install the Slack app again: {COMMAND} slack install-link"
_FINAL_CODES = {
    "invalid_refresh_token": "Slack does not accept the refresh token any more",
    "invalid_grant": "Slack does not accept the refresh token any more",
    "token_revoked": "the Slack app's token was revoked",
    "token_expired": "the Slack app's token has expired",
    "invalid_auth": "the Slack app's token is not valid any more",
    "account_inactive": "the Slack app was removed from the workspace, or the workspace is gone",
    "team_added_to_org": "the workspace has joined an organization",
}
# `Rejected`: the workspace has to be installed again, as its record says.
_LOST = "workspace_lost"
# `RetryAt`: another process refreshes the token now.
_REFRESHING = "token_refreshing"
_SETTINGS = {
    "bad_client_secret": "GITPLOY_SLACK_CLIENT_SECRET is not the Slack app's",
    "invalid_client_id": "GITPLOY_SLACK_CLIENT_ID is not a Slack app's",
}


@dataclass(frozen=True, slots=True)
class _Ended:
    """`error` was stored with the installation."""

    error: str


def token_rejected_since(
    known: Installation, accepted_at: datetime | None, now: datetime
) -> datetime:
    """A call that Slack has accepted since then ends an earlier doubt."""
    since = still_rejected_since(known.rejected_since, known.rejected_at, now)
    return now if accepted_at is not None and accepted_at > since else since


@dataclass(frozen=True, slots=True)
class StoredTokens:
    pool: AsyncPool
    cipher: Cipher
    oauth: SlackOAuth
    timing: Timing = DEFAULT_TIMING

    async def of(self, team: str) -> str:
        """The current token of an installed workspace."""
        async with self.pool.connection() as connection:
            known = await slack_installations.read(connection, team)
        if known is None:
            raise Rejected(f"the Slack app is not installed in workspace {team}; {_REINSTALL}")
        if known.error:
            raise Rejected(known.error)
        now = self.oauth.clock()
        if not _expires_by(known, now + self.timing.token_refresh_before):
            return self.cipher.decrypt(known.token)
        good = not _expires_by(known, now + self.timing.token_margin)
        if good and self.oauth.paused.get(team, now) > now:
            return self.cipher.decrypt(known.token)
        try:
            return await _shielded(self._refreshed(team))
        except (RetryAt, UnknownOutcome, Rejected) as error:
            if not good or error.code == _LOST:
                raise _with_remedy(error) from error
            if error.code != _REFRESHING:
                log.warning("a Slack token is not refreshed yet", team=team, error=str(error))
                self.oauth.paused[team] = self.oauth.clock() + self.timing.token_refresh_retry
            return self.cipher.decrypt(known.token)

    async def _refreshed(self, team: str) -> str:
        async with self.pool.connection() as connection, connection.transaction():
            mine = await slack_installations.lock(connection, team)
            if mine is None:
                again = self.oauth.clock() + self.timing.token_refresh_recheck
                raise RetryAt("the token is being refreshed", again, code=_REFRESHING)
            if mine.error:
                raise Rejected(mine.error, code=_LOST)
            soon = self.oauth.clock() + self.timing.token_refresh_before
            if not _expires_by(mine, soon):  # another process was faster
                return self.cipher.decrypt(mine.token)
            outcome = await self._refresh(connection, mine)
        if isinstance(outcome, RetryAt):
            raise outcome
        if isinstance(outcome, _Ended):
            log.error("a Slack workspace is lost", team=team, error=outcome.error)
            raise Rejected(outcome.error, code=_LOST)
        log.info("Slack token refreshed", team=team)
        return outcome.token

    async def _refresh(self, connection: Async, mine: Installation) -> Tokens | _Ended | RetryAt:
        """Returned, since what it has written is committed."""
        if mine.refresh_token is None:
            return await _end(connection, mine, "invalid_refresh_token")
        try:
            new = await self.oauth.refresh(self.cipher.decrypt(mine.refresh_token))
        except Rejected as rejected:
            if rejected.code not in _FINAL_CODES:
                raise
            now = self.oauth.clock()
            since = token_rejected_since(mine, None, now)
            if again := RejectionPolicy.doubtful(self.timing).retry_at(since, now):
                await slack_installations.rejected(connection, mine.team, since, now)
                return RetryAt(str(rejected), again)
            return await _end(connection, mine, rejected.code)
        await slack_installations.save_tokens(
            connection,
            mine.team,
            self.cipher.encrypt(new.token),
            self.cipher.encrypt(new.refresh_token) if new.refresh_token else None,
            new.expires_at,
        )
        return new


async def _shielded(refreshed: Coroutine[Any, Any, str]) -> str:
    """A worker that stops must not lose the only new refresh token."""
    task = asyncio.create_task(refreshed)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _end(connection: Async, mine: Installation, code: str) -> _Ended:
    error = f"{_FINAL_CODES[code]} (Slack returned {code}); {_REINSTALL}"
    await slack_installations.stop_async(connection, mine.team, error)
    return _Ended(error)


def _expires_by(installation: Installation, at: datetime) -> bool:
    return installation.expires_at is not None and installation.expires_at <= at


def _with_remedy(error: RetryAt | UnknownOutcome | Rejected) -> RetryAt | UnknownOutcome | Rejected:
    if not isinstance(error, Rejected) or error.code == _LOST:
        return error
    reason = _SETTINGS.get(error.code)
    if reason is None:
        return Rejected(f"the Slack token cannot be refreshed: {error}; {_REINSTALL}")
    remedy = "copy it from the Slack app's Basic Information and restart the relay"
    return Rejected(f"{reason} (Slack returned {error.code}); {remedy}")

"""The token of an installed workspace, refreshed before it expires.

Source: docs.slack.dev/authentication/using-token-rotation: a token lives for 12 hours, and a
refresh token is good for one time. So one process refreshes at a time: it holds the row from before
the call until the new pair is committed, and nobody waits for it while the old token is good.

Errors: `Rejected` (not installed, or no more), `RetryAt`, `UnknownOutcome`; `DecryptionError` where
no key opens it.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.security.cipher import Cipher
from webhook.slack.oauth import SlackOAuth, Tokens
from webhook.store import slack_installations
from webhook.store.database import Async, AsyncPool
from webhook.store.slack_installations import Installation
from webhook.timing import DEFAULT_TIMING, Timing

log = structlog.get_logger()

_AGAIN = "install the Slack app again: python -m webhook slack install-link"
_ENDS = {
    "invalid_refresh_token": "Slack does not take the refresh token any more",
    "invalid_grant": "Slack does not take the refresh token any more",
    "token_revoked": "the Slack app's token was revoked",
    "token_expired": "the Slack app's token has expired",
    "invalid_auth": "the Slack app's token is not valid any more",
    "account_inactive": "the Slack app was removed from the workspace, or the workspace is gone",
    "team_added_to_org": "the workspace has joined an organization",
}
# `Rejected`: the workspace has to be installed again, as its record says.
_LOST = "workspace_lost"
# `RetryAt`: somebody else refreshes the token now.
_REFRESHING = "token_refreshing"
_SETTINGS = {
    "bad_client_secret": "GITPLOY_SLACK_CLIENT_SECRET is not the Slack app's",
    "invalid_client_id": "GITPLOY_SLACK_CLIENT_ID is no Slack app's",
}


@dataclass(frozen=True, slots=True)
class _Ended:
    """`trouble` was kept with the installation."""

    trouble: str


async def token_of(
    pool: AsyncPool,
    cipher: Cipher,
    oauth: SlackOAuth,
    team: str,
    timing: Timing = DEFAULT_TIMING,
) -> str:
    """The current token of an installed workspace."""
    async with pool.connection() as connection:
        known = await slack_installations.read(connection, team)
    if known is None:
        raise Rejected(f"the Slack app is not installed in workspace {team}; {_AGAIN}")
    if known.error:
        raise Rejected(known.error)
    now = oauth.clock()
    if not _expires_by(known, now + timing.token_refresh_before):
        return cipher.decrypt(known.token)
    good = not _expires_by(known, now + timing.token_margin)
    if good and oauth.resting.get(team, now) > now:
        return cipher.decrypt(known.token)
    try:
        return await _to_its_end(_refreshed(pool, cipher, oauth, team, timing))
    except (RetryAt, UnknownOutcome, Rejected) as trouble:
        if not good or trouble.code == _LOST:
            raise _in_words(trouble) from trouble
        if trouble.code != _REFRESHING:
            log.warning("a Slack token is not refreshed yet", team=team, words=str(trouble))
            oauth.resting[team] = oauth.clock() + timing.token_refresh_retry
        return cipher.decrypt(known.token)


async def _to_its_end(refreshed: Coroutine[Any, Any, str]) -> str:
    """A worker that stops must not take the only new refresh token with it."""
    task = asyncio.create_task(refreshed)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _refreshed(
    pool: AsyncPool, cipher: Cipher, oauth: SlackOAuth, team: str, timing: Timing
) -> str:
    async with pool.connection() as connection, connection.transaction():
        mine = await slack_installations.lock(connection, team)
        if mine is None:
            again = oauth.clock() + timing.token_refresh_recheck
            raise RetryAt("the token is being refreshed", again, code=_REFRESHING)
        if mine.error:
            raise Rejected(mine.error, code=_LOST)
        soon = oauth.clock() + timing.token_refresh_before
        if not _expires_by(mine, soon):  # somebody was quicker
            return cipher.decrypt(mine.token)
        outcome = await _refresh(connection, cipher, oauth, mine)
    if isinstance(outcome, _Ended):
        log.error("a Slack workspace is lost", team=team, words=outcome.trouble)
        raise Rejected(outcome.trouble, code=_LOST)
    log.info("Slack token refreshed", team=team)
    return outcome.token


async def _refresh(
    connection: Async, cipher: Cipher, oauth: SlackOAuth, mine: Installation
) -> Tokens | _Ended:
    if mine.refresh_token is None:
        return await _end(connection, mine, "invalid_refresh_token")
    try:
        new = await oauth.refresh(cipher.decrypt(mine.refresh_token))
    except Rejected as no:
        if no.code not in _ENDS:
            raise
        return await _end(connection, mine, no.code)
    await slack_installations.save_tokens(
        connection,
        mine.team,
        cipher.encrypt(new.token),
        cipher.encrypt(new.refresh_token) if new.refresh_token else None,
        new.expires_at,
    )
    return new


async def _end(connection: Async, mine: Installation, code: str) -> _Ended:
    trouble = f"{_ENDS[code]} (Slack says {code}); {_AGAIN}"
    await slack_installations.stop_async(connection, mine.team, trouble)
    return _Ended(trouble)


def _expires_by(installation: Installation, at: datetime) -> bool:
    return installation.expires_at is not None and installation.expires_at <= at


def _in_words(trouble: RetryAt | UnknownOutcome | Rejected) -> RetryAt | UnknownOutcome | Rejected:
    if not isinstance(trouble, Rejected) or trouble.code == _LOST:
        return trouble
    why = _SETTINGS.get(trouble.code)
    if why is None:
        return Rejected(f"the Slack token cannot be refreshed: {trouble}; {_AGAIN}")
    remedy = "copy it from the Slack app's Basic Information and restart the relay"
    return Rejected(f"{why} (Slack says {trouble.code}); {remedy}")

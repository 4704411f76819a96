"""Installation tokens of the GitHub App, cached until shortly before they expire.

Source: docs.github.com, "Generating an installation access token for a GitHub App". A token lasts
one hour and is scoped to one repository and the permissions that a call needs.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from cachetools import TLRUCache, TTLCache

from webhook.errors import LACKS_PERMISSION, Forbidden
from webhook.jobs import lease
from webhook.timing import Clock

RENEW_BEFORE = timedelta(minutes=5)
# What the relay itself needs (statuses, the changelog): one token for all of it.
OWN_PERMISSIONS = {"contents": "read", "deployments": "write"}
# A 404 with a token that is older may mean that the repository has left the installation.
MAY_HAVE_MOVED_AFTER = timedelta(minutes=1)
# Where an installation does not grant them all, each call has a token of its own for so long.
NOT_GRANTED_CACHED = timedelta(hours=1)
MOST_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class Scope:
    """The repository and permissions of a token, as sorted (name, level) pairs. `repo_id` is 0 if
    only the name is known, which a rename changes. Without a name too: all of the installation."""

    installation_id: int
    repo: str
    repo_id: int
    permissions: tuple[tuple[str, str], ...] = (("deployments", "write"),)

    def only(self, **permissions: str) -> "Scope":
        """The same repository with these permissions instead."""
        return replace(self, permissions=tuple(sorted(permissions.items())))

    def shared(self) -> "Scope | None":
        """The same with all that the relay itself needs, if this is a part of it."""
        if not self.repo:
            return None
        for name, level in self.permissions:
            if level not in ("read", OWN_PERMISSIONS.get(name)) or name not in OWN_PERMISSIONS:
                return None
        return self.only(**OWN_PERMISSIONS)

    def as_request(self) -> dict[str, Any]:
        where: dict[str, Any] = {}
        if self.repo_id:
            where = {"repository_ids": [self.repo_id]}
        elif self.repo:
            where = {"repositories": [self.repo.rpartition("/")[2]]}
        return {**where, "permissions": dict(self.permissions)}

    def address(self, path: str) -> str:
        """The path by the repository's ID: its name may be another repository's by now.

        It is where GitHub itself redirects after a rename; see docs.github.com/rest,
        "Best practices for using the REST API", "Follow redirects".
        """
        named = f"/repos/{self.repo}"
        if not self.repo_id or not (path + "/").startswith((f"{named}/", f"{named}?")):
            return path
        return f"/repositories/{self.repo_id}{path.removeprefix(named)}"


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    at: datetime
    renew_at: datetime


class AppTokens:
    """A cache in front of `fetch`, which returns GitHub's response (token, expires_at)."""

    def __init__(self, fetch: Callable[[Scope], Awaitable[dict[str, Any]]], clock: Clock) -> None:
        self._clock = clock
        self._fetch = fetch
        self._tokens: TLRUCache[Scope, _Token, datetime] = TLRUCache(
            MOST_CACHED, lambda _scope, token, _now: token.renew_at, clock
        )
        self._fetching: dict[Scope, asyncio.Task[str]] = {}
        self._separate: TTLCache[Scope, bool, datetime] = TTLCache(
            MOST_CACHED, NOT_GRANTED_CACHED, clock
        )

    async def get(self, scope: Scope) -> str:
        """Callers that wait for the same token share one call, and its error."""
        shared = scope.shared()
        if shared is None or shared in self._separate:
            return await self._get(scope)
        try:
            return await self._get(shared)
        except Forbidden as error:
            if error.code != LACKS_PERMISSION or shared == scope:
                raise
        self._separate[shared] = True
        return await self._get(scope)

    async def _get(self, scope: Scope) -> str:
        known = self._tokens.get(scope)
        if known is not None:
            return known.value
        fetching = self._fetching.get(scope)
        if fetching is None:
            fetching = lease.shared(self._renew(scope))
            self._fetching[scope] = fetching
            fetching.add_done_callback(lambda _: self._fetching.pop(scope, None))
        return await asyncio.shield(fetching)

    async def _renew(self, scope: Scope) -> str:
        response = await self._fetch(scope)
        token: str = response["token"]
        renew_at = datetime.fromisoformat(response["expires_at"]) - RENEW_BEFORE
        self._tokens[scope] = _Token(token, self._clock(), renew_at)
        return token

    def drop(self, scope: Scope, token: str) -> None:
        """Forget a token that GitHub rejected, unless there is a newer one already."""
        for one in self._held(scope, token):
            self._tokens.pop(one, None)

    def is_old(self, scope: Scope, token: str) -> bool:
        """Old enough that the repository may have moved meanwhile."""
        held = self._held(scope, token).values()
        return any(self._clock() - one.at > MAY_HAVE_MOVED_AFTER for one in held)

    def _held(self, scope: Scope, token: str) -> dict[Scope, _Token]:
        """Where that token is kept for this scope."""
        found = ((one, self._tokens.get(one)) for one in (scope, scope.shared()) if one)
        return {one: held for one, held in found if held is not None and held.value == token}

    def drop_installation(self, installation_id: int) -> None:
        kept: tuple[MutableMapping[Scope, Any], ...] = (self._tokens, self._separate)
        for by_scope in kept:
            for scope in [s for s in by_scope if s.installation_id == installation_id]:
                by_scope.pop(scope, None)

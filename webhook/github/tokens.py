"""Installation tokens of the GitHub App, cached until shortly before they expire.

Source: docs.github.com, "Generating an installation access token for a GitHub App". A token lasts
one hour and is scoped to one repository and the permissions that a call needs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from webhook.timing import Clock

RENEW_BEFORE = timedelta(minutes=5)


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


class AppTokens:
    """A cache in front of `fetch`, which returns GitHub's response (token, expires_at)."""

    def __init__(self, fetch: Callable[[Scope], Awaitable[dict[str, Any]]], clock: Clock) -> None:
        self._clock = clock
        self._fetch = fetch
        self._tokens: dict[Scope, tuple[str, datetime]] = {}
        self._fetching: dict[Scope, asyncio.Task[str]] = {}

    async def get(self, scope: Scope) -> str:
        """Callers that wait for the same token share one call, and its error."""
        token, renew_at = self._tokens.get(scope, ("", None))
        if renew_at is not None and self._clock() < renew_at:
            return token
        fetching = self._fetching.get(scope)
        if fetching is None:
            fetching = asyncio.create_task(self._renew(scope))
            self._fetching[scope] = fetching
            fetching.add_done_callback(lambda _: self._fetching.pop(scope, None))
        return await asyncio.shield(fetching)

    async def _renew(self, scope: Scope) -> str:
        response = await self._fetch(scope)
        token: str = response["token"]
        renew_at = datetime.fromisoformat(response["expires_at"]) - RENEW_BEFORE
        self._tokens[scope] = (token, renew_at)
        return token

    def drop(self, scope: Scope, token: str) -> None:
        """Forget a token that GitHub rejected, unless there is a newer one already."""
        if self._tokens.get(scope, ("",))[0] == token:
            del self._tokens[scope]

    def drop_installation(self, installation_id: int) -> None:
        for scope in [s for s in self._tokens if s.installation_id == installation_id]:
            del self._tokens[scope]

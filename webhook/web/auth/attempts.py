"""Attempts to sign in: what belongs to one (state, PKCE's verifier, where to go then) stands in a
signed cookie of its own, so that nobody can fill the store, an attempt counts only in its own
browser, and several can be under way there: tabs that were opened together.

Source: developer.mozilla.org, "Set-Cookie", for the prefix: no other host of the domain can set it.
"""

import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flask import Request, Response
from itsdangerous import BadData, URLSafeSerializer

from webhook.timing import Clock

# As long as GitHub's code is valid.
ATTEMPT_SECONDS = 600
# That one browser has under way.
MOST = 4
# Of a cookie: proxies take 8 KB of them all together.
_LONGEST = 1500
_STATE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Attempt:
    state: str
    verifier: str
    next: str


class Attempts:
    """Signs with the first key, accepts all of them."""

    def __init__(self, secret_keys: Sequence[str], clock: Clock, *, secure: bool) -> None:
        self._clock = clock
        self._secure = secure
        self._prefix = f"{'__Host-' if secure else ''}gitploy_signin_"
        # itsdangerous needs the newest key last.
        self._serializer = URLSafeSerializer(list(reversed(secret_keys)), salt="sign-in")

    def begin(self, then: str, request: Request, response: Response) -> Attempt:
        """`then`: a path; of a very long one, what comes before its query."""
        attempt = Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(48), then)
        content = self._signed(attempt)
        for shorter in (then.partition("?")[0], "/"):
            if len(content) > _LONGEST:
                attempt = replace(attempt, next=shorter)
                content = self._signed(attempt)
        others = [name for name in request.cookies if name.startswith(self._prefix)]
        for name in others[: max(0, len(others) - MOST + 1)]:
            self._delete(name, response)
        response.set_cookie(
            self._name(attempt.state),
            content,
            max_age=ATTEMPT_SECONDS,
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )
        return attempt

    def of(self, state: str, request: Request) -> Attempt | None:
        """The one that this browser has begun with it, lately."""
        if not _STATE.fullmatch(state):
            return None
        try:
            known, verifier, then, at = self._serializer.loads(
                request.cookies.get(self._name(state), "")
            )
        except (BadData, TypeError, ValueError):
            return None
        # By the clock of another machine it may begin in the future.
        in_time = self._clock().timestamp() - at <= ATTEMPT_SECONDS
        same = hmac.compare_digest(str(known), state)
        return Attempt(known, verifier, then) if in_time and same else None

    def end(self, attempt: Attempt, response: Response) -> None:
        """It counts once."""
        self._delete(self._name(attempt.state), response)

    def _signed(self, attempt: Attempt) -> str:
        at = int(self._clock().timestamp())
        return str(self._serializer.dumps([attempt.state, attempt.verifier, attempt.next, at]))

    def _name(self, state: str) -> str:
        return f"{self._prefix}{state[:_NAMED]}"

    def _delete(self, name: str, response: Response) -> None:
        response.delete_cookie(name, secure=self._secure, httponly=True, samesite="Lax")

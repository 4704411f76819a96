"""Who has signed in: a signed cookie, and when that person's sessions have ended last.

The cookie says who it is and since when, nothing secret and nothing of what they may do. A session
ends after twelve hours without a page, after thirty days in any case, when its person signs out in
any browser, and when they take the App's authorization back on GitHub.

Source: developer.mozilla.org, "Set-Cookie", for the prefix; itsdangerous, "Key Rotation".
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from cachetools import TTLCache
from flask import Request, Response
from itsdangerous import BadData, URLSafeSerializer

from webhook.github.authorization import Person
from webhook.store import sign_outs
from webhook.store.database import SyncPool
from webhook.timing import Clock

IDLE = timedelta(hours=12)
LONGEST = timedelta(days=30)
# How often the cookie is written again while its person looks at pages.
_REFRESHED_AFTER = timedelta(minutes=10)
_SECOND = timedelta(seconds=1)
# Of whom has an open stream.
_ASKED_AGAIN_AFTER = timedelta(seconds=5)
_MOST_KEPT = 10_000
_UNKNOWN: Any = object()
_NEXT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Session:
    """`id`: new at each sign-in. `seen_at`: as the cookie has it."""

    id: str
    person: Person
    began_at: datetime
    seen_at: datetime


class Sessions:
    """Signs with the first key, accepts all of them."""

    def __init__(
        self, pool: SyncPool, server_url: str, secret_keys: Sequence[str], clock: Clock
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._https = server_url.startswith("https://")
        # itsdangerous needs the newest key last.
        keys = list(reversed(secret_keys))
        self._lock = Lock()
        self._ended: TTLCache[int, datetime | None, datetime] = TTLCache(
            _MOST_KEPT, _ASKED_AGAIN_AFTER, clock
        )
        self._cookies = URLSafeSerializer(keys, salt="session")
        self._forms = URLSafeSerializer(keys, salt="form")

    @property
    def cookie(self) -> str:
        """Browsers take the prefix only over https."""
        return f"{'__Host-' if self._https else ''}gitploy_session"

    @property
    def secure(self) -> bool:
        return self._https

    def begin(self, person: Person, response: Response) -> None:
        """Errors: psycopg's."""
        now = self._clock()
        ended_at = self._read_ended_at(person.id)
        # By the clock of another machine, they may sign out only in a moment.
        began_at = max(now, ended_at + _NEXT) if ended_at else now
        self._write(Session(secrets.token_urlsafe(16), person, began_at, now), response)

    def read(self, request: Request) -> Session | None:
        """Errors: psycopg's."""
        session = self._read(request.cookies.get(self.cookie, ""))
        now = self._clock()
        if session is None or now - session.seen_at > IDLE or now - session.began_at > LONGEST:
            return None
        return session if self._holds(session, self._read_ended_at(session.person.id)) else None

    def holds(self, session: Session) -> bool:
        """Whether it does still, some seconds later: for streams, which go on after their request.
        Errors: psycopg's."""
        user_id = session.person.id
        with self._lock:
            known = self._ended.get(user_id, _UNKNOWN)
        return self._holds(session, self._read_ended_at(user_id) if known is _UNKNOWN else known)

    def refresh(self, session: Session, response: Response) -> None:
        """While pages are looked at, it goes on."""
        now = self._clock()
        if now - session.seen_at > _REFRESHED_AFTER:
            self._write(replace(session, seen_at=now), response)

    def end(self, session: Session, response: Response) -> None:
        """All of that person's."""
        with self._pool.connection() as connection:
            sign_outs.end_sessions(connection, session.person.id, self._clock())
        with self._lock:
            self._ended.pop(session.person.id, None)
        response.delete_cookie(self.cookie, secure=self._https, httponly=True, samesite="Lax")

    def _read_ended_at(self, user_id: int) -> datetime | None:
        with self._pool.connection() as connection:
            ended_at = sign_outs.ended_at(connection, user_id)
        with self._lock:
            self._ended[user_id] = ended_at
        return ended_at

    @staticmethod
    def _holds(session: Session, ended_at: datetime | None) -> bool:
        return ended_at is None or session.began_at > ended_at

    def form_token(self, session: Session) -> str:
        """What the session's forms send along; it looks different each time."""
        signed = str(self._forms.dumps(session.id)).encode()
        pad = secrets.token_bytes(len(signed))
        return base64.urlsafe_b64encode(pad + _mixed(pad, signed)).decode()

    def is_form_token(self, session: Session, token: str) -> bool:
        try:
            both = base64.urlsafe_b64decode(token.encode())
            pad, mixed = both[: len(both) // 2], both[len(both) // 2 :]
            return bool(self._forms.loads(_mixed(pad, mixed)) == session.id)
        except (BadData, ValueError):
            return False

    def _write(self, session: Session, response: Response) -> None:
        person = session.person
        times = [one.timestamp() for one in (session.began_at, session.seen_at)]
        response.set_cookie(
            self.cookie,
            self._cookies.dumps([session.id, person.id, person.login, *times]),
            max_age=LONGEST // _SECOND,
            secure=self._https,
            httponly=True,
            samesite="Lax",  # Strict would lose it on the way from GitHub and from Slack's links
        )

    def _read(self, cookie: str) -> Session | None:
        try:
            return _session(self._cookies.loads(cookie))
        except (BadData, TypeError, ValueError, OverflowError):
            return None


def _mixed(pad: bytes, text: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(pad, text, strict=True))


def _session(content: Any) -> Session:
    session_id, user_id, login, began_at, seen_at = content
    began, seen = (datetime.fromtimestamp(one).astimezone() for one in (began_at, seen_at))
    return Session(str(session_id), Person(int(user_id), str(login)), began, seen)

"""The login that somebody's account has now. Who changes it on GitHub stays signed in.

GitHub says by login what a person may do, and a session has the login of its sign-in. Where that is
not the account's any more, GitHub is asked by the account's number which one is. Rights that are
given by login (GITPLOY_ADMIN_USERS) go by that of the sign-in, as long as the account still has it:
nobody gets another one's by a change of login.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock

import structlog
from cachetools import LRUCache

from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.github.authorization import Person
from webhook.github.tokens import Scope
from webhook.github.users import login_by_id
from webhook.timing import Clock
from webhook.web.github_calls import Outside

log = structlog.get_logger()

# About one person, whatever the answer was.
ASKED_AGAIN_AFTER = timedelta(minutes=5)
_MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    login: str
    asked_at: datetime


class Logins:
    """Of one process; by the person as they signed in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: LRUCache[Person, _Known] = LRUCache(_MOST_KEPT)
        self._lock = Lock()

    def current(self, person: Person) -> Person:
        """As GitHub has said last; with an empty login where it has no such account."""
        with self._lock:
            known = self._known.get(person)
        return replace(person, login=known.login) if known else person

    def is_due(self, person: Person) -> bool:
        with self._lock:
            known = self._known.get(person)
        return known is None or self._clock() - known.asked_at >= ASKED_AGAIN_AFTER

    async def ask(self, outside: Outside, scopes: Iterable[Scope], person: Person) -> bool:
        """Whether it is another one now. `scopes`: whose tokens may be used. Nobody asks again
        soon."""
        if not self.is_due(person):
            return False
        before = self.current(person).login
        self._keep(person, before)  # others do not ask meanwhile
        login = await _login(outside, scopes, person.id)
        if login is None or login.lower() == before.lower():
            return False
        log.info("another login on GitHub", id=person.id, before=before, login=login)
        self._keep(person, login)
        return True

    def _keep(self, person: Person, login: str) -> None:
        with self._lock:
            self._known[person] = _Known(login, self._clock())


async def _login(outside: Outside, scopes: Iterable[Scope], account_id: int) -> str | None:
    """None: GitHub does not say it. Of an account that an enterprise manages, other organizations'
    tokens know nothing."""
    unclear = False
    for scope in scopes:
        try:
            async with outside.slots:
                if login := await login_by_id(outside.github, scope, account_id):
                    return login
        except (RetryAt, UnknownOutcome, Rejected) as error:
            log.warning("no login from GitHub", id=account_id, error=str(error))
            unclear = True
    return None if unclear else ""

"""What a person may do in a repository, as GitHub says it: kept for a minute, and where GitHub does
not say it, nothing.

A page of many repositories asks about all of them at once. What has not changed does not count
against the App's hourly limit; GitHub's secondary limit of 900 a minute counts each call. Where all
who look at lists need more than their share of it, lists are asked about less often.

Source: docs.github.com/rest/collaborators/collaborators, "Get repository permissions for a user";
docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api, "Use conditional
requests"; docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api, "About secondary
rate limits".
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Literal
from zlib import crc32

import structlog
from cachetools import LRUCache, TTLCache

from webhook.errors import Rejected, RelayError, RetryAt, UnknownOutcome
from webhook.github.authorization import Person
from webhook.github.repositories import NO_ACCESS, PERMISSIONS, Access, access_if_changed
from webhook.github.tokens import Scope
from webhook.store import repositories
from webhook.store.database import SyncPool
from webhook.store.repositories import KnownRepository
from webhook.timing import Clock
from webhook.web.auth.logins import Logins
from webhook.web.github_calls import GitHubCalls, Outside

log = structlog.get_logger()

Level = Literal["admin", "write", "read"]
KEPT = timedelta(minutes=1)
# Calls that lists may make, of one process: two serve by default, and what deploys needs some, too.
MOST_EACH_MINUTE = 400
# Answers that are kept, of one process.
_MOST_KEPT = 50_000
# How long the list of repositories is kept.
_LISTED = timedelta(seconds=10)
# Seconds that an operator waits, every few minutes, to be known by their login.
_LOGIN_WITHIN = 2.0
_MOST_INSTALLATIONS = 5
# After GitHub gave none, pages do not wait for it again at once.
_UNCLEAR_KEPT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Answer:
    access: Access
    etag: str
    at: datetime
    clear: bool = True


class PermissionCache:
    """Of one process. Each `person` is as they signed in."""

    def __init__(
        self,
        pool: SyncPool,
        calls: GitHubCalls,
        clock: Clock,
        most_each_minute: int = MOST_EACH_MINUTE,
    ) -> None:
        self._pool = pool
        self._calls = calls
        self._clock = clock
        self._most_each_minute = most_each_minute
        # By person: how long their longest list of the last minute is.
        self._needed: TTLCache[int, int, datetime] = TTLCache(_MOST_KEPT, KEPT, clock)
        self._logins = Logins(clock)
        # By the person, with the login by which GitHub was asked.
        self._answers: LRUCache[tuple[Person, int], _Answer] = LRUCache(_MOST_KEPT)
        self._listed: TTLCache[str, Mapping[int, KnownRepository], datetime] = TTLCache(
            1, _LISTED, clock
        )
        self._lock = Lock()
        self._silent_until = datetime.min.replace(tzinfo=UTC)

    def repositories(self) -> Mapping[int, KnownRepository]:
        """By ID: all to which a deployment was seen. Errors: psycopg's."""
        with self._lock:
            known = self._listed.get("")
        if known is None:
            with self._pool.connection() as connection:
                known = {one.repo_id: one for one in repositories.every(connection)}
            with self._lock:
                self._listed[""] = known
        return known

    def current(self, person: Person) -> Person:
        """With the login that is their account's now, as far as that is known."""
        return self._logins.current(person)

    def has_login(self, person: Person) -> bool:
        """Whether that login still is their account's. It is as long as GitHub says nothing else,
        which is asked every few minutes."""
        known = self.repositories().values()
        if known and self._logins.is_due(person):
            try:
                scopes = _scopes(known)
                self._calls.run(lambda o: self._logins.ask(o, scopes, person), _LOGIN_WITHIN)
            except UnknownOutcome as error:
                log.warning("no login from GitHub", error=str(error))
        return self.current(person).login.lower() == person.login.lower()

    def permission(self, person: Person, repo_id: int) -> str:
        """One of `PERMISSIONS`."""
        return self.permissions(person, [repo_id])[repo_id]

    def ask_of_any(self, person: Person, name: str) -> None:
        """Of one repository, always the same for that name."""
        known = sorted(self.repositories())
        if known:
            self.permission(person, known[crc32(name.casefold().encode()) % len(known)])

    def permissions(
        self, person: Person, repo_ids: Iterable[int], *, for_act: bool = False
    ) -> dict[int, str]:
        """`for_act`: something is done by them, so that none is older than a minute."""
        wanted = dict.fromkeys(repo_ids)
        known = self.repositories()
        kept_for = KEPT if for_act else self._kept_for(person, len(wanted))
        account = self.current(person)
        # What is new enough now is so below, too, however long GitHub takes with the others.
        now = self._clock()
        due = [
            known[repo_id]
            for repo_id in wanted
            if repo_id in known and not self._fresh(account, repo_id, kept_for, now)
        ]
        if due:
            self._ask(person, due)
            account = self.current(person)
        return {repo_id: self._permission(account, repo_id, kept_for, now) for repo_id in wanted}

    def forget(self) -> None:
        with self._lock:
            self._answers.clear()
            self._listed.clear()

    def _kept_for(self, person: Person, wanted: int) -> timedelta:
        """Of one repository always a minute."""
        if wanted <= 1:
            return KEPT
        with self._lock:
            if wanted >= self._needed.get(person.id, 0):
                self._needed[person.id] = wanted
            needed = sum(self._needed.get(one, 0) for one in self._needed)
        return KEPT * max(1.0, needed / self._most_each_minute)

    # Below, each `account` is a person with the login by which GitHub is asked.

    def _fresh(
        self, account: Person, repo_id: int, kept_for: timedelta, now: datetime
    ) -> _Answer | None:
        with self._lock:
            answer = self._answers.get((account, repo_id))
        if answer is None:
            return None
        lasts = kept_for if answer.clear else _UNCLEAR_KEPT
        return answer if now - answer.at < lasts else None

    def _permission(self, account: Person, repo_id: int, kept_for: timedelta, now: datetime) -> str:
        answer = self._fresh(account, repo_id, kept_for, now)
        if answer is None or not answer.clear:
            return NO_ACCESS.permission
        # A login that its account has given up may be another account's by now.
        same = answer.access.user_id == account.id
        return answer.access.permission if same else NO_ACCESS.permission

    def _ask(self, person: Person, due: list[KnownRepository]) -> None:
        async def ask(outside: Outside) -> None:
            await self._ask_each(outside, account, due)
            others = [one for one in due if self._is_of_another(account, one)]
            if others and await self._logins.ask(outside, _scopes(others), person):
                await self._ask_each(outside, self.current(person), others)

        account = self.current(person)
        if self._clock() < self._silent_until:
            self._keep_unclear(account, due)
            return
        try:
            self._calls.run(ask)
        except UnknownOutcome as error:
            log.warning("no permissions from GitHub", error=str(error))
            if not any(self._fresh(account, one.repo_id, KEPT, self._clock()) for one in due):
                # Of nothing at all: nobody else, and no open page, waits for it meanwhile.
                self._silent_until = self._clock() + _UNCLEAR_KEPT
            self._keep_unclear(self.current(person), due)

    def _keep_unclear(self, account: Person, due: list[KnownRepository]) -> None:
        """What GitHub has not said by now, so that the next page does not wait for it again."""
        for one in due:
            if self._fresh(account, one.repo_id, KEPT, self._clock()) is None:
                with self._lock:
                    self._answers[account, one.repo_id] = _unclear(self._clock())

    def is_unclear(self, person: Person) -> bool:
        """Whether GitHub has not said lately what the person may do in some repository."""
        since, account = self._clock() - KEPT, self.current(person)
        with self._lock:
            answers = (self._answers.get((account, one)) for one in self._listed.get("", ()))
            return any(one and not one.clear and one.at > since for one in answers)

    async def _ask_each(
        self, outside: Outside, account: Person, due: list[KnownRepository]
    ) -> None:
        await asyncio.gather(*(self._ask_one(outside, account, one) for one in due))

    def _is_of_another(self, account: Person, one: KnownRepository) -> bool:
        """What GitHub has just said of that login: it is nobody's, or another account's."""
        answer = self._fresh(account, one.repo_id, KEPT, self._clock())
        return answer is not None and answer.clear and answer.access.user_id != account.id

    async def _ask_one(self, outside: Outside, account: Person, one: KnownRepository) -> None:
        key = (account, one.repo_id)
        with self._lock:
            before = self._answers.get(key)
        known = (before.access, before.etag) if before and before.clear else (NO_ACCESS, "")
        scope = Scope(one.installation_id, one.name, one.repo_id)
        try:
            async with outside.slots:
                access, etag = await access_if_changed(outside.github, scope, account.login, known)
            answer = _Answer(access, etag, self._clock())
        except (RetryAt, UnknownOutcome, Rejected) as error:
            log.warning("no permission from GitHub", repo=one.name, error=str(error))
            answer = _Answer(NO_ACCESS, "", self._clock(), clear=_is_no(error))
        with self._lock:
            self._answers[key] = answer


def _scopes(known: Iterable[KnownRepository]) -> list[Scope]:
    """Of some installations that may be asked about a person, each once."""
    ids = dict.fromkeys(one.installation_id for one in known)
    return [Scope(one, "", 0) for one in list(ids)[:_MOST_INSTALLATIONS]]


def _unclear(at: datetime) -> _Answer:
    return _Answer(NO_ACCESS, "", at, clear=False)


def _is_no(error: RelayError) -> bool:
    """The App is not in that repository any more, for example."""
    return isinstance(error, Rejected) and error.certain


def includes(permission: str, needed: Level) -> bool:
    return PERMISSIONS.index(permission) <= PERMISSIONS.index(needed)

"""What may start, as the rules for people have it: written anew, from nothing of the product.

It knows what was done to it (locks, freezes, answers, ...), not what the relay recorded of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

DENIED = "denied"
Key = tuple[int, str]


@dataclass(frozen=True)
class Asked:
    """A deployment that somebody asked for. `by`: a person, "" for a bot."""

    id: int
    repo_id: int
    environment: str
    sha: str
    by: str

    @property
    def key(self) -> Key:
        return self.repo_id, self.environment.lower()


@dataclass(eq=False)
class Lock:
    """`repo_id` 0: of all. `environment`: a name in lower case, or * for all."""

    repo_id: int
    environment: str
    owner: str
    lets: tuple[str, ...]
    until: datetime | None

    @property
    def scope(self) -> Key:
        return self.repo_id, self.environment


@dataclass(frozen=True)
class Freeze:
    """Of all repositories. `begin` and `end`: whole minutes."""

    environment: str
    begin: datetime
    end: datetime
    lets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Review:
    """Of the environment `reviewed`."""

    reviewers: tuple[str, ...] = ("octocat", "ann", "bob")
    count: int = 1
    own: bool = False
    expires: timedelta | None = None


@dataclass(frozen=True)
class Answer:
    deployment: int
    by: str
    yes: bool
    review: Review
    at: datetime


@dataclass
class Model:
    """`unserialized`: environments in which several may run. `reviewed`: those with reviews."""

    unserialized: frozenset[str] = frozenset({"free"})
    reviewed: frozenset[str] = frozenset({"reviewed"})
    wait_limit: timedelta = timedelta(hours=6)
    review: Review = Review()
    asked: dict[int, Asked] = field(default_factory=dict)
    locks: list[Lock] = field(default_factory=list)
    freezes: list[Freeze] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    overrides: list[tuple[int, str, datetime]] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)
    succeeded: set[int] = field(default_factory=set)

    def blocked(self, one: Asked, now: datetime) -> set[str]:
        """By which gates, besides that of its turn; with `DENIED` if it is refused."""
        skipped = {gate for id_, gate, until in self.overrides if id_ == one.id and now < until}
        found: set[str] = set()
        if "lock" not in skipped and any(self._locked(one, now)):
            found.add("lock")
        if "freeze" not in skipped and any(self._frozen(one, now)):
            found.add("freeze")
        if one.environment.lower() in self.reviewed:
            # A rejection is no wait that somebody could skip.
            found |= self._unapproved(one, now) - (skipped & {"approval"})
        return found

    def repeats(self, one: Asked) -> bool:
        """Its commit succeeded there before."""
        earlier = (self.asked[id_] for id_ in self.succeeded if id_ < one.id)
        return any(it.key == one.key and it.sha == one.sha for it in earlier)

    def _locked(self, one: Asked, now: datetime) -> Iterator[bool]:
        for lock in self.locks:
            here = lock.repo_id in (0, one.repo_id) and lock.environment in ("*", one.key[1])
            lasts = lock.until is None or now < lock.until
            owner = "owner" in lock.lets and one.by == lock.owner
            yield here and lasts and not owner and not self._passes(one, lock.lets)

    def _frozen(self, one: Asked, now: datetime) -> Iterator[bool]:
        for freeze in self.freezes:
            here = freeze.environment == one.key[1]
            lasts = freeze.begin <= now < freeze.end
            yield here and lasts and not self._passes(one, freeze.lets)

    def _passes(self, one: Asked, lets: tuple[str, ...]) -> bool:
        return "rollbacks" in lets and self.repeats(one)

    def _unapproved(self, one: Asked, now: datetime) -> set[str]:
        review = self.review
        about = [it for it in self.answers if it.deployment == one.id]
        if any(not it.yes for it in about):
            return {DENIED}
        counted = {
            it.by
            for it in about
            if it.review == review
            and (review.expires is None or now < it.at + review.expires)
            and (review.own or it.by != one.by)
        }
        needed = review.count + (0 if review.own or one.by else 1)
        able = [it for it in review.reviewers if review.own or it != one.by]
        if len(counted) >= needed:
            return set()
        return {DENIED} if len(able) < needed else {"approval"}

"""Locks: a person stops deployments to an environment, to a repository, or all.

Source of the semantics: people who locked an environment and forgot it, or who locked out the very
fix; so that each lock has an owner, a reason and an end, and may let rollbacks through.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Literal, get_args

from handlers import durations
from webhook.deployments.blockers import moment
from webhook.text import length_error, one_line

Lets = Literal["owner", "rollbacks"]
LETS: tuple[Lets, ...] = get_args(Lets)
# Of a lock that is requested in chat without a duration.
DEFAULT_DURATION = timedelta(hours=24)
LONGEST_REASON = 500
EVERYTHING = "*"

_SHORTEST, _LONGEST = timedelta(minutes=1), timedelta(days=365)
# Of a list of several locks, so that all of them are seen.
_ROOM_FOR_REASON = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """`repo_id` 0: of all repositories. `environment`: a name or a pattern; `*` is all. `owner`: a
    GitHub login, or who was at the command line. `lets`: whose deployments pass it. `expires_at`:
    None for never."""

    id: int
    repo_id: int
    repo: str
    environment: str
    owner: str
    reason: str
    lets: tuple[Lets, ...]
    created_at: datetime
    expires_at: datetime | None


def covers(lock: Lock, repo_id: int, environment: str) -> bool:
    """Upper and lower case are alike, as in GitHub's environments."""
    name, pattern = environment.lower(), lock.environment.lower()
    return lock.repo_id in (0, repo_id) and (name == pattern or fnmatchcase(name, pattern))


def is_pattern(environment: str) -> bool:
    return not {*"*?["}.isdisjoint(environment)


def is_stop(lock: Lock) -> bool:
    """Of everything."""
    return scope_of(lock) == (0, EVERYTHING)


def scope_of(lock: Lock) -> tuple[int, str]:
    return lock.repo_id, lock.environment


def owned_by(lock: Lock, person: str) -> bool:
    return bool(person) and lock.owner.casefold() == person.casefold()


def scope_name(repo: str, environment: str) -> str:
    """`repo` "": of all repositories."""
    if not repo:
        return "everything" if environment == EVERYTHING else f"{environment} of all repositories"
    return f"all of {repo}" if environment == EVERYTHING else f"{environment} of {repo}"


def capitalized(sentence: str) -> str:
    """One that begins with the name of a scope; a proper name stays as it is."""
    ours = sentence.startswith(("everything", "all of "))
    return sentence[0].upper() + sentence[1:] if ours else sentence


def name_of(lock: Lock) -> str:
    return scope_name(lock.repo if lock.repo_id else "", lock.environment)


def unlock_command(lock: Lock, *, repo: str = "", explicit: bool = False) -> str:
    """By which it is ended. `repo`: its name now. `explicit`: by somebody else than its owner."""
    mark = "!" if explicit else ""
    if is_stop(lock):
        return f"/deploy go{mark}"
    environment = quoted(lock.environment)
    if not lock.repo_id:
        return f"unlock '*' {environment} at the relay's command line"
    return f"/deploy unlock{mark} {repo or lock.repo} {environment}"


def quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name


def end_of(lock: Lock, now: datetime) -> str:
    if lock.expires_at is None:
        return "no known end"
    return f"until {moment(lock.expires_at, now)}"


def describe(lock: Lock, now: datetime) -> str:
    """In a line: what, by whom, since when, until when, why, and whom it lets through."""
    by = f"by {lock.owner} since {moment(lock.created_at, now)}"
    lets = f"; lets {whom(lock)} through" if lock.lets else ""
    return f"{name_of(lock)}, locked {by} ({end_of(lock, now)}): {lock.reason}{lets}"


def whom(lock: Lock) -> str:
    """It lets these through."""
    names = {"owner": lock.owner, "rollbacks": "rollbacks"}
    return " and ".join(names[one] for one in lock.lets)


def short_reason(lock: Lock) -> str:
    return one_line(lock.reason, _ROOM_FOR_REASON)


def duration_of(text: str) -> timedelta:
    """30m, 2h, 1h30m, 3d. Errors: ValueError with the remedy."""
    shown = one_line(text, 40)
    try:
        parsed = durations.parse_with_days(text)
    except ValueError as error:
        raise ValueError(f"'{shown}' {error}") from None
    if not _SHORTEST <= parsed <= _LONGEST:
        raise ValueError(f"'{shown}' is out of bounds; a lock lasts 1m to 365d")
    return parsed


def reason_of(text: str) -> str:
    """On one line. Errors: ValueError with the remedy."""
    reason = one_line(text, len(text) + 1)
    if not reason:
        raise ValueError("A lock needs a reason: say why, for those who wait for its end")
    if error := length_error("reason", reason, LONGEST_REASON):
        raise ValueError(error)
    return reason

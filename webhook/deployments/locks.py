"""Locks: a person stops deployments to an environment, to a repository, or all.

Source of the semantics: people who locked an environment and forgot it, or who locked out the very
fix; so that each lock has an owner, a reason and an end, and may let rollbacks through.
"""

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal

Lets = Literal["owner", "rollbacks"]


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
    return lock.repo_id in (0, repo_id) and fnmatchcase(
        environment.lower(), lock.environment.lower()
    )

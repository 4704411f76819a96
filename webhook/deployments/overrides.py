"""Break-glass: gates that a person has skipped for one deployment."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """`gates`: their names. `login`: of the person on GitHub. It counts until `expires_at`."""

    gates: tuple[str, ...]
    login: str
    reason: str
    at: datetime
    expires_at: datetime

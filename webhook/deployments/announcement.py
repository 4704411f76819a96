"""Messages that are no deployment's own: of locks and freezes."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """`key`: by which the same is not announced twice. `text`: plain, a line or a few. `mentions`:
    GitHub logins of the people whom it concerns. `lock_id`: the lock that a button ends; 0: none.
    `at`: when it was made, by the store's clock; None before."""

    key: str
    text: str
    mentions: tuple[str, ...] = ()
    lock_id: int = 0
    at: datetime | None = None

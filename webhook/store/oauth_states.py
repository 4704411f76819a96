"""What begins or ends an installation in Slack, once: links of operators, and OAuth's states.

The words themselves are not kept, only their digests. Units: seconds.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

from psycopg.rows import class_row

from webhook.store.database import Sync

Purpose = Literal["link", "state"]


@dataclass(frozen=True, slots=True)
class Used:
    """`browser`: the digest of the cookie that belongs to it."""

    browser: bytes | None
    in_time: bool


def digest(word: str) -> bytes:
    # A word from outside may hold half of a character, which UTF-8 does not have.
    return hashlib.sha256(word.encode(errors="surrogatepass")).digest()


def keep(connection: Sync, purpose: Purpose, word: str, browser: str | None, seconds: int) -> None:
    """`browser`: the cookie that must come back with it. Those whose time is over are dropped."""
    connection.execute(
        "delete from oauth_states where digest in"
        " (select digest from oauth_states where expires_at <= now() for update skip locked)"
    )
    connection.execute(
        "insert into oauth_states (digest, purpose, browser, expires_at)"
        " values (%s, %s, %s, now() + %s * interval '1 second')",
        [digest(word), purpose, digest(browser) if browser else None, seconds],
    )


def is_kept(connection: Sync, purpose: Purpose, word: str) -> bool:
    """Whether it could be used now; it stays."""
    row = connection.execute(
        "select 1 from oauth_states where digest = %s and purpose = %s and expires_at > now()",
        [digest(word), purpose],
    ).fetchone()
    return row is not None


def use(connection: Sync, purpose: Purpose, word: str) -> Used | None:
    """Take it away: of all who come with the same word, at once or later, one gets it."""
    cursor = connection.cursor(row_factory=class_row(Used))
    cursor.execute(
        "delete from oauth_states where digest = %s and purpose = %s"
        " returning browser, expires_at > now() as in_time",
        [digest(word), purpose],
    )
    used = cursor.fetchone()
    return used if used and used.in_time else None

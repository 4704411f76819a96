"""Single-use values of an installation in Slack: operators' links, and OAuth's `state`.

Only digests of the values are stored. Units: seconds.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

from psycopg.rows import class_row

from webhook.store.database import Sync

Purpose = Literal["link", "state"]


@dataclass(frozen=True, slots=True)
class Consumed:
    """`browser`: the digest of the cookie that belongs to the value."""

    browser: bytes | None
    in_time: bool


def digest(value: str) -> bytes:
    # A value from outside may contain a lone surrogate, which UTF-8 cannot encode.
    return hashlib.sha256(value.encode(errors="surrogatepass")).digest()


def add(connection: Sync, purpose: Purpose, value: str, browser: str | None, seconds: int) -> None:
    """`browser`: the cookie that must come back with it. Expired values are deleted."""
    connection.execute(
        "delete from oauth_states where digest in"
        " (select digest from oauth_states where expires_at <= now() for update skip locked)"
    )
    connection.execute(
        "insert into oauth_states (digest, purpose, browser, expires_at)"
        " values (%s, %s, %s, now() + %s * interval '1 second')",
        [digest(value), purpose, digest(browser) if browser else None, seconds],
    )


def is_valid(connection: Sync, purpose: Purpose, value: str) -> bool:
    """Whether it could be consumed now."""
    row = connection.execute(
        "select 1 from oauth_states where digest = %s and purpose = %s and expires_at > now()",
        [digest(value), purpose],
    ).fetchone()
    return row is not None


def consume(connection: Sync, purpose: Purpose, value: str) -> Consumed | None:
    """Delete it: of all requests with the same value, one gets it. None if it is not valid."""
    cursor = connection.cursor(row_factory=class_row(Consumed))
    cursor.execute(
        "delete from oauth_states where digest = %s and purpose = %s"
        " returning browser, expires_at > now() as in_time",
        [digest(value), purpose],
    )
    used = cursor.fetchone()
    return used if used and used.in_time else None

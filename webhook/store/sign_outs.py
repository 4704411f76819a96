"""Until when sessions of a person are void: those that began before, in any browser.

All that is kept of sessions; a session itself stands in its cookie.
"""

from datetime import datetime

from webhook.store.database import Async, Sync

_END = (
    "insert into sign_outs (user_id, not_before) values (%s, %s) on conflict (user_id) do update"
    " set not_before = greatest(sign_outs.not_before, excluded.not_before)"
)


def end_sessions(connection: Sync, user_id: int, at: datetime) -> None:
    """`user_id`: of the account on GitHub."""
    connection.execute(_END, [user_id, at])


async def revoke_sessions(connection: Async, user_id: int, at: datetime) -> None:
    """The same, for what GitHub says."""
    await connection.execute(_END, [user_id, at])


def ended_at(connection: Sync, user_id: int) -> datetime | None:
    row = connection.execute(
        "select not_before from sign_outs where user_id = %s", [user_id]
    ).fetchone()
    return row["not_before"] if row else None

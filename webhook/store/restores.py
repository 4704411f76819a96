"""Restores from a backup: that there was one, and what is to be found out or held because of it.

The store is as it was at the backup. What happened since is known elsewhere only: to GitHub, to
tools, to people. So nothing that the relay had not finished then may simply go on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg.rows import class_row

from webhook.store.database import Async, Sync

# More than come between a backup and a restore: numbers of what came then are not given out again,
# as they name it on GitHub and in Slack.
_SKIPPED_NUMBERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Restore:
    """The newest one."""

    id: int
    restored_at: datetime
    backup_at: datetime

    def precedes(self, asked_at: datetime) -> bool:
        """Whether it had been done when that was asked for."""
        return asked_at >= self.restored_at

    @property
    def reason(self) -> str:
        backup = self.backup_at.astimezone(UTC)
        return f"The relay was restored from a backup of {backup:%Y-%m-%d %H:%M} UTC"


_NEWEST = "select id, restored_at, backup_at from restores order by id desc limit 1"


async def newest(connection: Async) -> Restore | None:
    cursor = connection.cursor(row_factory=class_row(Restore))
    await cursor.execute(_NEWEST)
    return await cursor.fetchone()


# What people had just requested is hours old. What it creates would come unexpectedly.
_END_ACTIONS = """
    update actions set outcome = 'failed', code = 'restored', reply = null,
        message = %(reason)s::text || ' before this was done; see whether it was, or ask again'
    where outcome = 'waiting'
        and not exists (select from automatic_deployments where action_id = actions.id)
"""
_SKIP_CREATIONS = """
    update outbox set state = 'skipped', claimed_until = null from actions
    where actions.id = action_id and actions.code = 'restored' and state in ('waiting', 'claimed')
"""
# An automatic deployment that had begun is searched by its action before it is created.
_ADD_CREATIONS = """
    insert into outbox (kind, action_id, deployment_id, purpose)
    select 'deployment', actions.id, actions.deployment_id, exclusive_group from actions
    join automatic_deployments on action_id = actions.id
    where outcome = 'waiting' and state = 'waiting' on conflict do nothing
"""
# What was said of a deployment in a thread cannot be found by what it covers: that may have grown.
_SKIP_REPLIES = """
    update outbox set state = 'skipped'
    where kind = 'message' and purpose = 'reply' and state in ('waiting', 'rejected')
"""
_COVER_NEWS = """
    insert into outbox (kind, deployment_id, destination, purpose, position, state)
    select 'message', subject, detail, 'reply', position, 'skipped' from schedule
    cross join lateral (select max(position) as position from timeline
        where deployment_id = subject) newest
    where task = 'notify' and position is not null on conflict do nothing
"""
_ADD_ANNOUNCEMENTS = """
    insert into outbox (kind, destination, purpose, position)
    select 'message', detail, 'announcement', subject from schedule where task = 'announce'
    on conflict do nothing
"""
# The rest may have been sent since: it is searched on the other side first.
_DOUBT = """
    update outbox set state = 'claimed', claimed_until = now(), lookups = 0,
        attempts = attempts + 1, first_claimed_at = coalesce(first_claimed_at, %(backup_at)s)
    where state = 'waiting'
"""
# Whoever worked with it is gone.
_END_CLAIMS = """
    update schedule set claimed_by = null, due_at = least(due_at, now())
    where claimed_by is not null
"""
_FORGET_WORKERS = "delete from workers"
_SKIP_NUMBERS = """
    select setval(seqrelid::regclass, coalesce(pg_sequence_last_value(seqrelid), 0) + %(skipped)s)
    from pg_sequence join pg_class on pg_class.oid = seqrelid
    where relnamespace = (select oid from pg_namespace where nspname = current_schema())
"""


_AUDIT = """
    insert into audit (actor, source, action, details) values (%(actor)s, 'command line', 'restore',
        jsonb_build_object('backup_at', %(backup_at)s::timestamptz))
"""


def record(connection: Sync, backup_at: datetime, actor: str) -> Restore:
    """In the restored store, before any process works with it; in the caller's transaction."""
    cursor = connection.cursor(row_factory=class_row(Restore))
    cursor.execute(
        "insert into restores (backup_at) values (%s) returning id, restored_at, backup_at",
        [backup_at],
    )
    restore = cursor.fetchone()
    assert restore is not None
    values = {
        "backup_at": backup_at,
        "actor": actor,
        "reason": restore.reason,
        "skipped": _SKIPPED_NUMBERS,
    }
    for statement in (
        _END_ACTIONS,
        _SKIP_CREATIONS,
        _ADD_CREATIONS,
        _SKIP_REPLIES,
        _COVER_NEWS,
        _ADD_ANNOUNCEMENTS,
        _DOUBT,
        _END_CLAIMS,
        _FORGET_WORKERS,
        _SKIP_NUMBERS,
        _AUDIT,
    ):
        connection.execute(statement, values)
    return restore


async def is_asked(connection: Async, restore_id: int, deployment_id: int) -> bool:
    """Whether GitHub has said what became of the deployment."""
    cursor = await connection.execute(
        "select 1 from restored_deployments where deployment_id = %s and restore_id = %s"
        " and asked_github_at is not null",
        [deployment_id, restore_id],
    )
    return await cursor.fetchone() is not None


async def asked(connection: Async, restore_id: int, deployment_id: int) -> None:
    await connection.execute(
        "insert into restored_deployments (deployment_id, restore_id, asked_github_at)"
        " values (%s, %s, now()) on conflict (deployment_id, restore_id)"
        " do update set asked_github_at = now()",
        [deployment_id, restore_id],
    )


# By the gate's name, not by what it would say: only what a gate holds can be released.
_HELD = (
    "waiting and started_at is null and exists (select from jsonb_array_elements(blockers) blocker"
    " where blocker->>'gate' = 'restore')"
)


async def held(connection: Async) -> list[int]:
    """Deployments that wait to be released, the newest first."""
    query = f"select id from deployments where {_HELD} order by id desc"
    return [row["id"] async for row in await connection.execute(query)]


async def release(connection: Async, restore_id: int, deployment_ids: Sequence[int]) -> list[int]:
    """Those of them that were held."""
    cursor = await connection.execute(
        "insert into restored_deployments (deployment_id, restore_id, released_at)"
        f" select id, %s, now() from deployments where id = any(%s) and {_HELD}"
        " order by id on conflict (deployment_id, restore_id) do update set released_at = now()"
        " returning deployment_id",
        [restore_id, list(deployment_ids)],
    )
    return [row["deployment_id"] async for row in cursor]

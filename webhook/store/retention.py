"""Delete what is over and was kept for long enough, a batch at a time.

Each batch begins after an id (`after`) and reads a bounded number of rows in the order of their
ids, which is that of their age; so none reads or locks much, however many rows there are. What
another transaction has locked is left for the next time: a batch waits for nobody who may wait for
it.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from webhook.store.database import Async

# Rows that a batch reads at most, or deployments, each of which has some twenty rows.
BATCH = 500
DEPLOYMENTS_AT_ONCE = 100
# Each is as long as LONGEST_CHUNK of webhook.store.output at most.
CHUNKS_AT_ONCE = 100
# So many deployments after one are searched for those that replace it.
SEARCHED_AFTER = 10

# Means nothing; the same in every worker.
_LOCK = 4_117_203


@dataclass(frozen=True, slots=True)
class Batch:
    """`after`: where the next one begins; None: nothing else is old enough."""

    deleted: int
    after: int | None


# Deletes a batch of what is older than that, from an id on.
Delete: TypeAlias = Callable[[Async, int, datetime], Awaitable[Batch]]


async def lock(connection: Async) -> bool:
    """Whether no other worker deletes now; true until the transaction ends, which may be lost in a
    crash: what it deleted is deleted again then."""
    cursor = await connection.execute(
        "select pg_try_advisory_xact_lock(%s) as mine,"
        " set_config('synchronous_commit', 'off', true)",
        [_LOCK],
    )
    row = await cursor.fetchone()
    return bool(row and row["mine"])


async def deliveries(connection: Async, after: int, before: datetime) -> Batch:
    """Those that were processed."""
    return await _by_id(
        connection,
        "with oldest as (select id, received_at as at, outcome from deliveries"
        " where id > %(after)s order by id limit %(limit)s),"
        " deleted as (delete from deliveries where id = any(array(select id from deliveries"
        " where id = any(array(select id from oldest where at < %(before)s"
        " and outcome is not null)) for update skip locked)) returning 1)",
        after,
        before,
    )


async def delivery_requests(connection: Async, after: int, before: datetime) -> Batch:
    """Those that are over."""
    return await _by_id(
        connection,
        "with oldest as (select id, at, ended_at from delivery_requests where id > %(after)s"
        " order by id limit %(limit)s),"
        " deleted as (delete from delivery_requests where id = any(array("
        "select id from oldest where at < %(before)s and ended_at is not null)) returning 1)",
        after,
        before,
    )


async def commands(connection: Async, after: int, before: datetime) -> Batch:
    """Actions of no deployment, unless they created one that is still there, whose requester they
    name."""
    return await _by_id(
        connection,
        "with oldest as (select id, at from actions where id > %(after)s"
        " order by id limit %(limit)s),"
        " deleted as (delete from actions where id = any(array("
        "select id from oldest where at < %(before)s)) and deployment_id is null"
        " and not exists (select from deployments where id = created_deployment_id)"
        " and not exists (select from outbox where action_id = actions.id"
        " and state in ('waiting', 'claimed')) returning 1)",
        after,
        before,
    )


async def automatic_deployments(connection: Async, after: int, before: datetime) -> Batch:
    """Those that have ended."""
    return await _by_id(
        connection,
        "with oldest as (select id, at, state from automatic_deployments where id > %(after)s"
        " order by id limit %(limit)s),"
        " deleted as (delete from automatic_deployments where id = any(array("
        "select id from oldest where at < %(before)s and state <> 'waiting')) returning 1)",
        after,
        before,
    )


async def announcements(connection: Async, after: int, before: datetime) -> Batch:
    """With what the outbox knows of their messages."""
    return await _by_id(
        connection,
        "with oldest as (select id, at from announcements where id > %(after)s"
        " order by id limit %(limit)s),"
        " deleted as (delete from announcements where id = any(array("
        "select id from oldest where at < %(before)s)) returning id),"
        " messages as (delete from outbox where purpose = 'announcement'"
        " and position = any(array(select id from deleted)) returning 1)",
        after,
        before,
    )


async def file_checks(connection: Async, after: int, before: datetime) -> Batch:
    """With what the outbox knows of their check runs."""
    return await _by_id(
        connection,
        "with oldest as (select id, at from file_checks where id > %(after)s"
        " order by id limit %(limit)s),"
        " deleted as (delete from file_checks where id = any(array("
        "select id from oldest where at < %(before)s)) returning id),"
        " written as (delete from outbox where kind = 'check_run'"
        " and position = any(array(select id from deleted)) returning 1)",
        after,
        before,
    )


async def tool_events(connection: Async, after: int, before: datetime) -> Batch:
    # The time once more: one may just have been replaced by a newer one.
    cursor = await connection.execute(
        "delete from tool_events where ctid = any(array(select ctid from tool_events"
        " where received_at < %(before)s order by received_at limit %(limit)s))"
        " and received_at < %(before)s",
        {"before": before, "limit": BATCH},
    )
    return Batch(cursor.rowcount, after if cursor.rowcount == BATCH else None)


async def missed_deliveries(connection: Async, after: int, before: datetime) -> Batch:
    """Those that were recovered or given up."""
    cursor = await connection.execute(
        "delete from missed_deliveries where guid = any(array(select guid from missed_deliveries"
        " where found_at < %(before)s order by found_at limit %(limit)s)) and state <> 'missing'",
        {"before": before, "limit": BATCH},
    )
    return Batch(cursor.rowcount, after if cursor.rowcount == BATCH else None)


async def facts(connection: Async, after: int, before: datetime) -> Batch:
    """What counts of deployments; it outlives them."""
    cursor = await connection.execute(
        "delete from deployment_facts where deployment_id = any(array("
        "select deployment_id from deployment_facts where ended_at < %(before)s"
        " order by ended_at limit %(limit)s))",
        {"before": before, "limit": BATCH},
    )
    return Batch(cursor.rowcount, after if cursor.rowcount == BATCH else None)


async def rate_limits(connection: Async, after: int, before: datetime) -> Batch:
    """With their slots, which are long over; there is one for each channel."""
    cursor = await connection.execute(
        "delete from rate_limits where name = any(array(select name from rate_limits"
        " where next_at < %(before)s and held_until < %(before)s limit %(limit)s))",
        {"before": before, "limit": BATCH},
    )
    return Batch(cursor.rowcount, after if cursor.rowcount == BATCH else None)


async def machines(connection: Async, after: int, before: datetime) -> Batch:
    """One that is not known counts as gone, as one that is silent for much less. By the store's
    clock, too: a worker whose own is wrong must not take a machine for gone."""
    cursor = await connection.execute(
        "delete from machines where seen_at < least(%s, now() - interval '1 day')", [before]
    )
    return Batch(cursor.rowcount, None)


async def configs(connection: Async, after: int, before: datetime) -> Batch:
    """Of what is in use, only when it was in use last is kept up to date."""
    cursor = await connection.execute(
        "with used as (select config_digest from workers"
        " union select config_digest from deployments where followed),"
        " still as (update configs set used_at = now()"
        " where digest in (select config_digest from used))"
        " delete from configs where used_at < %s"
        " and digest not in (select config_digest from used)",
        [before],
    )
    return Batch(cursor.rowcount, None)


_RUN_IS_OVER = "(run is null or run->>'state' not in ('queued', 'in_progress'))"

# The recursion skips from one deployment to the next, however many chunks it has.
_OUTPUT = f"""
with recursive stored as (
    (select deployment_id from output where deployment_id > %(after)s
        order by deployment_id limit 1)
    union all
    select (select deployment_id from output where deployment_id > stored.deployment_id
        order by deployment_id limit 1)
    from stored where deployment_id is not null
), oldest as (
    select id, created_at as at, ended_at < %(before)s and {_RUN_IS_OVER} as over
    from (select deployment_id from stored where deployment_id is not null limit %(deployments)s)
    stored join deployments on id = deployment_id
), deleted as (
    delete from output where ctid = any(array(
        select ctid from output where deployment_id = any(array(select id from oldest where over))
        order by deployment_id, at_byte limit %(limit)s)) returning 1
)
select (select count(*) from deleted) as deleted,
    (select max(id) from oldest where at < %(before)s) as after
"""


async def output(connection: Async, after: int, before: datetime) -> Batch:
    """Of runs that have ended."""
    limits = {"deployments": DEPLOYMENTS_AT_ONCE, "limit": CHUNKS_AT_ONCE}
    batch = await _batch(connection, _OUTPUT, {"after": after, "before": before, **limits})
    return Batch(batch.deleted, after) if batch.deleted == CHUNKS_AT_ONCE else batch


# What was waiting to be sent is still tried, and an action may be under way; a deployment that was
# created by one has its requester and the name of its ref from there.
_UNUSED = """
    not exists (select from outbox where deployment_id = it.id and state in ('waiting', 'claimed'))
    and not exists (select from timeline where deployment_id = it.id and not judged)
    and not exists (select from actions where deployment_id = it.id and (at >= %(before)s
        or exists (select from deployments where id = created_deployment_id)))
"""
# Of each environment there stay, of what is old: the newest that was requested, and the newest
# successes of two commits: what a change is compared with, and what a rollback returns to. A
# transient environment does not exist any more; nothing of it is needed.
_REPLACED = f"""
    it.transient or exists (
        select from (
            select bool_or(ended_at is not null and requested_at is not null) as ended,
                bool_or(success and sha = it.sha) as repeated,
                count(distinct sha) filter (where success) as commits
            from (
                select sha, phase_at, ended_at, requested_at,
                    phase in ('success', 'inactive') as success
                from deployments newer where newer.repo_id = it.repo_id
                    and lower(newer.environment) = lower(it.environment) and newer.id > it.id
                order by newer.id limit {SEARCHED_AFTER}
            ) newer where phase_at < %(before)s
        ) newer
        where (ended or it.requested_at is null)
            and (it.phase not in ('success', 'inactive') or repeated or commits > 1)
    )
"""
_DEPLOYMENTS = f"""
with oldest as (
    select id, repo_id, environment, sha, phase, transient, requested_at, created_at,
        phase_at < %(before)s and {_RUN_IS_OVER}
            and (ended_at is not null or not gated or requested_at is null) as over
    from deployments where id > %(after)s order by id limit %(limit)s
)
select array(select id from oldest it where over and ({_UNUSED}) and ({_REPLACED})) as found,
    (select max(id) from oldest where created_at < %(before)s) as after
"""


async def deployments(connection: Async, after: int, before: datetime) -> Batch:
    """With all that belongs to them: timeline, outbox, output, actions, their commits' files."""
    values: dict[str, Any] = {"after": after, "before": before, "limit": DEPLOYMENTS_AT_ONCE}
    cursor = await connection.execute(_DEPLOYMENTS, values)
    row = await cursor.fetchone()
    assert row is not None
    if not row["found"]:
        return Batch(0, row["after"])
    # Locked before it is decided: an action may just have been requested.
    locked = await connection.execute(
        "select id from deployments where id = any(%s) order by id for update skip locked",
        [row["found"]],
    )
    found = [one["id"] async for one in locked]
    cursor = await connection.execute(
        f"delete from deployments it where id = any(%(found)s) and {_UNUSED}"
        " returning repo_id, sha",
        {"found": found, "before": before},
    )
    gone = {(one["repo_id"], one["sha"]) async for one in cursor}
    await connection.execute(
        "delete from repository_files it using unnest(%s::bigint[], %s::text[]) gone (repo_id, sha)"
        " where it.repo_id = gone.repo_id and it.ref = gone.sha and not exists"
        " (select from deployments where repo_id = gone.repo_id and sha = gone.sha)",
        [[repo_id for repo_id, _ in gone], [sha for _, sha in gone]],
    )
    return Batch(cursor.rowcount, row["after"])


async def are_over(connection: Async, deployment_ids: Collection[int]) -> dict[int, bool]:
    """Whether the deployment and its run are over, of each that is known."""
    cursor = await connection.execute(
        f"select id, ended_at is not null and {_RUN_IS_OVER} as over from deployments"
        " where id = any(%s)",
        [list(deployment_ids)],
    )
    return {row["id"]: row["over"] async for row in cursor}


async def _by_id(connection: Async, deleting: str, after: int, before: datetime) -> Batch:
    query = (
        f"{deleting} select (select count(*) from deleted) as deleted,"
        " (select max(id) from oldest where at < %(before)s) as after"
    )
    return await _batch(connection, query, {"after": after, "before": before, "limit": BATCH})


async def _batch(connection: Async, query: str, values: dict[str, Any]) -> Batch:
    cursor = await connection.execute(query, values)
    row = await cursor.fetchone()
    assert row is not None
    return Batch(row["deleted"], row["after"])

"""How far the deployments of each repository on GitHub were compared with those that the store
knows, and deliveries that nobody sent."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from webhook.store import schedule
from webhook.store.database import Async
from webhook.store.schedule import Key

LIST_DEPLOYMENTS = Key("list_deployments", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedUntil:
    """Of a repository. `since`: older deployments are not the relay's. `listed_until`: by GitHub's
    clock; `listed_at`: by the worker's. `etag`: of the newest page, "" where it was not over."""

    repo_id: int
    since: datetime
    listed_until: datetime
    etag: str
    listed_at: datetime


async def read(connection: Async, repo_ids: Collection[int]) -> dict[int, ListedUntil]:
    cursor = connection.cursor(row_factory=class_row(ListedUntil))
    await cursor.execute(
        "select repo_id, since, listed_until, etag, listed_at from listed_repositories"
        " where repo_id = any(%s)",
        [list(repo_ids)],
    )
    return {one.repo_id: one async for one in cursor}


async def keep(connection: Async, listed: ListedUntil) -> None:
    await connection.execute(
        "insert into listed_repositories (repo_id, since, listed_until, etag, listed_at)"
        " values (%s, %s, %s, %s, %s) on conflict (repo_id) do update set since = excluded.since,"
        " listed_until = excluded.listed_until, etag = excluded.etag,"
        " listed_at = excluded.listed_at",
        [listed.repo_id, listed.since, listed.listed_until, listed.etag, listed.listed_at],
    )


async def has_deployments(connection: Async, repo_id: int) -> bool:
    """The relay knew the repository before."""
    cursor = await connection.execute(
        "select 1 from deployments where repo_id = %s limit 1", [repo_id]
    )
    return await cursor.fetchone() is not None


async def known(connection: Async, deployment_ids: Collection[int]) -> set[int]:
    """Those of which there is something: a status, or a delivery, whatever became of that."""
    cursor = await connection.execute(
        "select asked.id from unnest(%s::bigint[]) as asked (id)"
        " where exists (select from deployments where deployments.id = asked.id)"
        " or exists (select from deliveries where deliveries.deployment_id = asked.id)",
        [list(deployment_ids)],
    )
    return {row["id"] async for row in cursor}


async def deliver(connection: Async, deployment_id: int, body: bytes) -> bool:
    """As if GitHub had sent its event, once; `body` is compressed. False: it was done before."""
    cursor = await connection.execute(
        "insert into deliveries (hook_id, guid, event, body, way)"
        " values (0, %s, 'deployment', %s, 'listed') on conflict (hook_id, guid) do nothing"
        " returning id",
        [f"listed-{deployment_id}", body],
    )
    inserted = await cursor.fetchone()
    if inserted is not None:
        await schedule.request(connection, [Key("receive", inserted["id"])])
    return inserted is not None

"""The names of repositories: a rename changes the name, and another repository may take it later.

Each of GitHub's events has the name of its own time. The newest one known is that of the
repository's rows, except for what is under way: that goes on by the environment of its beginning.
Links and the addresses of reports are valid with any name that the repository has had.
"""

from collections.abc import Collection
from datetime import datetime

from webhook.deployments.models import Repository
from webhook.store.database import Async, Sync

# GitHub's times are whole seconds; of the same one, what came later is newer.
_SEEN = (
    "select full_name, html_url from repository_names where repo_id = %s"
    " order by seen_at desc, recorded_at desc"
)
NEWEST = f"{_SEEN} limit 1"


async def current(connection: Async, repository: Repository, at: datetime) -> Repository:
    """Record the name that the repository had then; returns it with the newest name."""
    newest = await _newest(connection, repository.id)
    if newest == repository:
        return newest
    # Most events come in order and change nothing, so they write nothing.
    await connection.execute(
        "insert into repository_names (repo_id, full_name, html_url, seen_at)"
        " values (%s, %s, %s, %s) on conflict (repo_id, full_name) do update"
        " set html_url = excluded.html_url, seen_at = excluded.seen_at,"
        " recorded_at = clock_timestamp()"
        " where repository_names.seen_at <= excluded.seen_at",
        [repository.id, repository.full_name, repository.html_url, at],
    )
    before, newest = newest, await _newest(connection, repository.id) or repository
    if newest != before:
        await rename(connection, newest)
    return newest


async def known(connection: Async, repository: Repository, at: datetime) -> Repository:
    """As `current` would return it; nothing is recorded."""
    cursor = await connection.execute(
        "select full_name, html_url from repository_names where repo_id = %s and seen_at > %s"
        " order by seen_at desc, recorded_at desc limit 1",
        [repository.id, at],
    )
    values = await cursor.fetchone()
    return Repository(repository.id, **values) if values else repository


async def rename(connection: Async, repository: Repository, deployment_id: int = 0) -> None:
    """Its deployments, but for those that are under way: the newest, and that one. All others have
    the name of their time, with which their links are valid too."""
    await connection.execute(
        "update deployments set repo = %(name)s, repo_url = %(url)s where id = any(array("
        "select id from deployments where repo_id = %(id)s order by id desc limit 200)"
        " || %(also)s::bigint) and repo_id = %(id)s"
        " and repo <> %(name)s and (ended_at is not null or requested_at is null)",
        {
            "name": repository.full_name,
            "url": repository.html_url,
            "id": repository.id,
            "also": deployment_id,
        },
    )


async def _newest(connection: Async, repo_id: int) -> Repository | None:
    cursor = await connection.execute(NEWEST, [repo_id])
    values = await cursor.fetchone()
    return Repository(repo_id, values["full_name"], values["html_url"]) if values else None


async def names_of(connection: Async, repo_ids: Collection[int]) -> dict[int, str]:
    """The newest name of each that is known."""
    cursor = await connection.execute(
        "select distinct on (repo_id) repo_id, full_name from repository_names"
        " where repo_id = any(%s) order by repo_id, seen_at desc, recorded_at desc",
        [list(repo_ids)],
    )
    return {row["repo_id"]: row["full_name"] async for row in cursor}


def had_name(connection: Sync, repo_id: int, name: str) -> bool:
    """Whether that is, or was, its name."""
    known = connection.execute(_SEEN, [repo_id]).fetchall()
    return name.casefold() in {values["full_name"].casefold() for values in known}


async def id_of(connection: Async, name: str) -> int:
    """Of the only one whose newest name that is; 0 where nobody knows."""
    cursor = await connection.execute(
        "select distinct repo_id from repository_names one where lower(full_name) = lower(%s)"
        " and not exists (select from repository_names newer where newer.repo_id = one.repo_id"
        " and (newer.seen_at, newer.recorded_at) > (one.seen_at, one.recorded_at))",
        [name],
    )
    rows = await cursor.fetchall()
    return int(rows[0]["repo_id"]) if len(rows) == 1 else 0

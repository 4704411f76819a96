"""The names of repositories: a rename changes the name, and another repository may take it later.

Each of GitHub's events has the name of its own time. The newest one known is that of all of the
repository's rows; links and the addresses of reports with earlier names remain valid.
"""

from datetime import datetime

from webhook.deployments.models import Repository
from webhook.store.database import Async, Sync

# GitHub's times are whole seconds; of the same one, what came later is newer.
_SEEN = (
    "select full_name, html_url from repository_names where repo_id = %s"
    " order by seen_at desc, recorded_at desc"
)


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
        await connection.execute(
            "update deployments set repo = %s, repo_url = %s where repo_id = %s",
            [newest.full_name, newest.html_url, repository.id],
        )
    return newest


async def _newest(connection: Async, repo_id: int) -> Repository | None:
    cursor = await connection.execute(f"{_SEEN} limit 1", [repo_id])
    values = await cursor.fetchone()
    return Repository(repo_id, values["full_name"], values["html_url"]) if values else None


def had_name(connection: Sync, repo_id: int, name: str) -> bool:
    """Whether that is, or was, its name."""
    known = connection.execute(_SEEN, [repo_id]).fetchall()
    return name.casefold() in {values["full_name"].casefold() for values in known}

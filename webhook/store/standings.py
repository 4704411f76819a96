"""Where the environments of a repository stand: the newest deployment of each."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from webhook.store.database import Async


@dataclass(frozen=True, slots=True)
class Standing:
    """`phase` is one of `Phase`; `changed_at`: since when."""

    deployment_id: int
    repo: str
    environment: str
    phase: str
    ref: str
    sha: str
    changed_at: datetime


async def of_repository(connection: Async, repo: str, limit: int) -> list[Standing]:
    """Those of the environments that were deployed to last."""
    cursor = connection.cursor(row_factory=class_row(Standing))
    await cursor.execute(
        "select * from (select distinct on (lower(environment)) id as deployment_id, repo,"
        " environment, phase, ref, sha, phase_at as changed_at from deployments"
        " where lower(repo) = lower(%s) order by lower(environment), id desc) newest"
        " order by deployment_id desc limit %s",
        [repo, limit],
    )
    return await cursor.fetchall()

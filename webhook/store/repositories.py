"""The repositories to which the relay has seen a deployment."""

from dataclasses import dataclass

from psycopg.rows import class_row

from webhook.store.database import Sync


@dataclass(frozen=True, slots=True)
class KnownRepository:
    """`name`: the newest. `installation_id`: of its newest deployment."""

    repo_id: int
    name: str
    installation_id: int


# Skips from each repository to the next, however many deployments it has.
_EVERY = """
with recursive newest as (
    (select repo_id, installation_id, repo from deployments order by repo_id, id desc limit 1)
    union all
    select next.* from newest cross join lateral (
        select repo_id, installation_id, repo from deployments
        where repo_id > newest.repo_id order by repo_id, id desc limit 1) next
)
select repo_id, coalesce(named.full_name, repo) as name, installation_id
from newest left join lateral (
    select full_name from repository_names where repo_id = newest.repo_id
    order by seen_at desc, recorded_at desc limit 1) named on true
"""


def every(connection: Sync) -> list[KnownRepository]:
    cursor = connection.cursor(row_factory=class_row(KnownRepository))
    return cursor.execute(_EVERY).fetchall()

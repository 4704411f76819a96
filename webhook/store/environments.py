"""The newest deployment of each environment of a repository."""

from dataclasses import dataclass
from datetime import datetime

from webhook.deployments.phases import Phase
from webhook.store import timeline
from webhook.store.database import Async


@dataclass(frozen=True, slots=True)
class CurrentDeployment:
    """`started`: its tool was started; `held`: it waits for a person; `changed_at`: since when it
    has its phase."""

    deployment_id: int
    repo: str
    environment: str
    phase: Phase
    started: bool
    held: bool
    ref: str
    sha: str
    changed_at: datetime


async def of_repository(connection: Async, repo: str, limit: int) -> list[CurrentDeployment]:
    """Of the environments that were deployed to most recently."""
    cursor = await connection.execute(
        "select * from (select distinct on (lower(environment)) id as deployment_id, repo,"
        " environment, phase, run is not null as started, ref, sha, phase_at as changed_at"
        " from deployments"
        " where lower(repo) = lower(%s) order by lower(environment), id desc) newest"
        " order by deployment_id desc limit %s",
        [repo, limit],
    )
    rows = await cursor.fetchall()
    return [
        CurrentDeployment(
            **{
                **row,
                "phase": Phase(row["phase"]),
                "held": not Phase(row["phase"]).final
                and await timeline.is_held(connection, row["deployment_id"]),
            }
        )
        for row in rows
    ]

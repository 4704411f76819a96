"""Environments: those that were deployed to, and what is newest in each."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from webhook.deployments.blockers import Blocker
from webhook.deployments.phases import Phase
from webhook.store import timeline
from webhook.store.database import Async
from webhook.store.deployments import REF_NAME

# The newest deployments of all, and of one repository.
_TO = "select repo_id, repo, installation_id, environment, requested_at from deployments"
_NEWEST = f"{_TO} order by id desc limit 250"
_NEWEST_OF_ONE = f"{_TO} where repo_id = %s order by id desc limit 100"


@dataclass(frozen=True, slots=True)
class DeployedTo:
    """`repo`: its name at the newest deployment."""

    repo_id: int
    repo: str
    installation_id: int
    environment: str


async def lately_deployed_to(
    connection: Async, repo_id: int, now: datetime, during: timedelta
) -> list[DeployedTo]:
    """Environments, those with the newest deployments first. `repo_id` 0: of all repositories."""
    cursor = await connection.execute(
        _NEWEST_OF_ONE if repo_id else _NEWEST, [repo_id] if repo_id else []
    )
    found: dict[tuple[int, str], DeployedTo] = {}
    async for values in cursor:
        at = values.pop("requested_at")
        one = DeployedTo(**values)
        if at is not None and at > now - during:
            found.setdefault((one.repo_id, one.environment.lower()), one)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class CurrentDeployment:
    """`started`: its tool was started; `held`: it waits for a person; `changed_at`: since when it
    has its phase; `blockers`: what keeps it from starting now."""

    deployment_id: int
    repo: str
    environment: str
    phase: Phase
    started: bool
    held: bool
    ref: str
    sha: str
    changed_at: datetime
    ref_name: str
    blockers: tuple[Blocker, ...]

    @property
    def shown_ref(self) -> str:
        return self.ref_name or self.ref


class EnvironmentKey(NamedTuple):
    repo_id: int
    environment: str


ENVIRONMENTS_AT_ONCE = 150
# Skips from each environment to the next, and reads its newest deployment.
_ENVIRONMENTS_AFTER = f"""
with recursive newest as (
    (select id, repo_id, lower(environment) as name, 1 as number from deployments
        where (repo_id, lower(environment)) > (%(repo_id)s, %(environment)s)
        order by repo_id, lower(environment), id desc limit 1)
    union all
    select next.*, number + 1 from newest cross join lateral (
        select id, repo_id, lower(environment) from deployments
        where (repo_id, lower(environment)) > (newest.repo_id, newest.name)
        order by repo_id, lower(environment), id desc limit 1) next
    where number < {ENVIRONMENTS_AT_ONCE}
)
select newest.repo_id, name, repo, environment, created_at >= %(since)s as lately
from newest join deployments using (id) order by number
"""


async def deployed_since(
    connection: Async, since: datetime, after: EnvironmentKey
) -> tuple[list[tuple[str, str]], EnvironmentKey | None]:
    """Repositories and environments that were deployed to since then, of those that come after that
    one; and where the rest begins."""
    values = {"repo_id": after.repo_id, "environment": after.environment, "since": since}
    cursor = await connection.execute(_ENVIRONMENTS_AFTER, values)
    rows = await cursor.fetchall()
    found = [(row["repo"], row["environment"]) for row in rows if row["lately"]]
    more = len(rows) == ENVIRONMENTS_AT_ONCE
    return found, EnvironmentKey(rows[-1]["repo_id"], rows[-1]["name"]) if more else None


# Skips from each environment to the next, however many deployments it has.
_NEWEST_OF_REPOSITORY = f"""
with recursive newest as (
    (select id, lower(environment) as name from deployments where repo_id = %(repo)s
        order by lower(environment), id desc limit 1)
    union all
    select next.id, next.name from newest cross join lateral (
        select id, lower(environment) as name from deployments
        where repo_id = %(repo)s and lower(environment) > newest.name
        order by lower(environment), id desc limit 1) next
)
select id as deployment_id, repo, environment, phase, run is not null as started, ref, sha,
    phase_at as changed_at, case when waiting then blockers else '[]' end as blockers,
    {REF_NAME}
from deployments where id = any(array(select id from newest order by id desc limit %(limit)s))
order by id desc
"""


async def newest_of_repository(
    connection: Async, repo_id: int, limit: int
) -> list[CurrentDeployment]:
    """The newest of each environment, of the environments that were deployed to most recently."""
    cursor = await connection.execute(_NEWEST_OF_REPOSITORY, {"repo": repo_id, "limit": limit})
    rows = await cursor.fetchall()
    return [
        CurrentDeployment(
            **{
                **row,
                "phase": Phase(row["phase"]),
                "blockers": tuple(Blocker.from_json(one) for one in row["blockers"]),
                "held": not Phase(row["phase"]).final
                and await timeline.is_held(connection, row["deployment_id"]),
            }
        )
        for row in rows
    ]

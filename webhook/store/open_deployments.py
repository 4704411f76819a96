"""The deployments that are open: those that wait for their gates, and those that are followed."""

from webhook.store.database import Async


async def waiting_in(connection: Async, repo_id: int, environment: str) -> list[int]:
    """Those that wait for their gates there, the newest first."""
    cursor = await connection.execute(
        "select id from deployments where repo_id = %s and lower(environment) = lower(%s)"
        " and waiting order by id desc",
        [repo_id, environment],
    )
    return [values["id"] async for values in cursor]


async def waiting_of(connection: Async, repo_id: int) -> list[int]:
    """Those of a repository that wait for their gates, the newest first."""
    query = "select id from deployments where repo_id = %s and waiting order by id desc"
    return [values["id"] async for values in await connection.execute(query, [repo_id])]


async def all_waiting(connection: Async) -> list[int]:
    """Those that wait for their gates, the newest first."""
    query = "select id from deployments where waiting order by id desc"
    return [values["id"] async for values in await connection.execute(query)]


async def followed(
    connection: Async, repo_id: int, handler: str, *, sha: str, run_id: str, title: str
) -> dict[int, bool]:
    """Deployments of that handler to which this run belongs, or may belong, and whose run has not
    ended, each with whether it waits for a person. `sha` and `title` are empty where they say
    nothing."""
    cursor = await connection.execute(
        "select id, coalesce((run->>'held')::boolean, false) as held from deployments"
        " where repo_id = %s and handler = %s"
        " and followed"
        " and (sha = %s or %s = any(string_to_array(run->>'id', ' '))"
        " or position(id::text in %s) > 0)",
        [repo_id, handler, sha, run_id, title],
    )
    return {values["id"]: values["held"] async for values in cursor}


async def of_installation(connection: Async, installation_id: int, account: str) -> list[int]:
    """Those that are to be followed, of the installation or of its account."""
    cursor = await connection.execute(
        "select id from deployments where requested_at is not null and ended_at is null"
        " and gated"
        " and (installation_id = %s or lower(split_part(repo, '/', 1)) = lower(%s))",
        [installation_id, account],
    )
    return [values["id"] async for values in cursor]


async def unscheduled(connection: Async) -> list[int]:
    """Open deployments that nobody advances (which should not happen)."""
    cursor = await connection.execute(
        # A look-up for each open one: as `not exists`, all that is scheduled may be read.
        "select id from deployments where requested_at < now() - interval '1 minute'"
        " and ended_at is null and gated and (select 1 from schedule"
        " where task = 'advance' and subject = deployments.id limit 1) is null"
    )
    return [values["id"] async for values in cursor]

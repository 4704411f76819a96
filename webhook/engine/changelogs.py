"""The changelog of a deployment: kept, known of another deployment, or from GitHub by one call."""

import asyncio

import structlog

from webhook.deployments.changelog import Changelog
from webhook.engine.services import Services, scope
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.github.compare import compare
from webhook.store import deployments
from webhook.store.deployments import DeploymentRow

log = structlog.get_logger()


async def changelog_of(
    services: Services, row: DeploymentRow, last: DeploymentRow | None
) -> Changelog | None:
    """Its commits since `last`. A message does not wait for it for long, and messages to several
    destinations share one call."""
    if last is None or last.sha == row.sha:
        return None
    if row.changelog and row.changelog["since"] == last.sha:
        return Changelog.from_json(row.changelog) if "total" in row.changelog else None
    comparisons = services.comparisons
    key = row.repo_id, last.sha, row.sha
    if row.repo_id in comparisons.failed or key in comparisons.unknown:
        return None
    running = comparisons.running.get(key)
    if running is None:
        if comparisons.slots.locked():
            return None
        running = asyncio.create_task(_find(services, row, last.sha))
        comparisons.running[key] = running
        running.add_done_callback(lambda _: comparisons.running.pop(key, None))
    done, _ = await asyncio.wait({running}, timeout=services.timing.details_within.total_seconds())
    if not done:
        log.warning("no changelog from GitHub in time")
        comparisons.failed[row.repo_id] = True
        return None
    return running.result()


async def _find(services: Services, row: DeploymentRow, since: str) -> Changelog | None:
    async with services.pool.connection() as connection:
        found = await deployments.known_changelog(connection, row.repo_id, since, row.sha)
    if found is None:
        try:
            async with services.comparisons.slots:
                found = await compare(services.github, scope(row), since, row.sha)
        except (RetryAt, UnknownOutcome) as error:
            log.warning("no changelog from GitHub now", error=str(error))
            services.comparisons.failed[row.repo_id] = True
            return None
        except Rejected as error:
            log.info("no changelog from GitHub", error=str(error))
    known_everywhere_at = row.created_at + services.timing.rejection_counts_after
    if found is None and services.clock() < known_everywhere_at:
        # GitHub may know the commit, but not everywhere yet.
        services.comparisons.unknown[row.repo_id, since, row.sha] = True
        return None
    async with services.pool.connection() as connection:
        await deployments.save_changelog(connection, row.id, since, found)
    return found

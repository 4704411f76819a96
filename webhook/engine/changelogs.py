"""The changelog of a deployment: kept, known of another deployment, or from GitHub by one call."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import structlog

from webhook.deployments.changelog import Changelog
from webhook.engine.services import Services, scope
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.github.compare import Comparison, comparison
from webhook.jobs import lease
from webhook.store import deployments
from webhook.store.deployments import DeploymentRow

log = structlog.get_logger()

_Find: TypeAlias = Callable[[Services, DeploymentRow, str], Coroutine[Any, Any, Changelog | None]]


async def changelog_of(services: Services, row: DeploymentRow, since: str) -> Changelog | None:
    """Its commits since that one, "" for none. A message does not wait for it for long, and
    messages to several destinations share one call."""
    if not since or since == row.sha:
        return None
    if row.changelog and row.changelog["since"] == since:
        return Changelog.from_json(row.changelog) if "total" in row.changelog else None
    return await _shared(services, row, since, _find)


async def other_changelog(services: Services, row: DeploymentRow, since: str) -> Changelog | None:
    """Its commits since one that ran in another environment, which is not kept with it."""
    if not since or since == row.sha:
        return None
    if row.changelog and row.changelog["since"] == since and "total" in row.changelog:
        return Changelog.from_json(row.changelog)
    known = services.comparisons.known.get((row.repo_id, since, row.sha))
    return known or await _shared(services, row, since, _find_other)


async def _shared(
    services: Services, row: DeploymentRow, since: str, find: _Find
) -> Changelog | None:
    comparisons = services.comparisons
    key = row.repo_id, since, row.sha
    if row.repo_id in comparisons.failed or key in comparisons.unknown:
        return None
    running = comparisons.running.get(key)
    if running is None:
        if comparisons.slots.locked():
            return None
        running = lease.shared(find(services, row, since))
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
        known = await deployments.copy_changelog(connection, row.id, row.repo_id, since, row.sha)
    if known is not None:
        return known
    found, answered = await _compared(services, row, since)
    if not answered:
        return None
    known_everywhere_at = row.created_at + services.timing.rejection_counts_after
    if found is None and services.clock() < known_everywhere_at:
        # GitHub may know the commit, but not everywhere yet.
        services.comparisons.unknown[row.repo_id, since, row.sha] = True
        return None
    async with services.pool.connection() as connection:
        await deployments.save_changelog(
            connection,
            row.id,
            since,
            found.changelog if found else None,
            found.committed_at if found else None,
        )
    return found.changelog if found else None


async def _find_other(services: Services, row: DeploymentRow, since: str) -> Changelog | None:
    found, answered = await _compared(services, row, since)
    key = row.repo_id, since, row.sha
    if found is not None:
        services.comparisons.known[key] = found.changelog
    elif answered:
        services.comparisons.unknown[key] = True
    return found.changelog if found else None


async def _compared(
    services: Services, row: DeploymentRow, since: str
) -> tuple[Comparison | None, bool]:
    """And whether GitHub has said so, or does not know one of them."""
    try:
        async with services.comparisons.slots:
            return await comparison(services.github, scope(row), since, row.sha), True
    except (RetryAt, UnknownOutcome) as error:
        log.warning("no changelog from GitHub now", error=str(error))
        services.comparisons.failed[row.repo_id] = True
        return None, False
    except Rejected as error:
        log.info("no changelog from GitHub", error=str(error))
        return None, True

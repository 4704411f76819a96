"""The notice of a deployment: its row, its changelog, what may be done about it."""

import asyncio

import structlog

from handlers import TITLES
from webhook.deployments.changelog import Changelog
from webhook.deployments.notice import DeploymentNotice, NoticeEntry
from webhook.deployments.phases import Phase
from webhook.engine.services import Services, scope
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.github.compare import compare
from webhook.store import actions, deployments, timeline
from webhook.store.actions import Action
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.timeline import TimelineEntry

log = structlog.get_logger()


async def build_notice(services: Services, row: DeploymentRow) -> DeploymentNotice:
    async with services.pool.connection() as connection:
        last = await deployments.last_success(connection, row)
        before = await deployments.ended_before(connection, row)
        made_by = await actions.made_by(connection, row.id)
        held = row.ended_at is None and await timeline.is_held(connection, row.id)
        back = await deployments.success_of_another_commit(connection, row)
        offered = await _actions(services, connection, row, back)
    end = row.ended_at
    start = row.started_at or row.requested_at
    return DeploymentNotice(
        deployment_id=row.id,
        repo=row.repo,
        repo_url=row.repo_url,
        environment=row.environment,
        production=row.production,
        ref=row.ref,
        sha=row.sha,
        task=row.task,
        requested_by=_requested_by(row, made_by),
        phase=row.phase,
        changed_at=row.phase_at,
        description=row.status_description,
        held=held,
        started=row.run is not None,
        recovered=before in (Phase.FAILURE, Phase.ERROR) and row.phase is Phase.SUCCESS,
        seconds=(end - start).total_seconds() if start and end else None,
        page_url=services.links.page(row.repo, row.id),
        run_url=row.run.url if row.run else "",
        tool="GitHub Actions" if row.watched else TITLES.get(row.handler, row.handler),
        environment_url=row.environment_url,
        changelog=await _changelog(services, row, last),
        previous_sha=last.sha if last else "",
        origin=made_by.kind if made_by and made_by.deployment_id else "",
        origin_url=services.links.page(made_by.repo or row.repo, made_by.deployment_id)
        if made_by and made_by.deployment_id
        else "",
        actions=offered,
        rollback_to=f"{back.ref} @ {back.sha[:7]}" if back else "",
    )


def notice_entry(entry: TimelineEntry) -> NoticeEntry:
    return NoticeEntry(
        at=entry.at,
        state="" if entry.state == timeline.ASKED else entry.state,
        description=entry.description,
        actor=entry.actor,
        log_url=entry.log_url,
        held=entry.held,
    )


def _requested_by(row: DeploymentRow, made_by: Action | None) -> str:
    """The App asks GitHub for what people ask of it in Slack."""
    return made_by.login if made_by else row.creator


async def _actions(
    services: Services, connection: Async, row: DeploymentRow, back: DeploymentRow | None
) -> tuple[str, ...]:
    """What makes sense now; of older deployments, nothing but to end them."""
    if not services.answers or row.requested_at is None:
        return ()
    if row.ended_at is None:
        return () if row.watched or row.cancel_requested_by else ("cancel",)
    if row.watched or not await deployments.is_newest(connection, row):
        return ()
    retry = ("retry",) if row.phase in (Phase.FAILURE, Phase.ERROR) else ()
    return (*retry, "rollback") if back else retry


async def _changelog(
    services: Services, row: DeploymentRow, last: DeploymentRow | None
) -> Changelog | None:
    """Asked of GitHub once; a message does not wait for it for long."""
    if last is None or last.sha == row.sha:
        return None
    if row.changelog and row.changelog["since"] == last.sha:
        return Changelog.from_json(row.changelog) if "total" in row.changelog else None
    caches = services.caches
    if caches.comparing.locked() or row.repo in caches.unknown_changelogs:
        return None
    found = None
    try:
        async with (
            caches.comparing,
            asyncio.timeout(services.timing.details_within.total_seconds()),
        ):
            found = await compare(services.github, scope(row), last.sha, row.sha)
    except (RetryAt, UnknownOutcome, TimeoutError) as trouble:
        log.warning("GitHub does not say what ships now", words=str(trouble))
        caches.unknown_changelogs[row.repo] = row.sha
        return None
    except Rejected as refused:
        log.info("GitHub does not say what ships", words=str(refused))
    async with services.pool.connection() as connection:
        await deployments.save_changelog(connection, row.id, last.sha, found)
    return found

"""The notice of a deployment: its row, its changelog, what may be done about it."""

import asyncio
from dataclasses import replace
from typing import TypedDict

import structlog

from handlers import TITLES
from webhook.deployments.actions import Snapshot, offered_buttons
from webhook.deployments.changelog import Changelog
from webhook.deployments.notice import DeploymentNotice, NoticeEntry
from webhook.deployments.phases import Phase
from webhook.engine.services import Services, scope
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.github.compare import compare
from webhook.store import actions, deployments, timeline
from webhook.store.actions import ActionRow
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.timeline import TimelineEntry

log = structlog.get_logger()


class _Origin(TypedDict):
    origin: str
    origin_url: str
    origin_label: str


async def build_notice(services: Services, row: DeploymentRow) -> DeploymentNotice:
    async with services.pool.connection() as connection:
        last = await deployments.last_success(connection, row)
        before = await deployments.ended_before(connection, row)
        creator = await actions.creator_of(connection, row.id)
        held = row.ended_at is None and await timeline.is_held(connection, row.id)
        back = await deployments.success_of_another_commit(connection, row)
        snapshot = await _snapshot(connection, row, back)
    end = row.ended_at
    start = row.started_at or row.requested_at
    notice = DeploymentNotice(
        deployment_id=row.id,
        repo=row.repo,
        repo_url=row.repo_url,
        environment=row.environment,
        production=row.production,
        ref=row.ref,
        sha=row.sha,
        task=row.task,
        requested_by=_requested_by(row, creator),
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
        **_origin(services, row, creator),
        actions=(),
        rollback_to=f"{back.ref} @ {back.sha[:7]}" if back else "",
    )
    if not services.actions_enabled or row.requested_at is None:
        return notice
    buttons = offered_buttons(services.actions.values(), snapshot, notice)
    return replace(notice, actions=buttons)


def notice_entry(entry: TimelineEntry) -> NoticeEntry:
    return NoticeEntry(
        at=entry.at,
        state="" if entry.state == timeline.ASKED else entry.state,
        description=entry.description,
        actor=entry.actor,
        log_url=entry.log_url,
        held=entry.held,
    )


def _requested_by(row: DeploymentRow, creator: ActionRow | None) -> str:
    """The App asks GitHub for what people ask of it in Slack."""
    return creator.login if creator else row.creator


def _origin(services: Services, row: DeploymentRow, creator: ActionRow | None) -> _Origin:
    if creator is None or not creator.deployment_id:
        return {"origin": "", "origin_url": "", "origin_label": ""}
    action = services.actions.get(creator.kind)
    return {
        "origin": creator.kind,
        "origin_url": services.links.page(creator.repo or row.repo, creator.deployment_id),
        "origin_label": action.origin if action else "",
    }


async def _snapshot(connection: Async, row: DeploymentRow, back: DeploymentRow | None) -> Snapshot:
    return Snapshot(
        phase=row.phase,
        ended=row.ended_at is not None,
        watched=row.watched,
        cancel_requested=bool(row.cancel_requested_by),
        newest=await deployments.is_newest(connection, row),
        rollback_target=back is not None,
    )


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

"""Our steps become GitHub's deployment statuses: in order, each once.

A step is marked `tried` before the call. If it is found so, an earlier call has no known end (a
crash, a time-out), and GitHub's list is read before anything is sent again. Our log_url ends in
the step's number, by which a status is known again.
"""

from dataclasses import replace
from datetime import timedelta
from itertools import zip_longest

import structlog

from webhook.deployments.phases import Phase, follows, shorten
from webhook.engine.services import Services, log_about, scope
from webhook.errors import Forbidden, Invalid, Rejected, RetryAt, UnknownOutcome
from webhook.github.client import Status
from webhook.security.links import STEP_MARK
from webhook.store import timeline
from webhook.store.deployments import DeploymentRow
from webhook.store.timeline import Outbox, Step

log = structlog.get_logger()

# GitHub takes 80 writes a minute: where more wait, those that only say other words are left out.
MOST_WAITING = 20


async def tell_github(services: Services, deployment_id: int) -> None:
    row = await services.read(deployment_id)
    if row is None:
        return
    log_about(row)
    async with services.pool.connection() as connection:
        waiting = await timeline.unsent(connection, row.id)
    too_many = len(waiting) > MOST_WAITING
    for step, later in zip_longest(waiting, waiting[1:]):
        same = later and (step.outbox, step.state) == ("waiting", later.state)
        if too_many and same:
            await _mark(services, step, "skipped")  # the later one says more
        else:
            await _tell(services, row, step)


async def _tell(services: Services, row: DeploymentRow, step: Step) -> None:
    if step.outbox == "tried" and step.tried_until and step.tried_until > services.clock():
        raise RetryAt("a call may be under way", step.tried_until)
    try:
        github_id = await _found(services, row, step)
        if github_id is None and await _came_too_late(services, row, step):
            await _mark(services, step, "skipped")
            return
        github_id = github_id or await _written(services, row, step)
    except UnknownOutcome as trouble:
        rest = services.timing.status_lookup_after
        await _mark(services, step, "tried", trouble=str(trouble), look_after=rest)
        raise RetryAt(str(trouble), services.clock() + rest) from trouble
    except Forbidden as refused:
        await _no_access(services, step, refused)
    except Rejected as refused:
        await _mark(services, step, "refused", trouble=str(refused))
        log.error("GitHub refuses the status", state=step.state, words=str(refused))
    else:
        await _mark(services, step, "sent", github_id=github_id)
        log.info("status written", state=step.state, words=step.words)


async def _came_too_late(services: Services, row: DeploymentRow, step: Step) -> bool:
    """On GitHub the newest status counts: ours must not turn back what others reported."""
    if Phase(step.state).final:
        return False
    later = [phase.value for phase in Phase if follows(Phase(step.state), phase)]
    async with services.pool.connection() as connection:
        return await timeline.reported_by_others(connection, row.id, later)


async def _found(services: Services, row: DeploymentRow, step: Step) -> int | None:
    if step.outbox != "tried":
        return None
    return await services.github.find_status(scope(row), row.id, _mark_of(step))


async def _written(services: Services, row: DeploymentRow, step: Step) -> int:
    await services.github.require_access(scope(row))  # so that the claim covers one call only
    lasts = services.timing.claim_lasts
    async with services.pool.connection() as connection:
        if not await timeline.claim_call(connection, step, lasts.total_seconds()):
            raise RetryAt("a call is under way", services.clock() + lasts)
    status = Status(
        state=step.state,
        description=shorten(step.words),
        log_url=services.links.page(row.repo, row.id) + _mark_of(step),
        environment_url=step.environment_url,
    )
    try:
        return await _created(services, row, step, status)
    except RetryAt as later:
        await _mark(services, step, "waiting", trouble=str(later))
        raise


async def _created(services: Services, row: DeploymentRow, step: Step, status: Status) -> int:
    try:
        return await services.github.create_status(scope(row), row.id, status)
    except Invalid:
        if not status.environment_url:
            raise
        # The command or the tool named it; that the deployment ended matters more.
        log.warning("GitHub refuses the environment_url", environment_url=status.environment_url)
        await _mark(services, step, "tried", look_after=services.timing.claim_lasts)
        bare = replace(status, environment_url="")
        return await services.github.create_status(scope(row), row.id, bare)


def _mark_of(step: Step) -> str:
    return f"{STEP_MARK}{step.id}"


async def _no_access(services: Services, step: Step, refused: Forbidden) -> None:
    given_up = services.clock() > step.at + services.timing.installation_given_up_after
    await _mark(services, step, "refused" if given_up else "waiting", trouble=str(refused))
    log.error("GitHub cannot be told", state=step.state, words=str(refused))
    if not given_up:
        raise RetryAt(str(refused), services.clock() + services.timing.installation_retry)


async def _mark(
    services: Services,
    step: Step,
    outbox: Outbox,
    *,
    github_id: int | None = None,
    trouble: str = "",
    look_after: timedelta = timedelta(0),
) -> None:
    async with services.pool.connection() as connection:
        await timeline.set_outbox(
            connection,
            step.id,
            outbox,
            github_id=github_id,
            trouble=trouble,
            look_after=look_after.total_seconds(),
        )

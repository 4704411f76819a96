"""Our steps become GitHub's deployment statuses: in order, each once.

A step is marked `tried` before the call. If it is found so, an earlier call has no known end (a
crash, a time-out), and GitHub's list is read before anything is sent again. Our log_url ends in
the step's number, by which a status is known again.
"""

from dataclasses import replace
from datetime import timedelta
from itertools import zip_longest

import structlog

from webhook.deployments.states import Phase, follows, shorten
from webhook.links import STEP_MARK
from webhook.outbound.github import Status
from webhook.outbound.trouble import Invalid, Later, NoAccess, Refused, Unsure
from webhook.store import steps
from webhook.store.deployments import DeploymentRow
from webhook.store.steps import Outbox, Step
from webhook.work.relay import Relay, log_about, scope

log = structlog.get_logger()

# GitHub takes 80 writes a minute: where more wait, those that only say other words are left out.
MOST_WAITING = 20


async def tell_github(relay: Relay, deployment_id: int) -> None:
    row = await relay.read(deployment_id)
    if row is None:
        return
    log_about(row)
    async with relay.pool.connection() as connection:
        waiting = await steps.unsent(connection, row.id)
    too_many = len(waiting) > MOST_WAITING
    for step, later in zip_longest(waiting, waiting[1:]):
        same = later and (step.outbox, step.state) == ("waiting", later.state)
        if too_many and same:
            await _mark(relay, step, "skipped")  # the later one says more
        else:
            await _tell(relay, row, step)


async def _tell(relay: Relay, row: DeploymentRow, step: Step) -> None:
    if step.outbox == "tried" and step.tried_until and step.tried_until > relay.clock():
        raise Later("a call may be under way", step.tried_until)
    try:
        github_id = await _found(relay, row, step)
        if github_id is None and await _came_too_late(relay, row, step):
            await _mark(relay, step, "skipped")
            return
        github_id = github_id or await _written(relay, row, step)
    except Unsure as trouble:
        rest = relay.timing.status_lookup_after
        await _mark(relay, step, "tried", trouble=str(trouble), look_after=rest)
        raise Later(str(trouble), relay.clock() + rest) from trouble
    except NoAccess as refused:
        await _no_access(relay, step, refused)
    except Refused as refused:
        await _mark(relay, step, "refused", trouble=str(refused))
        log.error("GitHub refuses the status", state=step.state, words=str(refused))
    else:
        await _mark(relay, step, "sent", github_id=github_id)
        log.info("status written", state=step.state, words=step.words)


async def _came_too_late(relay: Relay, row: DeploymentRow, step: Step) -> bool:
    """On GitHub the newest status counts: ours must not turn back what others reported."""
    if Phase(step.state).final:
        return False
    later = [phase.value for phase in Phase if follows(Phase(step.state), phase)]
    async with relay.pool.connection() as connection:
        return await steps.reported_by_others(connection, row.id, later)


async def _found(relay: Relay, row: DeploymentRow, step: Step) -> int | None:
    if step.outbox != "tried":
        return None
    return await relay.github.find_status(scope(row), row.id, _mark_of(step))


async def _written(relay: Relay, row: DeploymentRow, step: Step) -> int:
    await relay.github.require_access(scope(row))  # so that the claim covers one call only
    lasts = relay.timing.claim_lasts
    async with relay.pool.connection() as connection:
        if not await steps.claim_call(connection, step, lasts.total_seconds()):
            raise Later("a call is under way", relay.clock() + lasts)
    status = Status(
        state=step.state,
        description=shorten(step.words),
        log_url=relay.links.page(row.repo, row.id) + _mark_of(step),
        environment_url=step.environment_url,
    )
    try:
        return await _created(relay, row, step, status)
    except Later as later:
        await _mark(relay, step, "waiting", trouble=str(later))
        raise


async def _created(relay: Relay, row: DeploymentRow, step: Step, status: Status) -> int:
    try:
        return await relay.github.create_status(scope(row), row.id, status)
    except Invalid:
        if not status.environment_url:
            raise
        # The command or the tool named it; that the deployment ended matters more.
        log.warning("GitHub refuses the environment_url", environment_url=status.environment_url)
        await _mark(relay, step, "tried", look_after=relay.timing.claim_lasts)
        bare = replace(status, environment_url="")
        return await relay.github.create_status(scope(row), row.id, bare)


def _mark_of(step: Step) -> str:
    return f"{STEP_MARK}{step.id}"


async def _no_access(relay: Relay, step: Step, refused: NoAccess) -> None:
    given_up = relay.clock() > step.at + relay.timing.installation_given_up_after
    await _mark(relay, step, "refused" if given_up else "waiting", trouble=str(refused))
    log.error("GitHub cannot be told", state=step.state, words=str(refused))
    if not given_up:
        raise Later(str(refused), relay.clock() + relay.timing.installation_retry)


async def _mark(
    relay: Relay,
    step: Step,
    outbox: Outbox,
    *,
    github_id: int | None = None,
    trouble: str = "",
    look_after: timedelta = timedelta(0),
) -> None:
    async with relay.pool.connection() as connection:
        await steps.set_outbox(
            connection,
            step.id,
            outbox,
            github_id=github_id,
            trouble=trouble,
            look_after=look_after.total_seconds(),
        )

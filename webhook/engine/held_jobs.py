"""A deployment whose job waits on GitHub for the relay's answer, or was let through.

It passes its gates as others do, and is counted as running until GitHub has reported its end. What
became of its run is asked where that may have changed: it may have been cancelled, or an
administrator has let it go on.
"""

from dataclasses import replace
from datetime import datetime

import psycopg
import structlog

from webhook.config.environments import Environment
from webhook.config.routing import route
from webhook.deployments.blockers import Blocker
from webhook.deployments.phases import FAILED, Phase, phase_of
from webhook.engine import gates, run_attempts, transitions
from webhook.engine.polling import Again
from webhook.engine.protection_rules import unanswered
from webhook.engine.services import Services, scope
from webhook.engine.transitions import Transition
from webhook.errors import Conflict, Rejected, RetryAt, UnknownOutcome
from webhook.github import protection_rules as github_rules
from webhook.github.protection_rules import RunState
from webhook.rejections import RejectionPolicy, rejected_since
from webhook.store import deployments, protection_rules
from webhook.store.database import Async
from webhook.store.deployments import Columns, DeploymentRow
from webhook.text import one_line

log = structlog.get_logger()

# What keeps it from running besides its gates; no gate, as nobody can skip it.
SAME_RUN = "run"
# A run in which nothing goes on before somebody has answered.
WAITING = "waiting"
# How the call is named that asks what became of a run.
_CHECK = "run"


async def answer_rule(services: Services, row: DeploymentRow) -> Again | None:
    """When to ask again; None: it has ended, or GitHub does not ask."""
    if row.ended_at is not None or not row.rule_run_id:
        return None
    if row.started_at is not None:
        return await _follow(services, row)
    environment = route(services.config, row.repo, row.environment)
    if environment is None or not environment.protection_rule:
        await transitions.end(services, row, unanswered(services, row.repo, row.environment))
        return None
    if row.cancel_requested_by is not None:
        await transitions.end(services, row, f"Cancelled by {row.cancel_requested_by}")
        return None
    row = await _checked(services, row)
    if not row.waits_for_rule:
        return await answer_rule(services, row)
    return await _ask(services, row, environment)


async def _ask(services: Services, row: DeploymentRow, environment: Environment) -> Again | None:
    before, over = row.blockers, row.waits_until(environment.wait_limit)
    try:
        row = await _waiting_with(services, row) or await _admit(services, row, environment)
    except (RetryAt, Conflict, psycopg.OperationalError):
        raise
    except Exception:
        # An error of ours: retried until its time is over, but GitHub gets an answer in any case.
        if over is None or services.clock() < over:
            raise
        log.exception("deployment given up")
        await transitions.end(services, row, "The relay itself failed; its log says why")
        return None
    if row.started_at is not None:
        return Again(row.rule_check_at or services.clock(), is_deadline=False)
    at = gates.asked_again_at(services, row, environment, waited=bool(before))
    if at is None:
        return None
    check_at = min(at, row.rule_check_at or at)
    return Again(max(check_at, services.clock()), is_deadline=over is not None and at >= over)


async def _admit(services: Services, row: DeploymentRow, environment: Environment) -> DeploymentRow:
    now = services.clock()
    deadline = now + environment.timeout
    start: Columns = {
        "blockers": (),
        "started_at": now,
        "config_digest": services.config.digest,
        "deadline": deadline,
        "rule_check_at": deadline,
    }
    return await gates.admit(services, row, environment, start)


async def _waiting_with(services: Services, row: DeploymentRow) -> DeploymentRow | None:
    """None: no other job of its run is asked before it, or instead of it."""
    async with services.pool.connection() as connection, connection.transaction():
        run = str(row.rule_run_id)
        if len(await protection_rules.waiting_in_run(connection, row.repo_id, run)) == 1:
            return None
        waiting = await run_attempts.end_earlier(services, connection, row)
        own = next((one for one in waiting if one.id == row.id), None)
        if own is None:
            return await deployments.read(connection, row.id)
        if own.version != row.version:
            raise Conflict(f"deployment {row.id} was changed by another process")
        leader = waiting[0].id
        if leader == row.id:
            return None
        reason = f"Goes with deployment {leader}, another job of its run"
        blockers = (Blocker(gate=SAME_RUN, reason=reason),)
        if blockers == row.blockers:
            return row
        transition = Transition(row.phase, reason)
        return await transitions.apply(
            services, connection, row, transition, columns={"blockers": blockers}
        )


async def _checked(services: Services, row: DeploymentRow) -> DeploymentRow:
    """Its run may have been cancelled or deleted, or an administrator has let it go on."""
    now = services.clock()
    if row.rule_check_at is not None and now < row.rule_check_at:
        return row
    again = now + services.timing.rule_runs_checked_after
    try:
        state = await _run_state(services, row)
        ended = state is None or state.ended
        end = await _end_of_held(services, row, state) if ended else None
        passed = state is not None and not ended and await _passed(services, row, state)
    except (UnknownOutcome, Rejected) as error:
        # Its gates are asked all the same, and its wait has an end.
        log.warning("GitHub does not say what became of the run", error=str(error))
        rejected = isinstance(error, Rejected)
        soon = _doubtful(services, row) if rejected else now + services.timing.access_recheck
        return await _check_again(services, row, soon or again, failed=rejected)
    if state is None and (doubtful := _doubtful(services, row)):
        return await _check_again(services, row, doubtful, failed=True)
    async with services.pool.connection() as connection, connection.transaction():
        if end is not None:
            return await transitions.learn(services, connection, row, end)
        if passed:
            return await _went_past(services, connection, row)
    return await _check_again(services, row, again)


async def _end_of_held(
    services: Services, row: DeploymentRow, state: RunState | None
) -> Transition:
    """A run that was let go on past its gates may have ended in a moment; what others have written
    of one that was cancelled is not believed."""
    status = await _final_status(services, row) if state else None
    ran = {"success": (Phase.SUCCESS,), "failure": FAILED}.get(state.conclusion if state else "")
    if ran and status and status.phase in ran:
        return replace(status, description=f"It went on past its gates. {status.description}")
    message = f"Its run {_end_of(state)} on GitHub before it was let through"
    return Transition(Phase.ERROR, message)


async def _passed(services: Services, row: DeploymentRow, state: RunState) -> bool:
    """Only if others have reported that it runs, and GitHub shows nowhere that it waits."""
    if state.status == WAITING:
        return False
    async with services.pool.connection() as connection:
        if not await protection_rules.reported_as_running(connection, row.id):
            return False
    where = scope(row), row.rule_run_id, row.environment
    return not await github_rules.is_pending(services.github, *where)


async def _run_state(services: Services, row: DeploymentRow) -> RunState | None:
    """None: GitHub does not know the run."""
    try:
        return await github_rules.run_state(services.github, scope(row), row.rule_run_id)
    except Rejected as error:
        if github_rules.is_missing(error):
            return None
        raise


def _doubtful(services: Services, row: DeploymentRow) -> datetime | None:
    """When to ask again; None: GitHub has said it for long enough."""
    now = services.clock()
    policy = RejectionPolicy.doubtful(services.timing)
    return policy.retry_at(rejected_since(row, _CHECK, now), now)


async def _check_again(
    services: Services, row: DeploymentRow, at: datetime, *, failed: bool = False
) -> DeploymentRow:
    now = services.clock()
    columns: Columns = {
        "rejected_call": _CHECK if failed else "",
        "rejected_since": rejected_since(row, _CHECK, now) if failed else None,
        "rejected_at": now if failed else None,
        "rule_check_at": at,
    }
    async with services.pool.connection() as connection:
        return await deployments.change(connection, row, **columns)


async def _went_past(services: Services, connection: Async, row: DeploymentRow) -> DeploymentRow:
    """Administrators may let a job go on, whatever its rules say."""
    log.warning("went past its gates on GitHub", run=row.rule_run_id)
    now = services.clock()
    columns: Columns = {
        "blockers": (),
        "started_at": now,
        "rule_check_at": now + services.timing.rule_runs_checked_after,
    }
    transition = Transition(Phase.IN_PROGRESS, "Somebody has let it go on, past its gates")
    return await transitions.learn(services, connection, row, transition, columns)


async def _follow(services: Services, row: DeploymentRow) -> Again | None:
    """GitHub reports its statuses by itself; but a delivery may be lost, and others wait for it."""
    now, within = services.clock(), services.timing.rule_status_within
    if row.rule_check_at is not None and now < row.rule_check_at:
        return Again(row.rule_check_at, is_deadline=False)
    try:
        state = await _run_state(services, row)
        ended = state is None or state.ended
        end = await _final_status(services, row) if ended else None
    except (UnknownOutcome, Rejected) as error:
        raise RetryAt(str(error), now + within) from error
    if end is None and (state is None or (ended and now >= state.updated_at + within)):
        message = f"Its run {_end_of(state)}, and GitHub has no state of this deployment"
        end = Transition(Phase.ERROR, message)
    if end is not None:
        async with services.pool.connection() as connection, connection.transaction():
            await transitions.learn(services, connection, row, end)
        return None
    again = now + (within if ended else services.timing.rule_runs_checked_after)
    async with services.pool.connection() as connection:
        await protection_rules.check_at(connection, row.id, again)
    return Again(again, is_deadline=False)


def _end_of(state: RunState | None) -> str:
    return "was deleted" if state is None else f"ended ({one_line(state.conclusion, 40)})"


async def _final_status(services: Services, row: DeploymentRow) -> Transition | None:
    try:
        newest = await github_rules.newest_status(services.github, scope(row), row.id)
    except Rejected as error:
        if github_rules.is_missing(error):
            return None
        raise
    phase = phase_of(str(newest["state"])) if newest else None
    if newest is None or phase is None or not phase.final:
        return None
    return Transition(phase, one_line(str(newest.get("description") or "")))

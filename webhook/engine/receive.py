"""Process stored deliveries: deployments created, statuses reported, installations changed.

One that cannot be understood, or whose processing fails again and again, is a dead letter: it is
kept as `failed` with the reason, until somebody replays it. What is not the delivery's own (the
store or GitHub is away, another process was quicker) is retried for as long as it lasts.
"""

from dataclasses import replace

import psycopg
import structlog
from psycopg.errors import ReadOnlySqlTransaction

from webhook.config.routing import matches_any
from webhook.deployments.lateness import Lateness
from webhook.deployments.phases import follows
from webhook.engine import file_checks, lateness, protection_rules, pushes, transitions
from webhook.engine.acceptance import (
    ACTIONS,
    WATCHED,
    Acceptance,
    Result,
    accept,
    is_followed,
    judge,
    left_alone,
    request_of,
    transition_of,
    without_effect,
)
from webhook.engine.lateness import Ended, Late, Missed, Resumed, Unknown, Verdict
from webhook.engine.policy import kept_policy
from webhook.engine.promotions import chained_in, promote_next, promoted_from
from webhook.engine.services import Services
from webhook.engine.transitions import Transition
from webhook.errors import Conflict, RetryAt, UnknownOutcome, UserError
from webhook.github import events
from webhook.github.commit_events import CommitReported, Pushed
from webhook.github.event_names import about
from webhook.github.events import (
    AuthorizationRevoked,
    CheckRerequested,
    DeploymentCreated,
    Event,
    InstallationChanged,
    ProtectionRuleRequested,
    PullRequestChanged,
    StatusCreated,
    WorkflowJobUpdated,
    WorkflowRunUpdated,
)
from webhook.store import (
    deliveries,
    deployment_order,
    deployments,
    open_deployments,
    schedule,
    sign_outs,
    timeline,
    tool_events,
)
from webhook.store.database import Async
from webhook.store.deliveries import Delivery, Outcome
from webhook.store.deployments import DeploymentRow
from webhook.text import one_line

log = structlog.get_logger()

# Of a deployment to a protected environment, until somebody approves it.
HELD_ON_GITHUB = "waiting"
# So often the relay repeats what it says of one that waits: another bot may do the same.
MOST_CONTRADICTED = 5
# After so many unexpected errors a delivery is given up: with the pauses of its job, some minutes.
MOST_FAILURES = 8
_NOT_OF_THE_DELIVERY = (
    *(RetryAt, Conflict, UnknownOutcome),
    *(psycopg.OperationalError, psycopg.InterfaceError, ReadOnlySqlTransaction, OSError),
)
_LONGEST_ERROR = 300
# Each is acted on once more whenever it is processed: GitHub gets another answer, an installation
# counts that another has replaced since, or who has signed in since is signed out.
_ONCE = (ProtectionRuleRequested, CheckRerequested, InstallationChanged, AuthorizationRevoked)


async def receive(services: Services, delivery_id: int) -> None:
    try:
        await _receive(services, delivery_id)
    except _NOT_OF_THE_DELIVERY:
        raise
    except Exception as error:
        if not await _is_given_up(services, delivery_id, error):
            raise
        log.exception("delivery given up")


async def _is_given_up(services: Services, delivery_id: int, error: Exception) -> bool:
    """It is tried again before."""
    first_line = next(iter(str(error).splitlines()), "")
    text = services.redactor.text(f"{type(error).__name__}: {first_line}")
    reason = one_line(f"the relay failed to process it: {text}", _LONGEST_ERROR)
    async with services.pool.connection() as connection, connection.transaction():
        failures = await deliveries.failed(connection, delivery_id, reason)
        if failures < MOST_FAILURES:
            return False
        advice = f"given up after {failures} attempts; replay it after an upgrade"
        await deliveries.finish(connection, delivery_id, "failed", f"{reason} ({advice})")
    return True


async def _receive(services: Services, delivery_id: int) -> None:
    async with services.pool.connection() as connection:
        delivery = await deliveries.read(connection, delivery_id)
        if delivery is None or delivery.outcome is not None:
            return
        structlog.contextvars.bind_contextvars(delivery=delivery.guid, github_event=delivery.event)
        event = _parsed(delivery)
        if not lateness.may_be_late(services, event):
            _log(await _process(services, connection, delivery, event))
            return
    assert isinstance(event, DeploymentCreated)
    # Without a connection, and without a transaction: GitHub may take its time.
    verdict = await lateness.examine(services, delivery, event)
    async with services.pool.connection() as connection:
        _log(await _process(services, connection, delivery, event, verdict))


def _parsed(delivery: Delivery) -> Event | UserError:
    try:
        return events.parse(delivery.event, delivery.body)
    except UserError as error:
        return error


def _log(result: Result) -> None:
    outcome, reason, deployment_id = result
    write = log.debug if outcome == "ignored" else log.info
    write("delivery processed", outcome=outcome, reason=reason, deployment=deployment_id)


async def _process(
    services: Services,
    connection: Async,
    delivery: Delivery,
    event: Event | UserError,
    verdict: Verdict | None = None,
) -> Result:
    """`verdict`: on a deployment of which the relay learns late."""
    if isinstance(event, UserError):
        known: Result | None = ("failed", str(event), None)
    elif isinstance(verdict, Unknown):
        known = (verdict.outcome, verdict.reason, None)
    else:
        known = _already_answered(delivery, event) or without_effect(services, event)
    if known is not None:
        await _finish(connection, delivery, *known)
        return known
    assert not isinstance(event, UserError)
    assert not isinstance(verdict, Unknown)
    async with connection.transaction():
        outcome, reason, deployment_id = await _act(services, connection, event, delivery, verdict)
        if delivery.done_before and outcome == "ignored":
            outcome = "done"  # what it had to do was done then
        await _finish(connection, delivery, outcome, reason, deployment_id)
    return outcome, reason, deployment_id


async def _finish(
    connection: Async, delivery: Delivery, outcome: Outcome, reason: str, deployment_id: int | None
) -> None:
    """With what the payload says, by which it is found."""
    said = about(delivery.body)
    await deliveries.finish(
        connection,
        delivery.id,
        outcome,
        reason,
        deployment_id,
        action=said.action,
        repo_id=said.repo_id,
    )


def _already_answered(delivery: Delivery, event: Event) -> Result | None:
    if delivery.done_before and isinstance(event, _ONCE):
        return "done", "it was acted on before", None
    return None


async def _act(  # noqa: C901, PLR0911 - one for each event
    services: Services,
    connection: Async,
    event: Event,
    delivery: Delivery,
    verdict: Missed | Ended | Resumed | Late | None,
) -> Result:
    match event:
        case DeploymentCreated():
            return await _deployment_created(services, connection, event, delivery.guid, verdict)
        case ProtectionRuleRequested():
            return await protection_rules.received(services, connection, event, delivery)
        case StatusCreated():
            return await _status_created(services, connection, event)
        case WorkflowRunUpdated():
            return await _workflow_run_updated(services, connection, event)
        case Pushed():
            pushed_at = delivery.delivered_at or delivery.received_at
            return await pushes.pushed(services, connection, event, pushed_at)
        case CommitReported():
            return await pushes.reported(services, connection, event)
        case InstallationChanged():
            return await _installation_changed(services, connection, event)
        case AuthorizationRevoked():
            at = delivery.delivered_at or delivery.received_at
            await sign_outs.revoke_sessions(connection, event.user_id, at)
            return "done", f"{event.login} is signed out", None
        case PullRequestChanged():
            return await file_checks.received(services, connection, event)
        case CheckRerequested():
            return await file_checks.rerequested(connection, event)
    raise AssertionError(f"{event} has no effect")


async def _deployment_created(
    services: Services,
    connection: Async,
    event: DeploymentCreated,
    guid: str,
    verdict: Missed | Ended | Resumed | Late | None,
) -> Result:
    if reason := left_alone(services, event):
        return "ignored", reason, event.deployment.id
    row = await deployments.get_or_create(
        connection, event.deployment, event.repository, event.installation_id
    )
    _log_about(row)
    accepted = accept(services, event, row)
    environment = accepted.environment
    if accepted.verdict == "known":
        await protection_rules.keep_asker(connection, row, event)
    if accepted.verdict in ("known", "unrouted"):
        return "ignored", accepted.reason, row.id
    production = None
    if environment is not None:
        policy = await kept_policy(services, connection, row, environment)
        production = policy.environment.production_environment
    requested = request_of(services, event, accepted, guid, production)
    await _notify_others(services, connection, row)
    if accepted.verdict == "ended":
        await _set_requested(services, connection, row, requested)
        return "ignored", accepted.reason, row.id
    if isinstance(verdict, Missed | Ended | Resumed):
        reason = await lateness.apply(services, connection, row, verdict, requested)
    else:
        reason = await _begin(services, connection, row, accepted, requested, late=verdict)
    return "done", reason, row.id


async def _begin(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    accepted: Acceptance,
    requested: deployments.Columns,
    *,
    late: Late | None,
) -> str:
    """Returns what is recorded of its delivery."""
    transition = transition_of(accepted)
    if accepted.verdict == "refused":
        await transitions.announce(services, connection, row, transition, columns=requested)
        return ""
    if accepted.verdict == "watched":
        await _watch(services, connection, row, transition, requested)
        return WATCHED
    if late is not None:
        requested["lateness"] = Lateness.LATE
        description = f"Accepted (next: {requested['handler']}); {late.note}"
        transition = replace(transition, description=description)
    await _accept(services, connection, row, transition, requested)
    return late.note if late else ""


async def _notify_others(services: Services, connection: Async, row: DeploymentRow) -> None:
    """Whose buttons are gone now, or mean something else."""
    if not services.actions_enabled:
        return
    others = await promoted_from(services, connection, row)
    if earlier := await deployment_order.before(connection, row):
        others.append(earlier)
    if others:
        await schedule.request(connection, [], notified=others)


def _log_about(row: DeploymentRow) -> None:
    """Besides the delivery at hand, which need not be the one that created the deployment."""
    structlog.contextvars.bind_contextvars(deployment=row.id, environment=row.environment)


async def _watch(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    transition: Transition,
    requested: deployments.Columns,
) -> None:
    if follows(row.phase, transition.phase):
        await transitions.apply(services, connection, row, transition, columns=requested)
    else:
        await _set_requested(services, connection, row, requested)


async def _accept(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    transition: Transition,
    requested: deployments.Columns,
) -> None:
    follow = schedule.Key("advance", row.id)
    if follows(row.phase, transition.phase):
        await transitions.announce(
            services, connection, row, transition, columns=requested, also=[follow]
        )
    else:
        await _set_requested(services, connection, row, requested)
        await schedule.request(connection, [follow])


async def _set_requested(
    services: Services, connection: Async, row: DeploymentRow, requested: deployments.Columns
) -> None:
    """Its statuses came before. Where others come after it in a chain, it counts from now on."""
    row = await deployments.change(connection, row, **requested)
    if chained := chained_in(services, row):
        await schedule.request(connection, [], chained_in=chained)
        await promote_next(services, connection, row)


async def _status_created(
    services: Services, connection: Async, event: StatusCreated
) -> tuple[Outcome, str, int]:
    status = event.status
    reason = left_alone(services, event)
    if reason and not await _is_requested(connection, event):
        return "ignored", reason, event.deployment.id
    row = await deployments.get_or_create(
        connection, event.deployment, event.repository, event.installation_id, status.created_at
    )
    _log_about(row)
    judgement = judge(row, status)
    phase, waits, counted = judgement.phase, judgement.waits, judgement.counts
    description = one_line(status.description)
    entry = timeline.NewEntry(
        actor=status.creator or "somebody",
        state=one_line(status.state, 40),
        description=description,
        log_url=status.log_url,
        environment_url=status.environment_url,
        counted=counted,
        github_id=status.id,
        held=status.state == HELD_ON_GITHUB,
    )
    if await timeline.add(connection, row.id, entry) is None:
        return "ignored", "this status was reported before", row.id
    if waits and row.rule_run_id:
        await protection_rules.reported_while_held(services, connection, row, phase)
        return "done", judgement.reason, row.id
    if waits:
        # On GitHub the newest status counts, and this one is not true.
        if await timeline.reported_in_vain(connection, row.id) <= MOST_CONTRADICTED:
            await transitions.announce_again(connection, row)
        return "done", judgement.reason, row.id
    if phase is None or not counted:
        return "done", judgement.reason, row.id
    transition = Transition(phase, description, status.environment_url)
    advance = schedule.Key("advance", row.id)
    row = await transitions.apply(services, connection, row, transition, also=[advance])
    if phase.final and await timeline.may_cover(connection, row.id, status.id):
        await transitions.announce_again(connection, row)
    return "done", "", row.id


async def _is_requested(connection: Async, event: StatusCreated) -> bool:
    """It was, when deploy.yml said something else."""
    row = await deployments.read(connection, event.deployment.id)
    return row is not None and row.requested_at is not None


async def _workflow_run_updated(
    services: Services, connection: Async, event: WorkflowRunUpdated
) -> tuple[Outcome, str, None]:
    """Keep the document of a run that may deploy, and of its jobs; their handler knows to which
    deployment it belongs, whose own event may come later.

    A commit has many other runs, each with many jobs. Of a job, only that it waits or waited for a
    person changes what is shown before the run has ended.
    """
    repository = event.repository
    envs = [one for one in services.config.envs if matches_any(one.repos, repository.full_name)]
    if event.ended and any(one.protection_rule for one in envs):
        await protection_rules.run_ended(services, connection, repository.id, event.run_id)
    followed_there, ours = await is_followed(services, connection, event)
    if not followed_there:
        return "ignored", "this workflow run belongs to no deployment", None
    newer = await tool_events.keep(
        connection, repository.id, event.subject, event.document, services.clock()
    )
    followed = await open_deployments.followed(
        connection,
        repository.id,
        ACTIONS,
        sha=event.head_sha if ours else "",
        run_id=str(event.run_id),
        title=event.title if ours else "",
    )
    shown = [
        schedule.Key("advance", deployment_id)
        for deployment_id, held in followed.items()
        if not isinstance(event, WorkflowJobUpdated) or event.waits or held
    ]
    if newer and shown:
        # By one statement, which locks them in an order: other events of the commit do it, too.
        await schedule.request(connection, shown)
    return "done", f"run {event.run_id} of GitHub Actions", None


async def _installation_changed(
    services: Services, connection: Async, event: InstallationChanged
) -> tuple[Outcome, str, None]:
    """What could not be done before may be done now."""
    services.github.tokens.drop_installation(event.installation_id)
    if event.gives_access:
        repo_ids = event.repository_ids
        await deployments.set_installation(connection, repo_ids, event.installation_id)
        key = schedule.Key("resume_installation", event.installation_id, event.account)
        await schedule.request(connection, [key])
    return "done", f"installation {event.installation_id}: {event.action}", None

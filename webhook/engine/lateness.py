"""What becomes of a deployment of which the relay learns late.

It missed the delivery, its workers were away, or its store was restored from a backup. GitHub says
what has happened meanwhile, so it is asked first, never in a transaction, and nothing is decided
before it has answered. docs/explanation/late-deployments.md has the decisions as a table.
"""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from handlers.contract import Handler
from webhook.config.environments import Environment
from webhook.config.routing import route
from webhook.deployments.lateness import Arrival, Lateness, superseded, too_old
from webhook.deployments.models import GitHubDeployment
from webhook.deployments.phases import Phase, follows, phase_of
from webhook.engine import transitions
from webhook.engine.acceptance import is_left_alone
from webhook.engine.restarts import is_risky
from webhook.engine.services import Services
from webhook.engine.transitions import Transition
from webhook.errors import Forbidden, Rejected, RetryAt, UnknownOutcome, UserError
from webhook.github.deployment_history import newest_after, statuses_of
from webhook.github.deployments import exists
from webhook.github.events import DeploymentCreated, DeploymentStatus, Event
from webhook.github.tokens import Scope
from webhook.store import deployment_order, deployments, schedule
from webhook.store.database import Async
from webhook.store.deliveries import Delivery, Outcome
from webhook.store.deployments import Columns, DeploymentRow
from webhook.store.schedule import Key
from webhook.text import one_line
from webhook.timing import growing_pause

# Somebody has accepted it, or GitHub holds it back: nothing runs yet.
_NOT_BEGUN = (Phase.QUEUED,)


@dataclass(frozen=True, slots=True)
class Late:
    """It runs, and says that it came late."""

    note: str


@dataclass(frozen=True, slots=True)
class Missed:
    """It ends without a start. `newer`: the deployment that goes instead, 0 if there is none."""

    description: str
    newer: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """Somebody has run it, and GitHub has its last status."""

    status: DeploymentStatus


@dataclass(frozen=True, slots=True)
class Resumed:
    """It had begun, and its run is searched; until `hidden_until`, what its tool does not show may
    still appear."""

    status: DeploymentStatus
    environment: Environment
    handler: Handler
    hidden_until: datetime


@dataclass(frozen=True, slots=True)
class Unknown:
    """GitHub has no such deployment any more, or denies what it has of it."""

    reason: str
    outcome: Outcome


# "No route" would be the newest status of what somebody else deploys.
_BEGUN_ELSEWHERE = Unknown(
    "no environment of deploy.yml takes it, and somebody has begun it", "ignored"
)

Verdict = Late | Missed | Ended | Resumed | Unknown


def may_be_late(services: Services, event: Event | UserError) -> bool:
    """Whether GitHub is to be asked about it."""
    if not isinstance(event, DeploymentCreated):
        return False
    created_at = event.deployment.created_at
    late = services.github.now() - created_at > services.timing.late_after
    return late or services.precedes_restore(created_at)


async def examine(
    services: Services, delivery: Delivery, event: DeploymentCreated
) -> Verdict | None:
    """None: it is not late, or nothing that the relay would run. Not within a transaction. Errors:
    `RetryAt`, until GitHub has answered."""
    if not may_be_late(services, event) or await _is_known(services, event.deployment.id):
        return None
    repo = event.repository.full_name
    environment = route(services.config, repo, event.deployment.environment)
    if environment is None and (event.watched or services.config.unrouted == "ignore"):
        return None
    if is_left_alone(services, event.deployment, environment, watched=event.watched):
        return None
    try:
        return await _ask(services, delivery, event, environment)
    except UnknownOutcome as error:
        raise RetryAt(str(error), _again_at(services, delivery)) from error
    except Rejected as error:
        return await _rejected(services, delivery, event, error)


async def _is_known(services: Services, deployment_id: int) -> bool:
    """It was understood before, or has ended."""
    row = await services.read(deployment_id)
    return row is not None and (row.requested_at is not None or row.phase.final)


async def _ask(
    services: Services,
    delivery: Delivery,
    event: DeploymentCreated,
    environment: Environment | None,
) -> Verdict | None:
    repository = event.repository
    where = Scope(event.installation_id, repository.full_name, repository.id)
    statuses = await statuses_of(services.github, where, event.deployment.id)
    if not may_be_late(services, event):
        return None  # this machine's clock was wrong, as GitHub has just said
    if statuses and _phase(statuses[0]).final:
        return Ended(statuses[0])
    if environment is None or event.watched:
        return _BEGUN_ELSEWHERE if environment is None and statuses else None
    arrival = _arrival(services, delivery, event.deployment)
    if begun := _begun(services, arrival, event.deployment.id, environment, statuses):
        return begun
    if environment.starts_by_itself:
        return Late(arrival.note)
    return await _as_it_is_old(services, where, event.deployment, environment, arrival)


def _arrival(services: Services, delivery: Delivery, deployment: GitHubDeployment) -> Arrival:
    return Arrival(
        way=delivery.way,
        created_at=deployment.created_at,
        received_at=delivery.received_at,
        now=services.github.now(),
        late_after=services.timing.late_after,
    )


def _phase(status: DeploymentStatus) -> Phase:
    """A state that nobody knows may mean anything but an end."""
    return phase_of(status.state) or Phase.IN_PROGRESS


def _begun(
    services: Services,
    arrival: Arrival,
    deployment_id: int,
    environment: Environment,
    statuses: list[DeploymentStatus],
) -> Unknown | Resumed | None:
    if statuses and arrival.way == "listed":
        # A job of GitHub Actions perhaps, of which GitHub's list says nothing else.
        return Unknown("somebody else has begun it since it was listed", outcome="ignored")
    if environment.starts_by_itself or not _has_begun(services, deployment_id, statuses):
        return None
    return _resumed(services, environment, statuses[0])


def _has_begun(services: Services, deployment_id: int, statuses: list[DeploymentStatus]) -> bool:
    """Or may have: the relay has accepted it before, and has forgotten it since."""

    def ours(status: DeploymentStatus) -> bool:
        by_url = services.links.is_entry_url(status.log_url, deployment_id)
        return by_url or services.github.is_this_app(status.app)

    return any(ours(one) or _phase(one) not in _NOT_BEGUN for one in statuses)


def _resumed(services: Services, environment: Environment, status: DeploymentStatus) -> Resumed:
    handler, timing = services.handler(environment), services.timing
    hidden = status.created_at + timing.claim_lasts + handler.appears_within
    return Resumed(status, environment, handler, hidden)


async def _as_it_is_old(
    services: Services,
    where: Scope,
    deployment: GitHubDeployment,
    environment: Environment,
    arrival: Arrival,
) -> Verdict:
    """Nobody has begun it."""

    def counts(newer: GitHubDeployment) -> bool:
        return not is_left_alone(services, newer, environment)

    newer = await newest_after(services.github, where, deployment, counts)
    async with services.pool.connection() as connection:
        # GitHub's filter tells upper case from lower case.
        known = await deployment_order.requested_after(
            connection, where.repo_id, deployment.environment, deployment.id
        )
    if newer := max(newer, known):
        return Missed(superseded(arrival, newer), newer)
    limit = environment.recover_within
    if arrival.now - deployment.created_at > limit:
        return Missed(too_old(arrival, limit, retry=services.actions_enabled))
    return Late(arrival.note)


async def apply(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    verdict: Missed | Ended | Resumed,
    requested: Columns,
) -> str:
    """In the transaction that understands its delivery. Returns what is recorded of that."""
    match verdict:
        case Missed():
            columns: Columns = {**requested, "lateness": Lateness.MISSED}
            if verdict.newer:
                columns["superseded_by"] = verdict.newer
            transition = Transition(Phase.ERROR, verdict.description)
            await transitions.announce(services, connection, row, transition, columns=columns)
            return verdict.description
        case Ended():
            status = verdict.status
            await transitions.take_over(services, connection, row, status, requested)
            return f"it has ended before ({status.state}, by {status.creator or 'somebody'})"
        case Resumed():
            await _resume(services, connection, row, verdict, requested)
            return "it had begun before, and its run is searched"


async def _resume(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    verdict: Resumed,
    requested: Columns,
) -> None:
    now, environment = services.clock(), verdict.environment
    columns: Columns = {
        **requested,
        "lateness": Lateness.RESUMED,
        "handler": environment.handler,
        "started_at": now,
        "starting": True,
        "deadline": now + environment.timeout,
        "start_claimed_until": verdict.hidden_until,
        "possible_starts": 1 if is_risky(verdict.handler) else 0,
    }
    phase = phase_of(verdict.status.state) or row.phase
    follow = [Key("advance", row.id)]
    if follows(row.phase, phase):
        transition = Transition(phase, one_line(verdict.status.description))
        await transitions.apply(services, connection, row, transition, columns=columns, also=follow)
    else:
        await deployments.change(connection, row, **columns)
        await schedule.request(connection, follow)


async def _rejected(
    services: Services, delivery: Delivery, event: DeploymentCreated, error: Rejected
) -> Unknown:
    """It counts once it has lasted; that GitHub has no such deployment, where both of its addresses
    say so."""
    lasted = services.clock() - _since(services, delivery)
    timing = services.timing
    missing = error.status == HTTPStatus.NOT_FOUND and not isinstance(error, Forbidden)
    if missing and lasted >= timing.rejection_counts_after:
        repository = event.repository
        where = Scope(event.installation_id, repository.full_name, repository.id)
        try:
            if not await exists(services.github, where, event.deployment.id):
                return Unknown("it was deleted on GitHub before it could run", outcome="ignored")
        except (Rejected, UnknownOutcome):
            pass  # it is asked again
    elif lasted >= timing.installation_given_up_after:
        return Unknown(
            f"not run, as GitHub does not say what became of it: {error}", outcome="failed"
        )
    raise RetryAt(str(error), _again_at(services, delivery)) from error


def _since(services: Services, delivery: Delivery) -> datetime:
    """When GitHub may have been asked first."""
    return max(delivery.received_at, services.opened_at)


def _again_at(services: Services, delivery: Delivery) -> datetime:
    now, timing = services.clock(), services.timing
    lasted = now - _since(services, delivery)
    return now + growing_pause(lasted / 4, timing.recheck_at_least, timing.recheck_at_most)

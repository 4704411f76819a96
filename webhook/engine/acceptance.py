"""What deliveries mean, decided without changing anything: `receive` does it, and a simulation says
it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from webhook.config.creators import DEFAULT_CREATORS, left_alone_message, takes
from webhook.config.environments import Environment
from webhook.config.routing import matches_any, no_route_message, route
from webhook.deployments.models import GitHubDeployment
from webhook.deployments.phases import Phase, follows, phase_of
from webhook.engine.protection_rules import asker_of
from webhook.engine.services import Services
from webhook.engine.transitions import Transition
from webhook.github.events import (
    DeploymentCreated,
    DeploymentStatus,
    Event,
    Ignored,
    Ping,
    StatusCreated,
    WorkflowRunUpdated,
)
from webhook.store import tool_events
from webhook.store.database import Async
from webhook.store.deliveries import Outcome
from webhook.store.deployments import Columns, DeploymentRow

# What became of a delivery, why, and the deployment that it is about.
Result: TypeAlias = tuple[Outcome, str, int | None]
# What became of the delivery of a watched deployment.
WATCHED = "watched: a GitHub Actions workflow deploys it"
# The handler whose runs GitHub reports by itself.
ACTIONS = "github-actions"


def without_effect(services: Services, event: Event) -> Result | None:
    """None: it may change something."""
    match event:
        case Ping():
            return "done", "the webhook works", None
        case Ignored(reason):
            return "ignored", reason, None
        case StatusCreated():
            deployment_id = event.deployment.id
            if services.links.is_entry_url(event.status.log_url, deployment_id):
                return "ignored", "a status of our own", deployment_id
    return None


def left_alone(services: Services, event: DeploymentCreated | StatusCreated) -> str:
    """Why: its creator deploys it, too. A job of GitHub Actions does as well, and is watched. "":
    it is not."""
    deployment = event.deployment
    environment = route(services.config, event.repository.full_name, deployment.environment)
    alone = is_left_alone(services, deployment, environment, watched=event.watched)
    return left_alone_message(deployment) if alone else ""


def is_left_alone(
    services: Services,
    deployment: GitHubDeployment,
    environment: Environment | None,
    *,
    watched: bool = False,
) -> bool:
    if watched or services.github.is_this_app(deployment.app):
        return False
    return not takes(environment.creators if environment else DEFAULT_CREATORS, deployment)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What becomes of a deployment. `unrouted`: nothing, as no environment of deploy.yml is meant;
    `refused`: it ends as an error that says so; `known`: it was requested before; `ended`: before
    its request came; `watched`: a job deploys it; `accepted`: its handler will. `reason`: why it is
    neither of the last two."""

    verdict: Literal["known", "unrouted", "ended", "refused", "watched", "accepted"]
    environment: Environment | None
    reason: str = ""


def accept(services: Services, event: DeploymentCreated, row: DeploymentRow) -> Acceptance:
    if row.requested_at is not None:
        return Acceptance("known", None, "this deployment was requested before")
    environment = route(services.config, row.repo, row.environment)
    no_route = "" if environment else no_route_message(services.config, row.repo, row.environment)
    if environment is None and (event.watched or services.config.unrouted == "ignore"):
        return Acceptance("unrouted", None, no_route)
    if row.phase.final:
        ended = f"this deployment has ended already ({row.phase})"
        return Acceptance("ended", environment, ended)
    if environment is None:
        return Acceptance("refused", None, no_route)
    return Acceptance("watched" if event.watched else "accepted", environment)


def transition_of(accepted: Acceptance) -> Transition:
    """With which a deployment begins."""
    match accepted.verdict:
        case "refused":
            return Transition(Phase.ERROR, accepted.reason)
        case "watched":
            return Transition(Phase.QUEUED, "A GitHub Actions workflow deploys it")
    return Transition(Phase.QUEUED)


def request_of(
    services: Services,
    event: DeploymentCreated,
    accepted: Acceptance,
    delivery: str,
    production: bool | None,
) -> Columns:
    """What is recorded with it. `production`: as its policy says; None: as GitHub does."""
    columns: Columns = {
        "requested_at": services.clock(),
        "delivery": delivery,
        "watched": event.watched,
        **asker_of(event),
    }
    if production is not None:
        columns["production"] = production
    if accepted.verdict == "accepted" and accepted.environment:
        columns["handler"] = accepted.environment.handler
    return columns


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of a status that somebody reported. `phase`: None for a state that GitHub does not document.
    `waits`: the deployment is held back, which such a report does not end: anybody who may push
    could say that it is done. `counts`: it changes the deployment. `reason`: why it does not."""

    phase: Phase | None
    waits: bool
    counts: bool
    reason: str = ""


def judge(row: DeploymentRow, status: DeploymentStatus) -> Judgement:
    phase = phase_of(status.state)
    waits = (bool(row.blockers) or row.waits_for_rule) and not row.phase.final
    counts = phase is not None and follows(row.phase, phase) and not waits
    reason = ""
    if waits:
        wait = "wait of its job" if row.rule_run_id else "wait for its start"
        reason = f"'{status.state}' does not end the {wait}"
    elif not counts:
        reason = f"'{status.state}' changes nothing in phase '{row.phase}'"
    return Judgement(phase, waits, counts, reason)


async def is_followed(
    services: Services, connection: Async, event: WorkflowRunUpdated
) -> tuple[bool, bool]:
    """Whether a workflow run, or its job, may be that of a deployment; and whether it is one of an
    event that starts such runs."""
    repository = event.repository
    envs = [one for one in services.config.envs if matches_any(one.repos, repository.full_name)]
    used = any(one.handler == ACTIONS for one in envs)
    ours = event.event in ("deployment", "workflow_dispatch")
    if not used:
        return False, ours
    known = ours or await tool_events.knows_run(connection, repository.id, event.run_id)
    return known, ours

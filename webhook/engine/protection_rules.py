"""Deployment protection rules: GitHub asks before a job with an `environment:` runs, and waits.

The job's deployment passes the same gates as others, and waits for them with its job. The decision
is for all jobs of the run that wait for the environment: the oldest of their deployments is asked,
the others go with it. Who asks for it is who started the run.

Nobody else can answer: what deploy.yml does not route is rejected with the remedy, as a job that
gets no answer waits for 30 days.
"""

from dataclasses import replace

import structlog

from webhook.config.routing import no_route_message, route
from webhook.deployments.phases import Phase, follows
from webhook.engine import gates, run_attempts, transitions
from webhook.engine.policy import kept_policy
from webhook.engine.rule_answers import RuleAnswer, comment, send
from webhook.engine.services import Services
from webhook.engine.transitions import Transition
from webhook.github import events
from webhook.github import protection_rules as github_rules
from webhook.github.events import DeploymentCreated, Person, ProtectionRuleRequested
from webhook.github.protection_rules import Answer
from webhook.github.tokens import Scope
from webhook.store import deliveries, deployments, outbox, protection_rules, schedule
from webhook.store.database import Async
from webhook.store.deliveries import Delivery, Outcome
from webhook.store.deployments import Columns, DeploymentRow
from webhook.text import one_line

log = structlog.get_logger()

# The description of one that waits with its job.
ASKED = "GitHub asks whether its job may run"
FOREIGN_CALLBACK = (
    "deployment_callback_url is not that of a run of this repository at GITPLOY_GITHUB_BASE_URL,"
    " and was not called"
)


async def received(
    services: Services, connection: Async, event: ProtectionRuleRequested, delivery: Delivery
) -> tuple[Outcome, str, int | None]:
    run_id = run_of(services, event)
    if run_id is None:
        log.warning("protection rule not answered", callback=one_line(event.callback_url, 300))
        return "failed", FOREIGN_CALLBACK, event.deployment.id if event.deployment else None
    reason = await _refusal(services, connection, event)
    if await _is_of_earlier_attempt(connection, event, run_id):
        return "ignored", "the run was started again since, and waits", None
    if reason or event.deployment is None:
        await schedule.request(connection, [schedule.Key("reject_rule", delivery.id)])
        deployment_id = event.deployment.id if event.deployment else None
        return "done", f"rejected: {reason}", deployment_id
    row = await deployments.get_or_create(
        connection, event.deployment, event.repository, event.installation_id
    )
    if row.rule_run_id:
        return await _requested_again(services, connection, row)
    requested: Columns = {"delivery": delivery.guid, "rule_run_id": run_id}
    row = await _wait(services, connection, row, {**requested, **_asker(row, event.sender)})
    await run_attempts.end_earlier(services, connection, row)
    return "done", f"run {run_id} waits for the gates", row.id


def run_of(services: Services, event: ProtectionRuleRequested) -> int | None:
    """None: its answer would go elsewhere."""
    api, repo = services.github.api_url, event.repository.full_name
    return github_rules.run_of(event.callback_url, api, repo)


async def _refusal(services: Services, connection: Async, event: ProtectionRuleRequested) -> str:
    """Why it is rejected without asking any gate; "" if it is not."""
    if reason := refusal(services, event):
        return reason
    assert event.deployment is not None
    row = await deployments.read(connection, event.deployment.id)
    if row is not None and row.requested_at is not None and not row.watched:
        return f"The relay itself runs deployment {row.id}"
    if row is not None and row.phase.final:
        return f"Deployment {row.id} has ended already ({row.phase}); run the job again"
    return ""


def refusal(services: Services, event: ProtectionRuleRequested) -> str:
    """The same, as far as deploy.yml and the event say it."""
    deployment, repo = event.deployment, event.repository.full_name
    environment = route(services.config, repo, event.environment)
    if environment is None or not environment.protection_rule:
        return unanswered(services, repo, event.environment)
    if deployment is None or deployment.environment.lower() != event.environment.lower():
        return (
            "GitHub has created no deployment for this job, which the gates need; leave"
            " 'deployment: false' out of its environment"
        )
    return ""


async def _is_of_earlier_attempt(
    connection: Async, event: ProtectionRuleRequested, run_id: int
) -> bool:
    """It comes late: an answer would be for the jobs that wait now."""
    row = await deployments.read(connection, event.deployment.id) if event.deployment else None
    if row is None or not row.phase.final:
        return False
    return bool(await protection_rules.siblings(connection, replace(row, rule_run_id=run_id)))


def unanswered(services: Services, repo: str, name: str) -> str:
    """Why no gate is asked for a job with that environment."""
    environment = route(services.config, repo, name)
    what = "turn its protection rule off in the repository's settings"
    if environment is None:
        return f"{no_route_message(services.config, repo, name)}; add it to deploy.yml, or {what}"
    shown = one_line(environment.name, 60)
    return (
        f"deploy.yml does not say that the gates of '{shown}' answer for jobs of GitHub Actions;"
        f" add protection_rule: true to it, or {what}"
    )


async def _requested_again(
    services: Services, connection: Async, row: DeploymentRow
) -> tuple[Outcome, str, int]:
    if row.started_at is not None:  # that was of another attempt, or GitHub has not heard of it
        waiting = await run_attempts.take_back(services, connection, row)
        await gates.ask_again(connection, [one.id for one in waiting])
        return "done", "it was let through before, and its gates are asked again", row.id
    await gates.ask_again(connection, [row.id])
    return "ignored", "GitHub has asked for this deployment before", row.id


async def _wait(
    services: Services, connection: Async, row: DeploymentRow, requested: Columns
) -> DeploymentRow:
    environment, now = route(services.config, row.repo, row.environment), services.clock()
    production = None
    if environment is not None:
        policy = await kept_policy(services, connection, row, environment)
        production = policy.environment.production_environment
    columns: Columns = {
        **requested,
        "requested_at": row.requested_at or now,
        "watched": True,
        "rule_check_at": now + services.timing.rule_runs_checked_after,
        "production": row.production if production is None else production,
    }
    if follows(row.phase, Phase.QUEUED):
        transition = Transition(Phase.QUEUED, ASKED)
        row = await transitions.apply(services, connection, row, transition, columns=columns)
    else:
        row = await deployments.change(connection, row, **columns)
    await gates.ask_again(connection, [row.id])
    return row


def _asker(row: DeploymentRow, person: Person) -> Columns:
    """Whom GitHub's event of the deployment names counts before the sender of that of the rule."""
    if row.asker or person == events.NOBODY:
        return {}
    return {"asker": person.login, "asker_id": person.id}


def asker_of(event: DeploymentCreated) -> Columns:
    """Of a job's deployment."""
    person = event.started_by
    return {"asker": person.login, "asker_id": person.id} if event.watched and person.id else {}


async def keep_asker(connection: Async, row: DeploymentRow, event: DeploymentCreated) -> None:
    """GitHub's event of the deployment came after that of the rule."""
    known = asker_of(event)
    changes = known.get("asker_id", row.asker_id) != row.asker_id
    if not row.rule_run_id or row.ended_at is not None or not changes:
        return
    await deployments.change(connection, row, **known)
    # Those of the run are asked who has started it last: it may be another attempt.
    run = str(row.rule_run_id)
    waiting = await protection_rules.waiting_in_run(connection, row.repo_id, run)
    await gates.ask_again(connection, waiting)


async def run_ended(services: Services, connection: Async, repo_id: int, run_id: int) -> None:
    found = await protection_rules.run_ended(connection, repo_id, run_id, services.clock())
    await gates.ask_again(connection, found)


async def reported_while_held(
    services: Services, connection: Async, row: DeploymentRow, phase: Phase | None
) -> None:
    """Somebody may have written that; GitHub itself says whether the job still waits."""
    if phase is None or not follows(Phase.QUEUED, phase):
        return
    await protection_rules.check_at(connection, row.id, services.clock())
    await gates.ask_again(connection, [row.id])


async def reject_rule(services: Services, delivery_id: int) -> None:
    """What no gate is asked for."""
    async with services.pool.connection() as connection:
        delivery = await deliveries.read(connection, delivery_id)
        if delivery is None:
            return
        event = events.parse(delivery.event, delivery.body)
        assert isinstance(event, ProtectionRuleRequested)
        run_id = run_of(services, event)
        reason = await _refusal(services, connection, event)
        entry = await outbox.entry_of(
            connection, "protection_rule", None, purpose="rejected", position=delivery.id
        )
        late = run_id is None or await _is_of_earlier_attempt(connection, event, run_id)
    if run_id is None or late or entry.over:
        return
    marker = f"(relay delivery {delivery.id}-{delivery.guid[:8]})"
    text = comment(reason or "deploy.yml has been changed since; run the job again", marker)
    repository = event.repository
    where = Scope(event.installation_id, repository.full_name, repository.id)
    answer = Answer(event.environment, "rejected", text)
    await send(services, entry, RuleAnswer(services, where, run_id, answer, marker))

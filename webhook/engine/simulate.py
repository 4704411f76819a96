"""What would happen with a delivery, without any effect: by the functions with which it would be
done, in the present state of the store.

It is simulated as if it came for the first time. GitHub, tools and Slack are not asked; what only
they know is said to be unknown. A slip would be an error: the store is read only, and nobody is
called (`webhook.worker.open_simulation`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from handlers import TITLES, durations
from handlers.errors import HandlerError
from webhook.config.environments import Environment
from webhook.config.routing import route
from webhook.deployments.lateness import late_by
from webhook.deployments.phases import Phase
from webhook.deployments.simulation import (
    SimulatedStatus,
    Simulation,
)
from webhook.engine import file_checks, protection_rules, pushes, transitions
from webhook.engine.acceptance import (
    WATCHED,
    accept,
    is_followed,
    judge,
    left_alone,
    request_of,
    transition_of,
    without_effect,
)
from webhook.engine.gates import foresee, has_gates
from webhook.engine.policy import FilePolicy
from webhook.engine.services import Services
from webhook.engine.simulated import LONGEST, Simulated, shown, status_of
from webhook.engine.transitions import Transition
from webhook.errors import UserError
from webhook.github import events
from webhook.github.commit_events import CommitReported, Pushed
from webhook.github.events import (
    AuthorizationRevoked,
    CheckRerequested,
    DeploymentCreated,
    Event,
    InstallationChanged,
    ProtectionRuleRequested,
    PullRequestChanged,
    StatusCreated,
    WorkflowRunUpdated,
)
from webhook.logs import hidden
from webhook.store import deployments
from webhook.store.deployments import Columns, DeploymentRow
from webhook.text import one_line

_NONE: tuple[str, ...] = ()
_NO_CHANNEL = "Nobody hears of it elsewhere: who does is said by an environment"
_UNTIL_THEN = "once nothing holds it back"
_NOT_STARTED = "instead of a start of its tool"
_TOOL_RUNS, _TOOL_ENDS = "once its tool runs", "as its tool ends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A delivery. `name`: its GUID, or the file that it is in."""

    name: str
    event: str
    body: bytes


async def simulate(services: Services, subject: Subject) -> Simulation:
    empty = Simulation(delivery=subject.name, event=subject.event, outcome="done")
    try:
        event = events.parse(subject.event, subject.body)
    except UserError as error:
        return replace(empty, outcome="failed", reason=shown(services, str(error)))
    async with services.pool.connection() as connection:
        found = await _Event(services, connection, replace(empty, **_about(event))).of(event)
    simulation: Simulation = hidden(found, services.redactor)
    return replace(simulation, reason=one_line(simulation.reason, LONGEST))


def _about(event: Event) -> dict[str, Any]:
    match event:
        case DeploymentCreated() | StatusCreated():
            one = event.deployment
            text = f"deployment {one.id} of {event.repository.full_name} to {one.environment}"
            text += (
                f": {one.ref} ({one.sha[:7]}), task {one.task}, by {one.creator or 'nobody known'}"
            )
            if isinstance(event, StatusCreated):
                text = f"'{event.status.state}' by {event.status.creator or 'somebody'} of {text}"
            known: dict[str, Any] = {"deployment": one.id}
        case ProtectionRuleRequested():
            text = f"a job of {event.repository.full_name} waits for {event.environment}"
            known = {"deployment": event.deployment.id if event.deployment else None}
        case Pushed():
            text, known = f"{event.sha[:7] or 'nothing'} is at {event.ref}", {}
        case WorkflowRunUpdated():
            text, known = f"run {event.run_id} of GitHub Actions, started by {event.event}", {}
        case _:
            text, known = "", {}
    repository = getattr(event, "repository", None)
    name = repository.full_name if repository else ""
    return {"about": one_line(text, LONGEST), "repository": one_line(name, 140), **known}


@dataclass(frozen=True, slots=True)
class _Event(Simulated):
    async def of(self, event: Event) -> Simulation:
        if found := without_effect(self.services, event):
            return self.ended(found[0], found[1])
        match event:
            case DeploymentCreated():
                return await self._created(event)
            case StatusCreated():
                return await self._reported(event)
            case ProtectionRuleRequested():
                return await self._rule_requested(event)
            case WorkflowRunUpdated():
                return await self._run_updated(event)
        return self._other(event)

    def _other(self, event: Event) -> Simulation:
        """Of these, deploy.yml says nothing, or little."""
        match event:
            case Pushed():
                wanted = list(pushes.deployed_on(self.services.config, event))
                outcome, reason, _ = pushes.outcome_of(event, wanted)
                return self.ended(outcome, reason)
            case InstallationChanged():
                return self.ended("done", f"installation {event.installation_id}: {event.action}")
            case AuthorizationRevoked():
                return self.ended("done", f"{event.login} is signed out")
            case PullRequestChanged():
                reason = file_checks.left_out(self.services, event)
                about = f"pull request {event.number}: its deploy.yml is checked"
                return self.ended("ignored" if reason else "done", reason or about)
            case CheckRerequested():
                about = f"{event.sha[:7]} is checked again, if the relay has checked it before"
                return self.ended("done", about)
            case CommitReported():
                about = f"what waits for {event.context or 'checks'} of {event.sha[:7]} is asked"
                return self.ended("done", f"{about} again; automatic deployments, if any")
        raise AssertionError(f"{event} has no effect")

    # -- a deployment -------------------------------------------------------------------------

    async def _created(self, event: DeploymentCreated) -> Simulation:
        services, deployment = self.services, event.deployment
        row, known = await self.row_of(event)
        start = replace(
            self.start, route=self.route_of(row.repo, row.environment), **self.known(known)
        )
        if reason := left_alone(services, event):
            return replace(start, outcome="ignored", reason=reason, creator=reason)
        creator = f"{deployment.creator or 'its creator'} is taken"
        if env := route(services.config, row.repo, row.environment):
            creator += f" (creators: {', '.join(env.creators)})"
        start = replace(start, creator=creator)
        accepted = accept(services, event, row)
        if accepted.verdict in ("known", "unrouted", "ended"):
            return replace(start, outcome="ignored", reason=accepted.reason)
        environment, policy, caveats = accepted.environment, None, _NONE
        if environment is not None:
            policy, caveats = await self.policy_of(row, environment)
        production = policy.environment.production_environment if policy else None
        columns = request_of(services, event, accepted, start.delivery, production)
        first = transitions.entered(services, row, transition_of(accepted), columns)
        if accepted.verdict == "watched":
            done = replace(start, reason=WATCHED, unknown=caveats)
            return await self.notified(done, first, [self.entry(first)])
        entry = self.entry(first)
        done = replace(start, statuses=(status_of(entry),), unknown=caveats)
        if environment is None or policy is None:
            done = replace(done, notes=(_NO_CHANNEL,))
            return await self.notified(done, first, [entry])
        return await self._started(done, first, environment, policy)

    async def _started(
        self, done: Simulation, row: DeploymentRow, environment: Environment, policy: FilePolicy
    ) -> Simulation:
        """What its gates say, and its tool gets."""
        services, entries = self.services, [self.entry(row)]
        foreseen = None
        if has_gates(environment):
            foreseen = await foresee(services, self.connection, row, environment, policy)
        held = foreseen.transition if foreseen else None
        starts = row
        if foreseen and held:
            row = transitions.entered(services, row, held, foreseen.columns)
            entries.append(self.entry(row, held))
        done = replace(
            done,
            gates=self.gates_of(foreseen.decision.blockers) if foreseen else (),
            statuses=tuple(status_of(one) for one in entries),
        )
        if not row.phase.final:
            done = self._begun(done, starts, environment, waits=held is not None)
            done = replace(
                done,
                unknown=(
                    *done.unknown,
                    *self._late(done, row, environment),
                    *_unknown(environment),
                ),
            )
        return await self.notified(done, row, entries, held or Transition(row.phase))

    def _late(
        self, done: Simulation, row: DeploymentRow, environment: Environment
    ) -> Iterator[str]:
        """Of one that has not arrived yet: GitHub is asked, which may say other things."""
        age = self.services.clock() - row.created_at
        if not done.known and age > self.services.timing.late_after:
            limit = durations.write(environment.recover_within.total_seconds())
            text = f"It is {late_by(age)} old, and is simulated as if it"
            asked = "had come at once; of one that comes late, GitHub is asked what has happened"
            yield f"{text} {asked} since, and one older than {limit} (recover_within) is not run"

    def _begun(
        self, done: Simulation, starts: DeploymentRow, environment: Environment, *, waits: bool
    ) -> Simulation:
        """What its tool gets, and what follows, as far as it is known."""
        try:
            calls = self.calls_of(starts, environment)
        except HandlerError as error:
            text = shown(self.services, str(error))
            when = f"{_UNTIL_THEN}, {_NOT_STARTED}" if waits else _NOT_STARTED
            ended = SimulatedStatus(state=Phase.ERROR.value, description=text, when=when)
            return replace(done, statuses=(*done.statuses, ended))
        return replace(done, **calls, statuses=(*done.statuses, *self._later(starts, waits=waits)))

    def _later(self, starts: DeploymentRow, *, waits: bool) -> Iterator[SimulatedStatus]:
        running: Columns = {"started_at": self.services.clock()}
        transition = Transition(Phase.IN_PROGRESS)
        runs = transitions.entered(self.services, starts, transition, running)
        when = f"{_UNTIL_THEN}, and {_TOOL_RUNS}" if waits else _TOOL_RUNS
        yield replace(status_of(self.entry(runs)), when=when)
        ends = "success, failure or error"
        yield SimulatedStatus(state=ends, when=_TOOL_ENDS)

    # -- other events -------------------------------------------------------------------------

    async def _reported(self, event: StatusCreated) -> Simulation:
        known = await deployments.read(self.connection, event.deployment.id)
        environment = event.deployment.environment
        route_ = self.route_of(event.repository.full_name, environment)
        start = replace(self.start, route=route_)
        reason = left_alone(self.services, event)
        if reason and (known is None or known.requested_at is None):
            return replace(start, outcome="ignored", reason=reason, creator=reason)
        row = known or deployments.new_row(
            event.deployment, event.repository, event.installation_id
        )
        judgement = judge(row, event.status)
        if not judgement.counts or judgement.phase is None:
            return replace(start, reason=judgement.reason, phase=row.phase.value)
        transition = Transition(judgement.phase, event.status.description)
        row = transitions.entered(self.services, row, transition, {})
        return await self.notified(start, row, [self.entry(row)])

    async def _rule_requested(self, event: ProtectionRuleRequested) -> Simulation:
        services, repo = self.services, event.repository
        start = replace(self.start, route=self.route_of(repo.full_name, event.environment))
        run_id = protection_rules.run_of(services, event)
        if run_id is None:
            return replace(start, outcome="failed", reason=protection_rules.FOREIGN_CALLBACK)
        reason = protection_rules.refusal(services, event)
        if reason or event.deployment is None:
            return replace(
                start, reason=f"rejected: {reason}", statuses=(_answer("rejected", reason),)
            )
        row = deployments.new_row(event.deployment, repo, event.installation_id)
        asked: Columns = {
            "requested_at": services.clock(),
            "delivery": start.delivery,
            "watched": True,
            "rule_run_id": run_id,
            "asker": event.sender.login,
            "asker_id": event.sender.id,
        }
        transition = Transition(Phase.QUEUED, protection_rules.ASKED)
        row = transitions.entered(services, row, transition, asked)
        start = replace(start, reason=f"run {run_id} waits for the gates")
        return await self._answered(start, row)

    async def _answered(self, start: Simulation, row: DeploymentRow) -> Simulation:
        """What the gates say of a job that waits, whose workflow deploys it."""
        services = self.services
        environment = route(services.config, row.repo, row.environment)
        assert environment is not None, "it is not refused"
        policy, caveats = await self.policy_of(row, environment)
        foreseen = await foresee(services, self.connection, row, environment, policy)
        through = Transition(row.phase, transitions.LET_THROUGH)
        then, asked = foreseen.transition or through, self.entry(row)
        row = transitions.entered(services, row, then, foreseen.columns)
        entry = self.entry(row, then)
        state = "approved" if then is through else "rejected" if row.phase.final else "comment"
        done = replace(
            start,
            gates=self.gates_of(foreseen.decision.blockers),
            statuses=(_answer(state, entry.description),),
            unknown=caveats,
        )
        return await self.notified(done, row, [asked, entry], then)

    async def _run_updated(self, event: WorkflowRunUpdated) -> Simulation:
        followed, _ = await is_followed(self.services, self.connection, event)
        if not followed:
            return self.ended("ignored", "this workflow run belongs to no deployment")
        return self.ended("done", f"run {event.run_id} of GitHub Actions")


def _answer(state: str, description: str) -> SimulatedStatus:
    """To the rule, on GitHub."""
    text = one_line(description, LONGEST)
    return SimulatedStatus(state=state, description=text, to="answer to the protection rule")


def _unknown(environment: Environment) -> Iterator[str]:
    if not has_gates(environment):
        yield f"Its tool, {environment.handler}, starts by itself, past every gate"
    yield "Whether GitHub would still take its statuses is asked before each start"
    tool = TITLES.get(environment.handler, environment.handler)
    yield f"What {tool} answers is not known before"

"""The gates of a deployment, asked before each start.

They are asked in the transaction that records the start, under a lock that nobody else who starts
something in that environment can have: so of two workers only one passes. Whoever has to wait says
so once for each new reason, and is asked again when one of its reasons ends by itself, or at once
when something changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from handlers import durations
from handlers import errors as tool_errors
from webhook.config.environments import Environment
from webhook.config.routing import route
from webhook.deployments.blockers import Blocker, describe, in_full, next_end
from webhook.deployments.phases import Phase
from webhook.engine import run_attempts, transitions
from webhook.engine.policy import fetch_policy, is_current, kept_policy, recent_policy
from webhook.engine.services import PolicyServices, Services, scope
from webhook.engine.transitions import Transition
from webhook.errors import Conflict, Rejected
from webhook.gates.contract import Candidate, Neighbour, Policy, Snapshot, keys_of
from webhook.gates.decision import Decision, decide
from webhook.gates.serialization import ONE_AT_A_TIME, SerializationKeys, superseding
from webhook.github import deployments as github_deployments
from webhook.store import (
    deployment_order,
    deployments,
    gates,
    open_deployments,
    protection_rules,
    schedule,
)
from webhook.store.database import Async
from webhook.store.deployments import Columns, DeploymentRow
from webhook.store.gates import Prospective, Situation

log = structlog.get_logger()

# What keeps a renamed repository from other gates; no gate, as nobody can skip it.
RENAMED = "rename"
# It has not started: what it had begun for that is undone.
_UNSTARTED: Columns = {
    "started_at": None,
    "started_on": None,
    "config_digest": "",
    "starting": False,
    "deadline": None,
    "start_claimed_until": None,
    "tool_error": "",
    "tool_error_since": None,
}


def has_gates(environment: Environment) -> bool:
    """Not where the tool starts by itself, past every gate."""
    return not getattr(environment.options, "starts_by_itself", False)


async def admit(
    services: Services, row: DeploymentRow, environment: Environment, start: Columns
) -> DeploymentRow:
    """The row as it is then: with `start` recorded, ended, or with its `blockers`. Errors:
    `Rejected` if GitHub has it no more."""
    if row.blockers:
        recent = await recent_policy(services, row, environment)
        if await _waits_as_before(services, row, recent):
            return row
    policy = await fetch_policy(services, row, environment)
    async with services.pool.connection() as connection, connection.transaction():
        await gates.lock_environment(connection, row)
        situation = await gates.read(connection, row.id, policy, services.clock())
        if situation is None or situation.row.version != row.version:
            raise Conflict(f"deployment {row.id} was changed by another process")
        if not await is_current(connection, row, policy):
            raise Conflict(f"the deploy.yml of {row.repo} was changed meanwhile")
        decision = _decide(services, situation)
        if _takes_turns(policy, decision):
            if newer := superseding(situation.snapshot):
                return await _supersede(services, connection, row, newer.id, newer.ref)
            if released := await _newer_released(services, connection, situation):
                return await _give_way(services, connection, row, environment, released)
            await _supersede_older(services, connection, row, policy.environment)
        if decision.blockers:
            return await _hold(services, connection, row, environment, decision)
        return await _let_start(services, connection, row, start)


def _takes_turns(policy: Policy, decision: Decision) -> bool:
    return decision.ready and keys_of(policy.environment, SerializationKeys).serialization


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What `admit` would do. `transition` and `columns`: what the row would become; None: it would
    start."""

    decision: Decision
    transition: Transition | None
    columns: Columns


async def foresee(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    environment: Environment,
    policy: Policy,
) -> Foreseen:
    """Of a row that need not be in the store; nothing is changed."""
    situation = await gates.imagine(connection, row, policy, services.clock())
    decision = _decide(services, situation)
    if _takes_turns(policy, decision):
        if newer := superseding(situation.snapshot):
            return Foreseen(decision, *_superseded(newer.id, newer.ref))
        if released := await _newer_released(services, connection, situation):
            decision = _way_given(released)
    if not decision.blockers:
        return Foreseen(decision, None, {})
    return Foreseen(decision, *_held(services, row, environment, decision))


async def _let_start(
    services: Services, connection: Async, row: DeploymentRow, start: Columns
) -> DeploymentRow:
    if row.blockers:  # messages ask nobody for an answer any more
        await _notify_earlier(services, connection, row)
    if row.rule_run_id:
        return await transitions.let_through(services, connection, row, start)
    changed = await deployments.change(connection, row, **start) if start else row
    if row.blockers:
        await services.notify(connection, changed)
    return changed


async def require_restart(services: Services, row: DeploymentRow, environment: Environment) -> None:
    """Of one that may run already: it is not taken back, but not started once more either. Errors:
    those of a handler."""
    now = services.clock()
    policy = await fetch_policy(services, row, environment)
    async with services.pool.connection() as connection:
        situation = await gates.read(connection, row.id, policy, now)
    if situation is None:
        raise Conflict(f"deployment {row.id} was changed by another process")
    decision = _decide(services, situation)
    if decision.blockers:
        text = f"It may run already, and is not started again: {describe(decision.blockers, now)}"
        raise tool_errors.Rejected(text) if decision.denied else tool_errors.NotReady(text)


async def wait_again(services: Services, row: DeploymentRow) -> bool:
    """Of a job that was let through, before GitHub hears of it: whether it waits with its run
    again, as a gate holds it back by now, or another job of that run asks too."""
    environment = route(services.config, row.repo, row.environment)
    answers = environment is not None and environment.protection_rule
    policy = await fetch_policy(services, row, environment) if environment and answers else None
    async with services.pool.connection() as connection, connection.transaction():
        await gates.lock_environment(connection, row)
        current = await deployments.read(connection, row.id)
        if current is None or current.version != row.version:
            raise Conflict(f"deployment {row.id} was changed by another process")
        if policy and not await protection_rules.siblings(connection, row):
            situation = await gates.read(connection, row.id, policy, services.clock())
            if situation and not _decide(services, situation).blockers:
                return False
        back = await run_attempts.take_back(services, connection, current)
        await ask_again(connection, [one.id for one in back])
    return True


def asked_again_at(
    services: Services, row: DeploymentRow, environment: Environment, *, waited: bool
) -> datetime | None:
    """When a deployment is that was not admitted; None: it has ended. `waited`: it did before, too;
    else what it waits for may have ended at this moment, by somebody who did not know yet of it."""
    if row.ended_at is not None:
        return None
    now, timing = services.clock(), services.timing
    soon = now + timing.recheck_at_least
    if not waited:
        return soon
    again = now + services.pacing.stretched(timing.gates_asked_again_after)
    ends = next_end(row.blockers) or again
    return max(soon, min(again, ends, _waits_until(services, row, environment)))


async def would_roll_back(
    services: PolicyServices, prospective: Prospective, environment: Environment
) -> bool:
    """Whether a deployment that was asked for now would count as a rollback."""
    policy = Policy(environment)
    async with services.pool.connection() as connection:
        snapshot = await gates.foresee(connection, prospective, policy, services.clock())
    return snapshot.candidate.rolls_back


async def would_meet(
    services: PolicyServices, prospective: Prospective, policy: Policy
) -> Decision:
    """What a deployment would meet that was asked for now."""
    async with services.pool.connection() as connection:
        snapshot = await gates.foresee(connection, prospective, policy, services.clock())
    return _decide_on(services, snapshot, frozenset())


async def ask_all(services: Services) -> None:
    """Of everything that waits."""
    async with services.pool.connection() as connection:
        await ask_again(connection, await open_deployments.all_waiting(connection))


async def ask_again(connection: Async, deployment_ids: Sequence[int]) -> None:
    if deployment_ids:
        keys = [schedule.Key("advance", deployment_id) for deployment_id in deployment_ids]
        await schedule.request(connection, keys)


def _decide(services: Services, situation: Situation) -> Decision:
    return _decide_on(services, situation.snapshot, situation.skipped)


def _decide_on(services: PolicyServices, snapshot: Snapshot, skipped: frozenset[str]) -> Decision:
    decision = decide(snapshot, services.gates, skipped=skipped)
    renamed = _renamed(services, snapshot.candidate)
    return Decision((*decision.blockers, renamed)) if renamed else decision


def _renamed(services: PolicyServices, candidate: Candidate) -> Blocker | None:
    """Whoever may rename or transfer a repository must not leave the gates of its old name behind:
    where deploy.yml gives it others by a mere pattern, somebody has to say that they are meant."""
    here = route(services.config, candidate.repo, candidate.environment)
    if here is None or candidate.repo.lower() in map(str.lower, here.repos):
        return None
    for name in candidate.former_names:
        former = route(services.config, name, candidate.environment)
        if (
            former
            and _in_use(services, former)
            and _gates_of(services, former) != _gates_of(services, here)
        ):
            return Blocker(
                gate=RENAMED,
                reason=f"{name} is now {candidate.repo}, which deploy.yml gives other gates",
                way_out=f"Add {candidate.repo} to the repos of the environment that is meant",
            )
    return None


def _in_use(services: PolicyServices, environment: Environment) -> bool:
    return any(gate.key_in_use(environment) for gate in services.gates.values())


def _gates_of(services: PolicyServices, environment: Environment) -> list[Any]:
    fields = (name for gate in services.gates.values() for name in gate.Keys.model_fields)
    return [getattr(environment, name, None) for name in fields]


async def _waits_as_before(services: Services, row: DeploymentRow, policy: Policy) -> bool:
    """Of most that wait: so whoever starts something there does not wait for them, too. Errors:
    `Rejected` if it is free, and GitHub has it no more."""
    async with services.pool.connection() as connection:
        situation = await gates.read(connection, row.id, policy, services.clock())
    if situation is None:
        return False
    decision = _decide(services, situation)
    if not decision.blockers:
        await _require_on_github(services, row)
    is_over = services.clock() >= _waits_until(services, row, policy.environment)
    replaced = decision.ready and superseding(situation.snapshot)
    return decision.blockers == row.blockers and not (is_over or replaced)


async def _require_on_github(services: Services, row: DeploymentRow) -> None:
    """Somebody may have deleted it there while it waited. A job waits nevertheless."""
    if row.rule_run_id:
        return
    if not await github_deployments.exists(services.github, scope(row), row.id):
        raise Rejected("It was deleted on GitHub while it waited", certain=False)


async def _supersede(
    services: Services, connection: Async, row: DeploymentRow, by: int, ref: str
) -> DeploymentRow:
    """The newest that nothing else blocks goes next."""
    log.info("superseded", superseded=row.id, by=by)
    transition, columns = _superseded(by, ref)
    return await transitions.announce(services, connection, row, transition, columns=columns)


def _superseded(by: int, ref: str) -> tuple[Transition, Columns]:
    transition = Transition(Phase.SUPERSEDED, f"Superseded by deployment {by} ({ref})")
    return transition, {**_UNSTARTED, "superseded_by": by}


async def _supersede_older(
    services: Services, connection: Async, row: DeploymentRow, environment: Environment
) -> None:
    only_rules = gates.asks_rules_only(environment)
    runs = set()
    for older in await deployment_order.older_unstarted(connection, row, only_rules=only_rules):
        if older.rule_run_id not in runs:  # the other jobs of its run end with it
            await _supersede(services, connection, older, row.id, row.shown_ref)
        if older.rule_run_id:
            runs.add(older.rule_run_id)


async def _newer_released(
    services: Services, connection: Async, situation: Situation
) -> Neighbour | None:
    """What has kept a newer one is kept as it was asked last, and may have ended since for both: a
    lock, say. Then the newer one goes first, whichever is asked first."""
    for newer in situation.snapshot.neighbours:
        waits = newer.id > situation.row.id and not newer.running
        if waits and await _is_released(services, connection, newer.id):
            return newer
    return None


async def _is_released(services: Services, connection: Async, newer_id: int) -> bool:
    """By the policy of its own: the repository may have been renamed since the older one."""
    row = await deployments.read(connection, newer_id)
    own = route(services.config, row.repo, row.environment) if row else None
    if row is None or own is None:
        return False
    policy = await kept_policy(services, connection, row, own)
    found = await gates.read(connection, newer_id, policy, services.clock())
    return found is not None and _decide(services, found).ready


async def _give_way(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    environment: Environment,
    newer: Neighbour,
) -> DeploymentRow:
    """It is not superseded yet: the newer one may have been deleted on GitHub."""
    decision = _way_given(newer)
    if decision.blockers != row.blockers:  # once: it may be away for minutes
        await ask_again(connection, [newer.id])
        if row.blockers:  # GitHub need not hear of a moment
            return await deployments.change(connection, row, blockers=decision.blockers)
    return await _hold(services, connection, row, environment, decision)


def _way_given(newer: Neighbour) -> Decision:
    reason = f"Waits for deployment {newer.id} ({newer.ref}), which is newer, to start"
    return Decision((Blocker(gate=ONE_AT_A_TIME, reason=reason),))


async def _hold(
    services: Services,
    connection: Async,
    row: DeploymentRow,
    environment: Environment,
    decision: Decision,
) -> DeploymentRow:
    blockers = decision.blockers
    transition, columns = _held(services, row, environment, decision)
    if transition.phase.final:
        return await transitions.announce(services, connection, row, transition, columns=columns)
    if blockers == row.blockers:
        return row
    log.info("held back", gates=[one.gate for one in blockers])
    if not row.blockers:
        await _notify_earlier(services, connection, row)
    asks, held = not transition.asked_before, transition.held
    # What is new may be beyond the 140 characters; whoever reads those has read them.
    reads_anew = transitions.counts(row, row.phase, transition.description)
    is_news = reads_anew or asks or held != _for_person(row.blockers)
    write = transitions.announce if is_news else transitions.apply
    return await write(services, connection, row, transition, columns=columns)


def _held(
    services: Services, row: DeploymentRow, environment: Environment, decision: Decision
) -> tuple[Transition, Columns]:
    """How it waits, or ends: refused, or after too long a wait."""
    blockers, now = decision.blockers, services.clock()
    if decision.denied:
        denied = [one for one in blockers if one.denies]
        return Transition(Phase.ERROR, _described(row, denied, now)), _UNSTARTED
    if now >= _waits_until(services, row, environment):
        waited = durations.write(environment.wait_limit.total_seconds())
        text = _described(row, blockers, now, f"Gave up after waiting {waited}: ")
        return Transition(Phase.ERROR, text), _UNSTARTED
    asks, held = _asks_anew(row.blockers, blockers), _for_person(blockers)
    text = _described(row, blockers, now)
    transition = Transition(row.phase, text, held=held, asked_before=not asks)
    return transition, {**_UNSTARTED, "blockers": blockers}


async def _notify_earlier(services: Services, connection: Async, row: DeploymentRow) -> None:
    """What is live can be rolled back while this one waits, and no more once it starts."""
    if services.actions_enabled and (earlier := await deployment_order.before(connection, row)):
        await schedule.request(connection, [], notified=[earlier])


def _described(
    row: DeploymentRow, blockers: Sequence[Blocker], now: datetime, before: str = ""
) -> str:
    """A comment on a job has more room than a status."""
    if row.rule_run_id:
        return before + in_full(blockers, now)
    return describe(blockers, now, before)


def _for_person(blockers: Sequence[Blocker]) -> bool:
    return any(one.for_person for one in blockers)


def _asks_anew(before: Sequence[Blocker], blockers: Sequence[Blocker]) -> bool:
    """Somebody who was not asked yet, rather than the same people while something else changes."""
    asked, asks = ({who for one in some for who in one.asks} for some in (before, blockers))
    return bool(asks - asked) or (_for_person(blockers) and not _for_person(before))


def _waits_until(services: Services, row: DeploymentRow, environment: Environment) -> datetime:
    return row.waits_until(environment.wait_limit) or services.clock() + environment.wait_limit

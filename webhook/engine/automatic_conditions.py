"""What an automatic deployment waits for, and whether it is still wanted: asked again each time,
in this order, so that what costs GitHub most is asked last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from handlers import durations
from webhook.config.creation import Payload, is_deployed_on, payload_of
from webhook.config.environments import Environment
from webhook.config.routing import no_route_message, route
from webhook.deployments.lateness import late_by
from webhook.deployments.models import is_production
from webhook.deployments.phases import FAILED
from webhook.engine.creation import Plan, description_of, marker
from webhook.engine.policy import FilePolicy, asks_for, policy_at, shows_commit
from webhook.engine.services import Services
from webhook.errors import INVALID, Rejected, RetryAt, UnknownOutcome
from webhook.gates.chains import promotion_of
from webhook.gates.contract import ALLOW, Deny, Wait
from webhook.gates.promotion import lacks, wait_for
from webhook.github import compare, repositories
from webhook.github.checks import ContextState, contexts_of
from webhook.github.deployments import NewDeployment
from webhook.github.tokens import Scope
from webhook.store import automatic, promotions
from webhook.store.actions import ActionRow
from webhook.store.automatic import AutomaticDeployment, State
from webhook.text import and_more, one_line

_MOST_NAMED = 5
_BRANCH = "refs/heads/"


@dataclass(frozen=True, slots=True)
class Waits:
    """`contexts`: the checks that it waits for. `until`: when it ends, if that is known.
    `asked_for`: False where nobody knows whether any rule asks for it."""

    reason: str
    contexts: Sequence[str] = ()
    until: datetime | None = None
    asked_for: bool = True


@dataclass(frozen=True, slots=True)
class Ends:
    """`asked_for`: as of `Waits`. `announced`: people hear of it, as of all that fails."""

    state: State
    reason: str
    code: str = ""
    asked_for: bool = True
    announced: bool = False


@dataclass(frozen=True, slots=True)
class Unwanted:
    """No rule asks for it."""


@dataclass(frozen=True, slots=True)
class Ready:
    """`listed`: the environment as the operator's deploy.yml alone has it."""

    row: AutomaticDeployment
    scope: Scope
    listed: Environment
    environment: Environment
    payload: Payload | None

    def plan(self, action: ActionRow) -> Plan:
        """Exactly this commit, whose checks were looked at: GitHub, whose own list may be late, is
        not to look at them again."""
        row, environment = self.row, self.environment
        request = NewDeployment(
            ref=row.sha,
            environment=row.environment,
            task=environment.task or "deploy",
            payload=self.payload,
            description=description_of(self.listed, environment, _requested(row)),
            production=is_production(row.environment, environment.production_environment),
            marker=marker(action),
        )
        promoted = f"Promoted to {row.environment} automatically"
        message = promoted if row.cause == "promotion" else ""
        return Plan(self.scope, request, message, ref_name=row.ref_name)


Answer = Ready | Waits | Ends | Unwanted


async def ask(services: Services, row: AutomaticDeployment) -> Answer:
    scope = Scope(row.installation_id, row.repo, row.repo_id)
    try:
        policy = await policy_at(services, scope, row.environment, sha=row.sha)
        listed = route(services.config, row.repo, row.environment)
        if policy is None or listed is None:
            return Ends("failed", no_route_message(services.config, row.repo, row.environment))
        if answer := await _rules(services, row, policy):
            return answer
        environment = policy.environment
        return (
            await _chain(services, row, environment)
            or await _already_there(services, row)
            or await _late(services, row, scope, listed)
            or await _checks(services, row, scope, environment.required_contexts)
            or await _head(services, row, scope)
            or Ready(row, scope, listed, environment, payload_of(environment, {}))
        )
    except (RetryAt, UnknownOutcome, Rejected) as error:
        return _unknown(error)


async def _rules(services: Services, row: AutomaticDeployment, policy: FilePolicy) -> Answer | None:
    """What deploy.yml, and the repository's own, say of it."""
    asked_for = await _asked_for(row, policy)
    if asked_for is False:
        return _not_wanted(services, row, policy)
    known = asked_for is not None
    if isinstance(policy.file, Deny):
        reason = ". ".join(filter(None, (policy.file.reason, policy.file.way_out)))
        return Ends("failed", reason, asked_for=known)
    if isinstance(policy.file, Wait):
        return Waits(policy.file.reason, until=policy.file.until, asked_for=known)
    try:
        payload_of(policy.environment, {})
    except ValueError as error:
        return Ends("failed", f"its payload needs a person: {error}")
    return None


async def _asked_for(row: AutomaticDeployment, policy: FilePolicy) -> bool | None:
    """None: the repository's own file may, which is wrong or not shown."""
    if row.cause == "promotion":
        return promotion_of(policy.environment).promote is not None
    if is_deployed_on(policy.environment, row.ref):
        return True
    return False if policy.file is ALLOW else await asks_for(policy, row.environment, row.ref)


def _not_wanted(
    services: Services, row: AutomaticDeployment, policy: FilePolicy
) -> Waits | Unwanted:
    """Just after the push that brings the repository's file, GitHub may show the one before."""
    counts_at = row.at + services.timing.head_may_lag_for
    late = services.clock() >= counts_at or row.cause == "promotion"
    if late or shows_commit(policy, row.sha):
        return Unwanted()
    reason = "GitHub may show the repository's deploy.yml as it was before"
    return Waits(reason, until=counts_at, asked_for=False)


def _unknown(error: RetryAt | UnknownOutcome | Rejected) -> Waits:
    """What GitHub does not say is no permission."""
    until = error.at if isinstance(error, RetryAt) else None
    return Waits(f"GitHub could not be asked: {one_line(str(error))}", until=until)


async def _chain(
    services: Services, row: AutomaticDeployment, environment: Environment
) -> Waits | Ends | None:
    """What is promoted must be what runs in the environments before, since long enough."""
    if row.cause != "promotion":
        return None
    keys = promotion_of(environment)
    async with services.pool.connection() as connection:
        newest = await promotions.newest_in(connection, row.repo_id, keys.after)
    found = lacks(keys, newest, row.sha, services.clock())
    for one in found:
        if not one.passes:
            return Ends("superseded", one.reason)
    if not found:
        return None
    wait = wait_for(found)
    return Waits(wait.reason, until=wait.until)


async def _already_there(services: Services, row: AutomaticDeployment) -> Ends | None:
    async with services.pool.connection() as connection:
        newest = await automatic.newest_in(connection, row, services.timing.late_after)
    if newest is None:
        return None
    if newest.sha == row.sha and newest.phase not in FAILED:
        return Ends("skipped", f"deployment {newest.id} is of this commit already")
    if newest.rolled_back:
        # Kargo calls it a hold: what a person has just left must not come back by itself.
        by = f"{newest.by} has gone back to {newest.sha[:7]} since (deployment {newest.id})"
        then = "push is deployed" if row.cause == "push" else "commit is promoted"
        return Ends("superseded", f"{by}; the next {then} again", announced=True)
    return None


async def _late(
    services: Services, row: AutomaticDeployment, scope: Scope, listed: Environment
) -> Ends | None:
    """As for deployments (webhook.engine.lateness). Of several pushes, people hear of the last."""
    if row.code != automatic.LATE:
        return None
    age = late_by(services.github.now() - row.at)
    limit = durations.write(listed.recover_within.total_seconds())
    reason = f"the relay learned of its push after {age}; older than {limit}: deploy it by hand"
    head = await _commit_now(services, row, scope)
    if head != row.sha:
        return Ends("superseded", _where_now(row, head))
    return Ends("failed", reason, automatic.LATE)


async def _checks(
    services: Services, row: AutomaticDeployment, scope: Scope, needed: Sequence[str]
) -> Waits | Ends | None:
    if not needed:
        return None
    known = await contexts_of(services.github, scope, row.sha)
    failed = [name for name in needed if known.get(name) == "failure"]
    if failed:
        again = "it is deployed if that succeeds when it is run again"
        reason = f"{_listed(failed)} did not succeed; {again}"
        return Ends("failed", reason, automatic.CHECKS_FAILED)
    missing = [name for name in needed if known.get(name) != "success"]
    return Waits(_awaited(row, missing, known), needed) if missing else None


def _awaited(
    row: AutomaticDeployment, missing: Sequence[str], known: Mapping[str, ContextState]
) -> str:
    begun = [name for name in missing if name in known]
    unseen = [name for name in missing if name not in known]
    parts = [f"{_listed(begun)} has not ended"] if begun else []
    parts += [f"{_listed(unseen)} has not been reported"] if unseen else []
    why = f" ({row.skips_checks} in its message keeps workflows from running)"
    return " and ".join(parts) + (why if unseen and row.skips_checks else "")


def _listed(names: Sequence[str]) -> str:
    return and_more([one_line(name, 60) for name in names], most=_MOST_NAMED)


async def _head(services: Services, row: AutomaticDeployment, scope: Scope) -> Ends | Waits | None:
    """A branch may have moved on, a tag be gone. Just after a push, GitHub may not show that
    everywhere yet."""
    moved = await _moved(services, row, scope) if row.cause == "push" else ""
    counts_at = row.at + services.timing.head_may_lag_for
    if moved and services.clock() < counts_at:
        return Waits(moved, until=counts_at)
    return Ends("superseded", moved) if moved else None


async def _moved(services: Services, row: AutomaticDeployment, scope: Scope) -> str:
    """Where the branch or tag is now, "" if this commit may be deployed. That a branch has a newer
    one whose own checks are waited for, that is not to be deployed, or of whose push no event came,
    is no reason to leave this one out: else a busy branch would never be deployed."""
    head = await _commit_now(services, row, scope)
    if head == row.sha:
        return ""
    if head and row.ref.startswith(_BRANCH):
        async with services.pool.connection() as connection:
            newer = await automatic.of_commit(connection, row.repo_id, row.environment, head)
        awaited = newer is None or (
            newer.order > row.order and newer.state not in ("created", "superseded")
        )
        if awaited and await _contains(services, scope, head, row.sha):
            return ""
    return _where_now(row, head)


async def _commit_now(services: Services, row: AutomaticDeployment, scope: Scope) -> str:
    """Of its branch or tag; "" if that is gone."""
    try:
        return await repositories.commit_of(services.github, scope, row.ref.removeprefix("refs/"))
    except Rejected as error:
        if error.code != INVALID:
            raise
        return ""


def _where_now(row: AutomaticDeployment, head: str) -> str:
    if head:
        return f"{row.ref_name} is at {head[:7]} now"
    return f"the {'branch' if row.ref.startswith(_BRANCH) else 'tag'} {row.ref_name} is gone"


async def _contains(services: Services, scope: Scope, head: str, sha: str) -> bool:
    """Whether the branch still has that commit: a forced push takes commits away."""
    since = await compare.compare(services.github, scope, sha, head)
    return since is not None and since.behind == 0


def _requested(row: AutomaticDeployment) -> str:
    if row.cause == "push":
        return f"Deployed automatically for a push by {row.login or 'somebody'}"
    return f"Promoted automatically, as deployment {row.from_deployment_id} was successful"

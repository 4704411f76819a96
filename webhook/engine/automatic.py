"""Automatic deployments: what a push or a promotion asks for is created once it may be.

A job for each. It may be killed at any line and run again: until it is begun, everything is found
out anew; from then on there is a row of `actions`, by which GitHub gets one deployment
(webhook.engine.creation). Events ask again at once, and a clock does, in case one was lost.
"""

from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from handlers import durations
from webhook.config.routing import route
from webhook.deployments.announcement import Announcement
from webhook.deployments.automatic import requested
from webhook.engine import automatic_conditions
from webhook.engine.automatic_conditions import Ends, Ready, Unwanted, Waits
from webhook.engine.creation import ANY_MARKER, DeploymentWrite, Plan
from webhook.engine.services import Services
from webhook.errors import Conflict, Rejected, RetryAt, UnknownOutcome
from webhook.github.deployments import find_deployment
from webhook.github.tokens import Scope
from webhook.store import actions, announcements, automatic, schedule
from webhook.store.actions import ActionRow
from webhook.store.automatic import AutomaticDeployment, Proposal
from webhook.store.database import Async
from webhook.store.schedule import Key
from webhook.text import LONGEST_KEPT, one_line
from webhook.timing import growing_pause

log = structlog.get_logger()

_IN_DOUBT = "GitHub gave no clear response, for a day; check there whether it was created"


async def propose(services: Services, connection: Async, proposal: Proposal) -> int | None:
    """Deploy it as soon as it may be, in the transaction that learns of the cause. Its id; None if
    its environment had this commit before, or is not in deploy.yml."""
    environment = route(services.config, proposal.repo, proposal.environment)
    if environment is None:
        return None
    now = services.clock()
    deadline = max(now, proposal.due_at or now) + environment.wait_limit
    if proposal.at is not None:
        limit = max(environment.recover_within, services.timing.late_after)
        proposal = replace(proposal, late=services.github.now() - proposal.at > limit)
    automatic_id = await automatic.add(connection, proposal, now, deadline)
    if automatic_id is not None and not proposal.skip_reason:
        await ask_again(connection, [automatic_id])
    return automatic_id


async def ask_all(services: Services) -> None:
    """Of everything that waits."""
    async with services.pool.connection() as connection:
        await ask_again(connection, await automatic.all_waiting(connection))


async def ask_again(connection: Async, automatic_ids: list[int]) -> None:
    if automatic_ids:
        await schedule.request(
            connection, [Key("deploy_automatically", one) for one in automatic_ids]
        )


async def deploy_automatically(services: Services, automatic_id: int) -> None:
    async with services.pool.connection() as connection:
        row = await automatic.read(connection, automatic_id)
    if row is None or row.state != "waiting":
        return
    structlog.contextvars.bind_contextvars(
        automatic=row.id, cause=row.cause, repo=row.repo, environment=row.environment, sha=row.sha
    )
    if row.action_id is not None:
        await _create(services, row, row.action_id, None)
        return
    match await automatic_conditions.ask(services, row):
        case Waits() as waits:
            await _wait(services, row, waits)
        case Ends() as ends:
            if ends.code != automatic.LATE or not await _was_created(services, row):
                await _end(services, row, ends)
        case Unwanted():
            async with services.pool.connection() as connection, connection.transaction():
                await automatic.forget(connection, row)
                await _notify_source(connection, row)
        case Ready() as ready:
            if not await _was_created(services, row):
                await _begin(services, row, ready)


async def _was_created(services: Services, row: AutomaticDeployment) -> bool:
    """Before the store was restored from a backup; then that is recorded."""
    try:
        created = await _created_since_backup(services, row)
    except (UnknownOutcome, Rejected) as error:
        await _wait(services, row, Waits(f"GitHub could not be asked: {one_line(str(error))}"))
        return True
    if created is None:
        return False
    async with services.pool.connection() as connection, connection.transaction():
        reason = "it was created before the relay was restored from a backup"
        now = services.clock()
        await automatic.end(connection, row, "created", reason, now, created=created)
        await _notify_source(connection, row)
        await ask_again(connection, await automatic.others_waiting(connection, row))
    return True


async def _created_since_backup(services: Services, row: AutomaticDeployment) -> int | None:
    """Deliveries come once more after a restore, a push as well: it may have been the cause of
    another one already."""
    restore = services.restored
    if restore is None:
        return None
    if services.clock() - restore.restored_at > services.timing.restore_counts_for:
        return None
    return await find_deployment(
        services.github,
        Scope(row.installation_id, row.repo, row.repo_id),
        sha_or_ref=row.sha,
        environment=row.environment,
        marker=ANY_MARKER,
    )


async def _wait(services: Services, row: AutomaticDeployment, waits: Waits) -> None:
    """Until its deadline; else raise `RetryAt`."""
    now = services.clock()
    if now >= row.deadline:
        waited = durations.write((now - row.at).total_seconds())
        reason = f"{waits.reason}; it has waited for {waited}"
        await _end(services, row, Ends("failed", reason, asked_for=waits.asked_for))
        return
    raise await _hold(services, row, waits, until=row.deadline)


async def _hold(
    services: Services, row: AutomaticDeployment, waits: Waits, until: datetime | None = None
) -> RetryAt:
    """When it is looked at again. Who waits for long says why, once."""
    now, timing = services.clock(), services.timing
    announced_at = max(row.at, row.due_at or row.at) + timing.automatic_announced_after
    async with services.pool.connection() as connection, connection.transaction():
        await automatic.still_waits(connection, row.id, waits.reason, waits.contexts)
        if now >= announced_at and waits.asked_for:
            await _announce(services, connection, row, "waits", f"waits: {waits.reason}")
    if waits.reason != row.reason:
        log.info("an automatic deployment waits", reason=waits.reason)
    least, most = timing.automatic_asked_again_at_least, timing.automatic_asked_again_at_most
    again = waits.until or now + growing_pause(now - row.at, least, most)
    times = [again, *([until] if until else []), *([announced_at] if now < announced_at else [])]
    return RetryAt(waits.reason, min(times))


async def _end(services: Services, row: AutomaticDeployment, ends: Ends) -> None:
    """Without a deployment. People hear of what failed: they expected it."""
    announced = ends.announced or ends.state == "failed"
    reason = one_line(ends.reason, LONGEST_KEPT)
    log.info("no automatic deployment", state=ends.state, reason=reason)
    async with services.pool.connection() as connection, connection.transaction():
        if row.action_id is not None:
            await actions.give_up(connection, row.action_id, "failed", reason, ends.code)
        ended = await automatic.end(
            connection, row, ends.state, reason, services.clock(), code=ends.code
        )
        if ended and announced and ends.asked_for:
            await _announce(services, connection, row, "ended", f"was not deployed: {reason}")
        elif ended and announced:
            await _announce_unknown(services, connection, row, reason)
        await _notify_source(connection, row)
        if row.action_id is not None:  # who waits for that goes on
            await ask_again(connection, await automatic.others_waiting(connection, row))


async def _notify_source(connection: Async, row: AutomaticDeployment) -> None:
    """Its message offers to promote it by hand now."""
    if row.from_deployment_id:
        await schedule.request(connection, [], notified=[row.from_deployment_id])


async def _announce(
    services: Services, connection: Async, row: AutomaticDeployment, what: str, text: str
) -> None:
    sign = "\N{HOURGLASS WITH FLOWING SAND}" if what == "waits" else "\N{CROSS MARK}"
    cause = f", pushed by {row.login}" if row.login else ""
    if row.cause == "promotion":
        cause = f", {requested(row.cause, row.login)}"
    first = f"{sign} {row.repo}, {row.environment}: {row.shown_ref}{cause}, {text.rstrip('. ')}."
    await _say(services, connection, row, f"{row.id}:{row.at.timestamp()}:{what}", first)


async def _announce_unknown(
    services: Services, connection: Async, row: AutomaticDeployment, reason: str
) -> None:
    """Of an environment once a day: most pushes are not to be deployed."""
    first = (
        f"\N{CROSS MARK} {row.repo}, {row.environment}: whether pushes such as {row.shown_ref} are"
        f" to be deployed is not known, and they were not: {reason.rstrip('. ')}."
    )
    key = f"unknown:{row.repo_id}:{row.environment.lower()}:{row.at:%Y-%m-%d}"
    await _say(services, connection, row, key, first)


async def _say(
    services: Services, connection: Async, row: AutomaticDeployment, key: str, text: str
) -> None:
    announcement = Announcement(key=f"automatic:{key}", text=text)
    destinations = services.main_destinations([(row.repo, row.environment)])
    await announcements.add(connection, announcement, destinations)


async def _begin(services: Services, row: AutomaticDeployment, ready: Ready) -> None:
    """The newest that is ready wins: what is older and still waits is superseded. One that is being
    created is waited for, so that the newer one is the newer deployment on GitHub, too."""
    now = services.clock()
    async with services.pool.connection() as connection, connection.transaction():
        await automatic.lock_environment(connection, row)
        others = await automatic.begun_in(connection, row)
        newer = next((one for one in others if one.order > row.order), None)
        older = next((one for one in others if one.order < row.order), None)
        action_id = None
        if newer is None and older is None:
            reason = f"{row.shown_ref} was ready first"
            await automatic.supersede_older(connection, row, reason, now)
            action_id = await automatic.begin(connection, row)
            if action_id is None:
                raise Conflict(f"automatic deployment {row.id} was changed by another process")
    if newer is not None:
        await _end(services, row, Ends("superseded", f"{newer.shown_ref} was ready first"))
    elif older is not None:
        await _wait(services, row, Waits(f"{older.shown_ref} is being created"))
    elif action_id is not None:
        await _create(services, row, action_id, ready)


async def _create(
    services: Services, row: AutomaticDeployment, action_id: int, ready: Ready | None
) -> None:
    """`ready`: what was just found out; None: that may be long ago."""
    async with services.pool.connection() as connection:
        action = await actions.read(connection, action_id)
        row = await automatic.read(connection, row.id) or row
    if action is None:
        await _end(services, row, Ends("failed", "what was to create it was deleted"))
        return
    if action.open:
        creation = _Creation(services, row, action, ready)
        try:
            await DeploymentWrite(services, action, creation.plan, creation.repository).deliver()
        except _Stopped as stopped:
            await _end(services, row, stopped.ends)
            return
        except Rejected as error:
            reason = f"GitHub refused it: {error}"
            await _end(services, row, Ends("failed", reason, "github_rejected"))
            return
        except (RetryAt, UnknownOutcome) as error:
            await _try_again(services, row, action, error)
            return
        async with services.pool.connection() as connection:
            action = await actions.read(connection, action_id) or action
    await _created(services, row, action)


async def _try_again(
    services: Services, row: AutomaticDeployment, action: ActionRow, error: RetryAt | UnknownOutcome
) -> None:
    """Once it has begun, its end is found out, however long that takes, for a day."""
    now, timing = services.clock(), services.timing
    if now > action.at + timing.action_given_up_after:
        await _end(services, row, Ends("failed", _IN_DOUBT, "github_unclear"))
        return
    pause = growing_pause(
        now - action.at, timing.deployment_lookups_after[0], timing.action_lookup_at_most
    )
    again = error.at if isinstance(error, RetryAt) else now + pause
    reason = one_line(str(error))
    if not isinstance(error, _StillWaits):
        reason = f"GitHub does not create it: {reason}"
    waits = Waits(reason, row.contexts, again)
    raise await _hold(services, row, waits) from error


async def _created(services: Services, row: AutomaticDeployment, action: ActionRow) -> None:
    if action.open:
        raise RetryAt("another worker creates it", services.clock() + services.timing.claim_lasts)
    created = action.created_deployment_id
    if created is None:
        await _end(services, row, Ends("failed", action.message))
        return
    async with services.pool.connection() as connection, connection.transaction():
        now = services.clock()
        await automatic.end(connection, row, "created", action.message, now, created=created)
        await ask_again(connection, await automatic.others_waiting(connection, row))
    log.info("deployed automatically", created=created)


class _Stopped(Exception):
    """It is not to be created any more."""

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends.reason)
        self.ends = ends


class _StillWaits(RetryAt):
    """It may not be created now."""


@dataclass(frozen=True, slots=True)
class _Creation:
    services: Services
    row: AutomaticDeployment
    action: ActionRow
    ready: Ready | None

    async def plan(self) -> Plan:
        found = self.ready or await automatic_conditions.ask(self.services, self.row)
        match found:
            case Ready():
                return found.plan(self.action)
            case Waits():
                raise _StillWaits(found.reason, found.until or self._later())
            case Ends():
                raise _Stopped(found)
            case Unwanted():
                raise _Stopped(Ends("failed", "deploy.yml does not want it any more"))

    async def repository(self) -> Scope:
        return Scope(self.row.installation_id, self.row.repo, self.row.repo_id)

    def _later(self) -> datetime:
        return self.services.clock() + self.services.timing.automatic_asked_again_at_least

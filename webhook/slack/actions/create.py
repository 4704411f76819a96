"""A press becomes a deployment on GitHub: exactly one, however often it is pressed or delivered.

The action is marked `tried` before the call. If it is found so, an earlier call has no known end (a
crash, a time-out), and GitHub's list is searched for its marker, more than once because GitHub may
end late what it was asked for, before anything is made again.
"""

from collections.abc import Awaitable, Callable

import structlog

from webhook.engine.services import Services
from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.github.deployments import create_deployment, find_deployment
from webhook.slack.actions.orders import Order, marker
from webhook.slack.actions.outcome import tell_there
from webhook.slack.actions.permissions import NotDone, require_in_time, scope_of
from webhook.slack.actions.reasons import refused_words
from webhook.store import actions, deployments
from webhook.store.actions import Action

log = structlog.get_logger()

MakeOrder = Callable[[Services, Action], Awaitable[Order]]


async def create(services: Services, action: Action, make_order: MakeOrder) -> None:
    if action.outcome == "tried":
        made = await _found(services, action)
        if made is not None:
            log.info("deployment found again", made=made)
            return await _record(services, action, made, action.words)
        await _not_found(services, action)
    require_in_time(services, action)
    order = await make_order(services, action)
    made = await _made(services, action, order)
    log.info("deployment asked for", made=made, environment=order.wanted.environment)
    return await _record(services, action, made, order.words)


async def _found(services: Services, action: Action) -> int | None:
    if action.tried_until and action.tried_until > services.clock():
        raise RetryAt("a call may be under way", action.tried_until)
    repository = await scope_of(services, action)
    return await find_deployment(
        services.github,
        repository,
        sha_or_ref=action.ref,
        environment=action.environment,
        marker=marker(action),
    )


async def _not_found(services: Services, action: Action) -> None:
    """`RetryAt` until it was looked for often enough."""
    looks, after = action.looks + 1, services.timing.deployment_lookups_after
    async with services.pool.connection() as connection:
        if looks == len(after):
            return await actions.not_tried(connection, action.id)
        rest = after[looks] - after[looks - 1]
        await actions.not_found(connection, action.id, rest.total_seconds())
    raise RetryAt("GitHub gave no clear answer", services.clock() + rest)


async def _made(services: Services, action: Action, order: Order) -> int:
    wanted = order.wanted
    # So that the claim covers one call only.
    await services.github.require_access(order.scope.only(deployments="write"))
    async with services.pool.connection() as connection:
        if not await actions.claim(
            connection,
            action,
            repo=order.scope.repo,
            environment=wanted.environment,
            ref=wanted.ref,
            words=order.words,
            seconds=services.timing.claim_lasts.total_seconds(),
        ):
            raise RetryAt("a call is under way", services.clock() + services.timing.claim_lasts)
    try:
        return await create_deployment(services.github, order.scope, wanted)
    except UnknownOutcome as trouble:
        rest = services.timing.deployment_lookups_after[0]
        async with services.pool.connection() as connection:
            await actions.answer_owed(connection, action.id, rest.total_seconds())
        raise RetryAt(str(trouble), services.clock() + rest) from trouble
    except RetryAt:
        async with services.pool.connection() as connection:
            await actions.not_tried(connection, action.id)
        raise
    except Rejected as refused:
        words = refused_words(refused, action.repo or order.scope.repo)
        raise NotDone(f"Nothing was deployed. {words}", "failed") from refused


async def _record(services: Services, action: Action, made: int, words: str) -> None:
    async with services.pool.connection() as connection, connection.transaction():
        if not await actions.end(connection, action.id, "done", words, made):
            log.warning("somebody else ended this action meanwhile", made=made)
            return
        if action.deployment_id is not None:
            await tell_there(services, connection, action, words, made)
        new = await deployments.read(connection, made)
        if new is not None:  # GitHub was quicker than we, and its message has no link back yet
            await services.tell_slack(connection, new)

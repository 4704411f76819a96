"""A press becomes a deployment on GitHub: exactly one, however often it is pressed or delivered.

The action is marked `tried` before the call. If it is found so, an earlier call has no known end (a
crash, a time-out), and GitHub's list is searched for its marker, more than once because GitHub may
end late what it was asked for, before anything is made again.
"""

from collections.abc import Awaitable, Callable

import structlog

from webhook.outbound.github_deployment import create_deployment, find_deployment
from webhook.outbound.trouble import Later, Refused, Unsure
from webhook.store import actions, deployments
from webhook.store.actions import Action
from webhook.work.answer_checks import NotDone, require_in_time, scope_of
from webhook.work.answer_orders import Order, marker
from webhook.work.answer_told import tell_there
from webhook.work.answer_words import refused_words
from webhook.work.relay import Relay

log = structlog.get_logger()

MakeOrder = Callable[[Relay, Action], Awaitable[Order]]


async def create(relay: Relay, action: Action, make_order: MakeOrder) -> None:
    if action.outcome == "tried":
        made = await _found(relay, action)
        if made is not None:
            log.info("deployment found again", made=made)
            return await _record(relay, action, made, action.words)
        await _not_found(relay, action)
    require_in_time(relay, action)
    order = await make_order(relay, action)
    made = await _made(relay, action, order)
    log.info("deployment asked for", made=made, environment=order.wanted.environment)
    return await _record(relay, action, made, order.words)


async def _found(relay: Relay, action: Action) -> int | None:
    if action.tried_until and action.tried_until > relay.clock():
        raise Later("a call may be under way", action.tried_until)
    repository = await scope_of(relay, action)
    return await find_deployment(
        relay.github,
        repository,
        sha_or_ref=action.ref,
        environment=action.environment,
        marker=marker(action),
    )


async def _not_found(relay: Relay, action: Action) -> None:
    """`Later` until it was looked for often enough."""
    looks, after = action.looks + 1, relay.timing.deployment_lookups_after
    async with relay.pool.connection() as connection:
        if looks == len(after):
            return await actions.not_tried(connection, action.id)
        rest = after[looks] - after[looks - 1]
        await actions.not_found(connection, action.id, rest.total_seconds())
    raise Later("GitHub gave no clear answer", relay.clock() + rest)


async def _made(relay: Relay, action: Action, order: Order) -> int:
    wanted = order.wanted
    # So that the claim covers one call only.
    await relay.github.require_access(order.scope.only(deployments="write"))
    async with relay.pool.connection() as connection:
        if not await actions.claim(
            connection,
            action,
            repo=order.scope.repo,
            environment=wanted.environment,
            ref=wanted.ref,
            words=order.words,
            seconds=relay.timing.claim_lasts.total_seconds(),
        ):
            raise Later("a call is under way", relay.clock() + relay.timing.claim_lasts)
    try:
        return await create_deployment(relay.github, order.scope, wanted)
    except Unsure as trouble:
        rest = relay.timing.deployment_lookups_after[0]
        async with relay.pool.connection() as connection:
            await actions.answer_owed(connection, action.id, rest.total_seconds())
        raise Later(str(trouble), relay.clock() + rest) from trouble
    except Later:
        async with relay.pool.connection() as connection:
            await actions.not_tried(connection, action.id)
        raise
    except Refused as refused:
        words = refused_words(refused, action.repo or order.scope.repo)
        raise NotDone(f"Nothing was deployed. {words}", "failed") from refused


async def _record(relay: Relay, action: Action, made: int, words: str) -> None:
    async with relay.pool.connection() as connection, connection.transaction():
        if not await actions.end(connection, action.id, "done", words, made):
            log.warning("somebody else ended this action meanwhile", made=made)
            return
        if action.deployment_id is not None:
            await tell_there(relay, connection, action, words, made)
        new = await deployments.read(connection, made)
        if new is not None:  # GitHub was quicker than we, and its message has no link back yet
            await relay.tell_slack(connection, new)

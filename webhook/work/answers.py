"""What people ask for in Slack is done, once, and they are told.

A job for each action. It may be killed at any line and run again: how far the action has come
stands in its row (webhook.store.actions). Only what makes something on GitHub may be in doubt after
a crash (webhook.work.answer_create).
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import structlog
from slack_sdk.models.views import View

from webhook.deployments.slack_actions import Kind
from webhook.deployments.slack_commands import choices, is_production
from webhook.outbound.slack import Slack
from webhook.outbound.slack_forms import deploy_form
from webhook.outbound.trouble import Later, Refused, Unsure
from webhook.store import actions
from webhook.store.actions import Action, AskedBefore, Outcome
from webhook.work import answer_orders
from webhook.work.answer_cancel import cancel
from webhook.work.answer_checks import (
    TOO_LATE,
    NotDone,
    allowed,
    require_in_time,
    routed,
    scope_of,
)
from webhook.work.answer_create import LOOK_AFTER, create
from webhook.work.answer_told import said
from webhook.work.clock import now
from webhook.work.relay import Relay

log = structlog.get_logger()

# Slack lets a form be opened for three seconds.
FORM_WITHIN = timedelta(seconds=2.8)
# How long a call without a clear answer is looked for, and the most seconds between two looks.
GIVE_UP_AFTER = timedelta(days=1)
LONGEST_WAIT = 60
# Slack takes no answer after that.
REPLY_WITHIN = timedelta(minutes=30)
_HELD = "Waits until it is confirmed"
_IN_DOUBT = "GitHub gave no clear answer"
_LOOK_THERE = "look there whether it was done before you ask again"
_TYPED = "type all of it instead: /deploy owner/repo environment [ref]"


async def answer(relay: Relay, action_id: int) -> None:
    action = await _read(relay, action_id)
    if action is None or (action.outcome == "waiting" and action.reply is None):
        return  # the second: it waits for another press
    structlog.contextvars.bind_contextvars(
        action=action.id, kind=action.kind, deployment=action.deployment_id
    )
    if action.open:
        await _attempt(relay, action)
        action = await _read(relay, action_id) or action
    await _reply(relay, action)


async def _attempt(relay: Relay, action: Action) -> None:
    try:
        await _do(relay, action)
    except NotDone as why:
        log.info("not done", outcome=why.outcome, words=str(why))
        await _end(relay, action, why.outcome, str(why))
    except AskedBefore:
        await _end(relay, action, "refused", await _asked_before(relay, action))


async def _do(relay: Relay, action: Action) -> None:
    """What nobody can answer now is asked again, for as long as the person may still expect it."""
    if now() > action.at + GIVE_UP_AFTER:
        raise NotDone(f"{_IN_DOUBT}, for a day; {_LOOK_THERE}", "failed")
    try:
        await _ACTS[action.kind](relay, action)
    except (Later, Unsure, Refused) as trouble:
        known = await _read(relay, action.id) or action
        if known.outcome == "tried":
            raise _in_doubt(known, trouble) from trouble
        if isinstance(trouble, Later) and trouble.at <= action.at + TOO_LATE:
            raise
        raise NotDone(f"Nothing was done. {trouble}; ask again later", "failed") from trouble


def _in_doubt(action: Action, trouble: Later | Unsure | Refused) -> Later | NotDone:
    """A call may have got through; it is looked for until GitHub tells."""
    if isinstance(trouble, Refused):
        return NotDone(f"{_IN_DOUBT}, and cannot be asked: {trouble}; {_LOOK_THERE}", "failed")
    if isinstance(trouble, Later):
        return trouble
    seconds = (now() - action.at).total_seconds() / 10
    return Later.in_seconds(str(trouble), min(max(LOOK_AFTER, seconds), LONGEST_WAIT))


async def _asked_before(relay: Relay, action: Action) -> str:
    async with relay.pool.connection() as connection:
        other = await actions.same(connection, action.deployment_id or 0, action.kind)
    who = other.login if other else "Somebody"
    return f"{who} has asked for that already"


async def _end(relay: Relay, action: Action, outcome: Outcome, words: str) -> None:
    async with relay.pool.connection() as connection:
        await actions.end(connection, action.id, outcome, words)


async def _reply(relay: Relay, action: Action) -> None:
    """Once it is known what to say, that it could not be said changes nothing."""
    if action.reply is None:
        return
    in_time = now() < action.at + REPLY_WITHIN
    message = await said(relay, action) if in_time else None
    if message is not None:
        confirmed = bool(action.reply.confirms)
        await relay.replies.give(action.reply.url, message, replace=confirmed)
    async with relay.pool.connection() as connection:
        await actions.answered(connection, action.id)


async def _retry(relay: Relay, action: Action) -> None:
    await create(relay, action, answer_orders.retry)


async def _rollback(relay: Relay, action: Action) -> None:
    await create(relay, action, answer_orders.rollback)


async def _deploy(relay: Relay, action: Action) -> None:
    if action.reply and action.reply.confirms and not action.repo:
        action = await _confirmed(relay, action, action.reply.confirms)
    elif action.outcome == "waiting" and not (action.reply and action.reply.confirms):
        environment = routed(relay, action.repo, action.environment)
        if is_production(environment, action.environment):
            return await _hold(relay, action)
    return await create(relay, action, answer_orders.deploy)


async def _hold(relay: Relay, action: Action) -> None:
    require_in_time(action)
    await allowed(relay, action, await scope_of(relay, action))
    async with relay.pool.connection() as connection:
        await actions.hold(connection, action.id, _HELD)


async def _confirmed(relay: Relay, press: Action, confirms: int) -> Action:
    async with relay.pool.connection() as connection:
        if not await actions.confirm(connection, press, confirms):
            raise NotDone("This was confirmed before, or has waited for too long; ask anew")
    return await _read(relay, press.id) or press


async def _status(relay: Relay, action: Action) -> None:
    require_in_time(action)
    await allowed(relay, action, await scope_of(relay, action))
    await _end(relay, action, "done", "")


async def _form(relay: Relay, action: Action) -> None:
    reply = action.reply
    if relay.slack is None or reply is None or now() > action.at + FORM_WITHIN:
        raise NotDone(f"The form could not be opened in time; {_TYPED}", "failed")
    names, typed = choices(relay.config)
    view = deploy_form(action.repo, names, typed=typed, url=reply.url)
    try:
        await relay.slack.using(action.team, lambda slack: _open(slack, reply.trigger, view))
    except (Later, Unsure, Refused) as trouble:
        log.warning("the form was not opened", words=str(trouble))
        raise NotDone(f"The form could not be opened; {_TYPED}", "failed") from trouble
    await _end(relay, action, "done", "")


async def _open(slack: Slack, trigger: str, view: View) -> None:
    await slack.call(lambda: slack.client.views_open(trigger_id=trigger, view=view))


async def _read(relay: Relay, action_id: int) -> Action | None:
    async with relay.pool.connection() as connection:
        return await actions.read(connection, action_id)


_ACTS: Mapping[Kind, Callable[[Relay, Action], Awaitable[None]]] = {
    "cancel": cancel,
    "retry": _retry,
    "rollback": _rollback,
    "deploy": _deploy,
    "status": _status,
    "form": _form,
}

"""What people ask for in Slack is done, once, and they are told.

A job for each action. It may be killed at any line and run again: how far the action has come
stands in its row (webhook.store.actions). Only what makes something on GitHub may be in doubt after
a crash (webhook.slack.actions.create).
"""

from collections.abc import Awaitable, Callable, Mapping

import structlog

from webhook.deployments.models import is_production
from webhook.engine.services import Services
from webhook.errors import Excluded, Rejected, RetryAt, UnknownOutcome
from webhook.slack.actions import orders
from webhook.slack.actions.cancel import cancel
from webhook.slack.actions.command import choices
from webhook.slack.actions.create import create
from webhook.slack.actions.modal import deploy_form, open_form
from webhook.slack.actions.payloads import Kind
from webhook.slack.actions.permissions import NotDone, allowed, require_in_time, routed, scope_of
from webhook.slack.actions.reasons import asked_before, refused_words
from webhook.slack.actions.respond import TOO_OLD, reply, tell_of_wait
from webhook.store import actions
from webhook.store.actions import Action

log = structlog.get_logger()

_HELD = "Waits until it is confirmed"
_CONFIRMED = "You have confirmed this already; it is being asked for"
_IN_DOUBT = "GitHub gave no clear answer"
_LOOK_THERE = "look there whether it was done before you ask again"
_TYPED = "type all of it instead: /deploy owner/repo environment [ref]"


async def answer(services: Services, action_id: int) -> None:
    action = await _read(services, action_id)
    if action is None or (action.open and not action.claimed and action.reply is None):
        return  # the second: it waits for another press
    structlog.contextvars.bind_contextvars(
        action=action.id, kind=action.kind, deployment=action.deployment_id
    )
    if action.open:
        try:
            await _attempt(services, action)
        except RetryAt as later:
            await tell_of_wait(services, action_id, later)
            raise
        action = await _read(services, action_id) or action
        if action.claimed:
            raise RetryAt("somebody else is at it", services.clock() + services.timing.claim_lasts)
    await reply(services, action)


async def _attempt(services: Services, action: Action) -> None:
    try:
        await _do(services, action)
    except NotDone as why:
        log.info("not done", outcome=why.outcome, words=str(why))
        async with services.pool.connection() as connection:
            await actions.give_up(connection, action.id, why.outcome, str(why))
    except Excluded:
        async with services.pool.connection() as connection:
            words = asked_before(action, await actions.same(connection, action))
            await actions.refuse(connection, action.id, words)


async def _do(services: Services, action: Action) -> None:
    """What nobody can answer now is asked again, for as long as the person may still expect it."""
    if services.clock() > action.at + services.timing.action_given_up_after:
        raise NotDone(f"{_IN_DOUBT}, for a day; {_LOOK_THERE}", "failed")
    latest = action.at + services.timing.action_begins_within
    try:
        await _ACTS[action.kind](services, action)
    except (RetryAt, UnknownOutcome, Rejected) as trouble:
        known = await _read(services, action.id) or action
        if known.claimed and known.lookups < len(services.timing.deployment_lookups_after):
            raise _in_doubt(services, known, trouble) from trouble
        if isinstance(trouble, RetryAt) and trouble.at <= latest:
            raise
        words = str(trouble)
        if isinstance(trouble, Rejected):
            words = refused_words(trouble, action.repo)
        raise NotDone(f"Nothing was done. {words}; ask again later", "failed") from trouble


def _in_doubt(
    services: Services, action: Action, trouble: RetryAt | UnknownOutcome | Rejected
) -> RetryAt | NotDone:
    """A call may have got through; it is looked for until GitHub tells."""
    if isinstance(trouble, Rejected):
        return NotDone(f"{_IN_DOUBT}, and cannot be asked: {trouble}; {_LOOK_THERE}", "failed")
    if isinstance(trouble, RetryAt):
        return trouble
    at, timing = services.clock(), services.timing
    rest = max(timing.deployment_lookups_after[0], (at - action.at) / 10)
    return RetryAt(str(trouble), at + min(rest, timing.action_lookup_at_most))


async def _done(services: Services, action: Action) -> None:
    async with services.pool.connection() as connection:
        await actions.end(connection, action.id, "done", "")


async def _retry(services: Services, action: Action) -> None:
    await create(services, action, orders.retry)


async def _rollback(services: Services, action: Action) -> None:
    await create(services, action, orders.rollback)


async def _deploy(services: Services, action: Action) -> None:
    if action.reply and action.reply.confirms and not action.repo:
        action = await _confirmed(services, action, action.reply.confirms)
    elif not action.claimed and not (action.reply and action.reply.confirms):
        environment = routed(services, action.repo, action.environment)
        if is_production(action.environment, environment.production_environment):
            return await _hold(services, action)
    return await create(services, action, orders.deploy)


async def _hold(services: Services, action: Action) -> None:
    require_in_time(services, action)
    repository = await scope_of(services, action)
    await allowed(services, action, repository)
    ref = await orders.ref_of(services, action, repository)
    async with services.pool.connection() as connection:
        await actions.hold(connection, action.id, _HELD, ref)


async def _confirmed(services: Services, press: Action, confirms: int) -> Action:
    async with services.pool.connection() as connection:
        taken_over = await actions.confirm(connection, press, confirms)
        asked = None if taken_over else await actions.read(connection, confirms)
    if taken_over:
        return await _read(services, press.id) or press
    if asked is None or (asked.team, asked.slack_user) != (press.team, press.slack_user):
        raise NotDone("Only who asked for this may confirm it")
    raise NotDone(TOO_OLD if asked.outcome == "waiting" else _CONFIRMED)


async def _status(services: Services, action: Action) -> None:
    require_in_time(services, action)
    await allowed(services, action, await scope_of(services, action))
    await _done(services, action)


async def _form(services: Services, action: Action) -> None:
    where, late = action.reply, services.clock() > action.at + services.timing.form_within
    if services.slack is None or where is None or late:
        raise NotDone(f"The form could not be opened in time; {_TYPED}", "failed")
    names, typed = choices(services.config)
    view = deploy_form(
        action.repo, names, typed=typed, url=where.url, at=int(action.at.timestamp())
    )
    try:
        await services.slack.using(action.team, lambda slack: open_form(slack, where.trigger, view))
    except (RetryAt, UnknownOutcome, Rejected) as trouble:
        log.warning("the form was not opened", words=str(trouble))
        raise NotDone(f"The form could not be opened; {_TYPED}", "failed") from trouble
    await _done(services, action)


async def _read(services: Services, action_id: int) -> Action | None:
    async with services.pool.connection() as connection:
        return await actions.read(connection, action_id)


_ACTS: Mapping[Kind, Callable[[Services, Action], Awaitable[None]]] = {
    "cancel": cancel,
    "retry": _retry,
    "rollback": _rollback,
    "deploy": _deploy,
    "status": _status,
    "form": _form,
}

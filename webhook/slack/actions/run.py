"""What people request in Slack or on a page is done, once, and they get a reply.

A job for each action. It may be killed at any line and run again: how far the action has come
stands in its row (webhook.store.actions). Only what creates something on GitHub may be in doubt
after a crash (webhook.engine.creation).
"""

from dataclasses import replace

import structlog

from webhook.errors import Excluded, Rejected, RetryAt, UnknownOutcome
from webhook.slack.actions.contract import action_of
from webhook.slack.actions.permissions import Code, Declined, rejection
from webhook.slack.actions.respond import announce_wait, send_reply
from webhook.slack.actions.services import ActionServices
from webhook.slack.identity import known_as
from webhook.store import actions
from webhook.store.actions import ActionRow

log = structlog.get_logger()

_IN_DOUBT = "GitHub gave no clear response"
_CHECK_THERE = "check there whether it was done before you try again"


async def run_action(services: ActionServices, action_id: int) -> None:
    action = await _read(services, action_id)
    if action is None or (action.open and not action.claimed and action.reply is None):
        return  # the second: it waits until it is confirmed
    structlog.contextvars.bind_contextvars(
        action=action.id, kind=action.kind, deployment=action.deployment_id
    )
    if action.kind not in services.actions:
        _leave_to_others(services, action)
        return
    if action.open:
        try:
            await _attempt(services, action)
        except RetryAt as wait:
            await announce_wait(services, action_id, wait)
            raise
        action = await _read(services, action_id) or action
        if action.claimed:
            again = services.clock() + services.timing.claim_lasts
            raise RetryAt("another worker is running it", again)
    await send_reply(services, action)


async def _as_known(services: ActionServices, action: ActionRow) -> ActionRow:
    """Of the same person, however Slack's payload names them."""
    user = await known_as(services.people, action.team, action.slack_user)
    if user == action.slack_user:
        return action
    async with services.pool.connection() as connection:
        await actions.set_user(connection, action.id, user)
    return replace(action, slack_user=user)


def _leave_to_others(services: ActionServices, action: ActionRow) -> None:
    """A newer worker may know it."""
    log.error("an action that this worker does not know")
    if services.clock() < action.at + services.timing.action_begins_within:
        again = services.clock() + services.timing.action_lookup_at_most
        raise RetryAt("another worker may know this action", again)


async def _attempt(services: ActionServices, action: ActionRow) -> None:
    audited = action_of(services, action).audited
    try:
        await _run(services, action)
    except Declined as declined:
        log.info("action declined", outcome=declined.outcome, code=declined.code)
        async with services.pool.connection() as connection:
            await actions.give_up(
                connection,
                action.id,
                declined.outcome,
                str(declined),
                declined.code,
                audited=audited,
            )
    except Excluded:
        async with services.pool.connection() as connection:
            other = await actions.excluded_by(connection, action)
            known = await actions.read(connection, action.id) or action
            message = _requested_before(services, known, other)
            await actions.reject(connection, action.id, message, "excluded", audited=audited)


async def _run(services: ActionServices, action: ActionRow) -> None:
    """What cannot be found out now is tried again, for as long as the person may expect it."""
    if services.clock() > action.at + services.timing.action_given_up_after:
        raise Declined("github_unclear", f"{_IN_DOUBT}, for a day; {_CHECK_THERE}", "failed")
    latest = action.at + services.timing.action_begins_within
    try:
        action = await _as_known(services, action)
        await action_of(services, action).run(services, action)
    except (RetryAt, UnknownOutcome, Rejected) as error:
        known = await _read(services, action.id) or action
        if known.claimed and known.lookups < len(services.timing.deployment_lookups_after):
            raise _in_doubt(services, known, error) from error
        if isinstance(error, RetryAt) and error.at <= latest:
            raise
        reason = rejection(error, action.repo) if isinstance(error, Rejected) else str(error)
        code: Code = "github_rejected" if isinstance(error, Rejected) else "github_unclear"
        raise Declined(code, f"Nothing was done. {reason}; try again later", "failed") from error


def _in_doubt(
    services: ActionServices, action: ActionRow, error: RetryAt | UnknownOutcome | Rejected
) -> RetryAt | Declined:
    """A call may have got through; it is searched until GitHub shows it, or does not."""
    if isinstance(error, Rejected):
        message = f"{_IN_DOUBT}, and now rejects the search: {error}; {_CHECK_THERE}"
        return Declined("github_rejected", message, "failed")
    if isinstance(error, RetryAt):
        return error
    at, timing = services.clock(), services.timing
    pause = max(timing.deployment_lookups_after[0], (at - action.at) / 10)
    return RetryAt(str(error), at + min(pause, timing.action_lookup_at_most))


def _requested_before(services: ActionServices, action: ActionRow, other: ActionRow | None) -> str:
    if other is None:
        return "Somebody has requested that already"
    ours = _requester(other) == _requester(action)
    who = "You have" if ours else f"{other.login or 'Somebody'} has"
    what = "that" if other.kind == action.kind else action_of(services, other).noun
    return f"{who} requested {what} already"


def _requester(action: ActionRow) -> tuple[str, ...]:
    if action.source:
        return action.source, action.login
    return action.team, action.slack_user


async def _read(services: ActionServices, action_id: int) -> ActionRow | None:
    async with services.pool.connection() as connection:
        return await actions.read(connection, action_id)

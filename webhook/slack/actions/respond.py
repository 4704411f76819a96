"""The reply to the person who requested an action: its outcome, or that it takes a while.

Slack accepts five replies to one interaction: the outcome is tried three times, and one announces a
wait.
"""

from datetime import timedelta

import structlog

from webhook.errors import RATE_LIMITED, RetryAt, UnknownOutcome
from webhook.slack.actions.contract import action_of
from webhook.slack.actions.permissions import EXPIRED
from webhook.slack.actions.services import ActionServices
from webhook.slack.blocks.mrkdwn import BlockMessage
from webhook.slack.errors import SLACK_UNAVAILABLE
from webhook.store import actions
from webhook.store.actions import ActionRow

log = structlog.get_logger()

# Slack accepts no reply after that.
REPLY_WITHIN = timedelta(minutes=30)

_IN_DOUBT = "GitHub gave no clear response; the relay keeps checking whether it was done"


async def send_reply(services: ActionServices, action: ActionRow) -> None:
    """Once the outcome is known, a reply that cannot be sent changes nothing."""
    if action.reply is None:
        return
    in_time = bool(action.reply.url) and services.clock() < action.at + REPLY_WITHIN
    message = await action_of(services, action).reply(services, action) if in_time else None
    if message is not None:
        try:
            await services.replies.send(action.reply.url, message, replace=_replaces(action))
        except (RetryAt, UnknownOutcome) as error:
            await _try_again(services, action, error)
    async with services.pool.connection() as connection:
        await actions.replied(connection, action.id)


def _replaces(action: ActionRow) -> bool:
    """Whether the reply replaces the question with its buttons."""
    if action.reply is None or not action.reply.confirms:
        return False
    return bool(action.repo) or action.code == EXPIRED


async def _try_again(
    services: ActionServices, action: ActionRow, error: RetryAt | UnknownOutcome
) -> None:
    pauses = services.timing.reply_retries_after
    if action.reply_attempts >= len(pauses):
        log.warning("a reply was not accepted by Slack", error=str(error))
        return
    async with services.pool.connection() as connection:
        await actions.reply_failed(connection, action.id)
    again = RetryAt(str(error), services.clock() + pauses[action.reply_attempts])
    if isinstance(error, RetryAt) and error.at > again.at:
        again = error
    raise again from error


async def announce_wait(services: ActionServices, action_id: int, wait: RetryAt) -> None:
    """Once, so that people do not press again."""
    if wait.at < services.clock() + services.timing.wait_announced_after:
        return
    async with services.pool.connection() as connection:
        action = await actions.read(connection, action_id)
        if action is None or action.reply is None or not action.reply.url:
            return
        if action.claimed and not action.lookups:
            return
        if not await actions.announce_wait(connection, action.id):
            return
    try:
        await services.replies.send(action.reply.url, BlockMessage(_wait_text(action, wait), []))
    except (RetryAt, UnknownOutcome) as error:
        log.info("a wait could not be announced", error=str(error))


def _wait_text(action: ActionRow, wait: RetryAt) -> str:
    if action.claimed:
        return _IN_DOUBT
    who = "Slack" if wait.code in (RATE_LIMITED, SLACK_UNAVAILABLE) else "GitHub"
    until = wait.at + timedelta(minutes=1)  # in whole minutes, and not too early
    return f"{who} asks to wait until {until:%H:%M} UTC; it will be done then"

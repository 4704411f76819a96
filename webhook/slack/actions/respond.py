"""The person who asked is told what came of it, or that it takes a while.

Slack takes five answers to one act: what came of it is tried thrice, and one says that it waits.
"""

from datetime import timedelta

import structlog

from webhook.engine.services import Services
from webhook.errors import RetryAt, UnknownOutcome
from webhook.slack.actions.outcome import said
from webhook.slack.blocks.mrkdwn import BlockMessage
from webhook.store import actions
from webhook.store.actions import Action

log = structlog.get_logger()

# Slack takes no answer after that.
REPLY_WITHIN = timedelta(minutes=30)

# The words of a question that can be answered no more, and makes room for them.
TOO_OLD = "This has waited for too long, and nothing was done; ask anew"
_IN_DOUBT = "GitHub gave no clear answer; the relay goes on looking whether it was done"


async def reply(services: Services, action: Action) -> None:
    """Once it is known what to say, that it could not be said changes nothing."""
    if action.reply is None:
        return
    in_time = services.clock() < action.at + REPLY_WITHIN
    message = await said(services, action) if in_time else None
    if message is not None:
        try:
            await services.replies.give(action.reply.url, message, replace=_replaces(action))
        except (RetryAt, UnknownOutcome) as trouble:
            await _try_again(services, action, trouble)
    async with services.pool.connection() as connection:
        await actions.answered(connection, action.id)


def _replaces(action: Action) -> bool:
    """Whether the answer takes the place of the question, of which nothing is left to press."""
    if action.reply is None or not action.reply.confirms:
        return False
    return bool(action.repo) or action.words == TOO_OLD


async def _try_again(services: Services, action: Action, trouble: RetryAt | UnknownOutcome) -> None:
    rests = services.timing.reply_retries_after
    if action.answers >= len(rests):
        log.warning("an answer was not taken by Slack", words=str(trouble))
        return
    async with services.pool.connection() as connection:
        await actions.not_answered(connection, action.id)
    again = RetryAt(str(trouble), services.clock() + rests[action.answers])
    if isinstance(trouble, RetryAt) and trouble.at > again.at:
        again = trouble
    raise again from trouble


async def tell_of_wait(services: Services, action_id: int, later: RetryAt) -> None:
    """Once, so that nobody presses again because nothing happens."""
    if later.at < services.clock() + services.timing.wait_announced_after:
        return
    async with services.pool.connection() as connection:
        action = await actions.read(connection, action_id)
        if action is None or action.reply is None or (action.claimed and not action.lookups):
            return
        if not await actions.note(connection, action.id):
            return
    try:
        await services.replies.give(action.reply.url, BlockMessage(_waits(action, later), []))
    except (RetryAt, UnknownOutcome) as trouble:
        log.info("a wait could not be told of", words=str(trouble))


def _waits(action: Action, later: RetryAt) -> str:
    if action.claimed:
        return _IN_DOUBT
    who = "Slack" if str(later).startswith("Slack") else "GitHub"
    until = later.at + timedelta(minutes=1)  # in whole minutes, and not too early
    return f"{who} asks to wait until {until:%H:%M} UTC; it will be done then"

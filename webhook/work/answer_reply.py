"""The person who asked is told what came of it, or that it takes a while.

Slack takes five answers to one act: what came of it is tried thrice, and one says that it waits.
"""

from datetime import timedelta

import structlog

from webhook.outbound.messages_text import BlockMessage
from webhook.outbound.trouble import Later, Unsure
from webhook.store import actions
from webhook.store.actions import Action
from webhook.work.answer_told import said
from webhook.work.clock import now
from webhook.work.relay import Relay

log = structlog.get_logger()

# Slack takes no answer after that.
REPLY_WITHIN = timedelta(minutes=30)
# Seconds after which an answer that Slack did not take is tried again.
RESTS: tuple[float, ...] = (2, 10)
# A wait that is longer is told of.
LONG_WAIT = timedelta(seconds=10)

# The words of a question that can be answered no more, and makes room for them.
TOO_OLD = "This has waited for too long, and nothing was done; ask anew"
_IN_DOUBT = "GitHub gave no clear answer; the relay goes on looking whether it was done"


async def reply(relay: Relay, action: Action) -> None:
    """Once it is known what to say, that it could not be said changes nothing."""
    if action.reply is None:
        return
    in_time = now() < action.at + REPLY_WITHIN
    message = await said(relay, action) if in_time else None
    if message is not None:
        try:
            await relay.replies.give(action.reply.url, message, replace=_replaces(action))
        except (Later, Unsure) as trouble:
            await _try_again(relay, action, trouble)
    async with relay.pool.connection() as connection:
        await actions.answered(connection, action.id)


def _replaces(action: Action) -> bool:
    """Whether the answer takes the place of the question, of which nothing is left to press."""
    if action.reply is None or not action.reply.confirms:
        return False
    return bool(action.repo) or action.words == TOO_OLD


async def _try_again(relay: Relay, action: Action, trouble: Later | Unsure) -> None:
    if action.answers >= len(RESTS):
        log.warning("an answer was not taken by Slack", words=str(trouble))
        return
    async with relay.pool.connection() as connection:
        await actions.not_answered(connection, action.id)
    again = Later.in_seconds(str(trouble), RESTS[action.answers])
    if isinstance(trouble, Later) and trouble.at > again.at:
        again = trouble
    raise again from trouble


async def tell_of_wait(relay: Relay, action_id: int, later: Later) -> None:
    """Once, so that nobody presses again because nothing happens."""
    if later.at < now() + LONG_WAIT:
        return
    async with relay.pool.connection() as connection:
        action = await actions.read(connection, action_id)
        if (
            action is None
            or action.reply is None
            or (action.outcome == "tried" and not action.looks)
        ):
            return
        if not await actions.note(connection, action.id):
            return
    try:
        await relay.replies.give(action.reply.url, BlockMessage(_waits(action, later), []))
    except (Later, Unsure) as trouble:
        log.info("a wait could not be told of", words=str(trouble))


def _waits(action: Action, later: Later) -> str:
    if action.outcome == "tried":
        return _IN_DOUBT
    who = "Slack" if str(later).startswith("Slack") else "GitHub"
    until = later.at + timedelta(minutes=1)  # in whole minutes, and not too early
    return f"{who} asks to wait until {until:%H:%M} UTC; it will be done then"

"""An announcement as a message in Slack, with a button that ends its lock.

Source: as of `webhook.slack.blocks.buttons`, and "Section block" (3000 characters).
"""

from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    ConfirmObject,
    PlainTextObject,
)

from webhook.deployments.announcement import Announcement
from webhook.slack.blocks import mrkdwn
from webhook.slack.blocks.mrkdwn import BlockMessage, escape, section, units

# The name of the action; its value is the lock's id.
UNLOCK = "unlock_lock"
_LONGEST_LINE = 1000
_LONGEST = 2800


def announcement(given: Announcement, mention: str = "") -> BlockMessage:
    first, *others = _lines(given.text)
    called = mrkdwn.mention(mention)
    text = "\n".join([f"{first} · {called}" if called else first, *others])
    blocks: list[Block] = [section(text)]
    if given.lock_id:
        blocks.append(ActionsBlock(elements=[_unlock(given.lock_id)]))
    return BlockMessage(text, blocks)


def plain(message: BlockMessage) -> BlockMessage:
    """Its text alone, where Slack rejects the blocks."""
    return BlockMessage(message.text, [])


def _lines(text: str) -> list[str]:
    """As many as fit."""
    lines: list[str] = []
    left = _LONGEST
    for line in text.splitlines():
        shown = escape(line, _LONGEST_LINE)
        left -= units(shown) + 1
        if left < 0:
            break
        lines.append(shown)
    return lines


def _unlock(lock_id: int) -> ButtonElement:
    return ButtonElement(
        text=PlainTextObject(text="Unlock"),
        action_id=UNLOCK,
        value=str(lock_id),
        confirm=ConfirmObject(
            title=PlainTextObject(text="Unlock?"),
            text=PlainTextObject(text="Deployments that wait for this lock alone start at once."),
            confirm=PlainTextObject(text="Unlock"),
            deny=PlainTextObject(text="Keep the lock"),
        ),
    )

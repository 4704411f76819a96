"""How a deployment reads in Slack. Plain data in, text and blocks out.

Source: docs.slack.dev/reference/block-kit and "chat.update". Blocks carry no block_id: Slack wants
another one after each edit and makes one itself, whereas of ours equal blocks would have to differ.
"""

import hashlib
import json
from collections.abc import Sequence

from slack_sdk.models.blocks import ContextBlock, SectionBlock

from webhook.deployments.notice import DeploymentNotice, NoticeEntry
from webhook.slack.blocks import mrkdwn
from webhook.slack.blocks.buttons import actions
from webhook.slack.blocks.changelog import changes, diff
from webhook.slack.blocks.mrkdwn import (
    BlockMessage,
    bold,
    context,
    escape,
    link,
    link_only,
    section,
)
from webhook.slack.blocks.timeline import LONGEST_DESCRIPTION, lines, sentence

# Run and environment are addresses of others', long where a dashboard writes its state into them.
_LONGEST_URL_OF_OTHERS = 1000


def main_message(notice: DeploymentNotice) -> BlockMessage:
    """The one message of a deployment in a channel, edited in place."""
    blocks = [
        _headline(notice),
        *_about(notice),
        *changes(notice),
        *_links(notice),
        *actions(notice),
    ]
    return BlockMessage(_sentence(notice), blocks)


def alert(notice: DeploymentNotice, mention: str = "") -> BlockMessage:
    """A message in the channel for failures. It is not edited and has no buttons, which would
    still be offered when they make no sense any more."""
    called = mrkdwn.mention(mention)
    blocks = [_headline(notice, called), *_about(notice), *changes(notice), *_links(notice)]
    return BlockMessage(_calling(_sentence(notice), called), blocks)


def thread_reply(
    notice: DeploymentNotice,
    entries: Sequence[NoticeEntry],
    *,
    broadcast: bool,
    mention: str = "",
) -> BlockMessage:
    """A reply in the thread: what has happened. Where the channel sees it too (`broadcast`), it
    says first what it is about."""
    if entries and not broadcast:
        return BlockMessage(sentence(notice, entries[-1]), [section(lines(notice, entries))])
    called = mrkdwn.mention(mention)
    repeated = bool(entries) and entries[-1].description == notice.description
    happened = [section(lines(notice, entries, above=notice.label.text))] if entries else []
    blocks = [_headline(notice, called, described=not repeated), *happened, *_in_short(notice)]
    return BlockMessage(_calling(_sentence(notice), called), blocks)


def digest(message: BlockMessage) -> str:
    """Equal for messages that read the same."""
    blocks = [block.to_dict() for block in message.blocks]
    return hashlib.sha256(json.dumps([message.text, blocks]).encode()).hexdigest()


def _sentence(notice: DeploymentNotice) -> str:
    """For a notification and for a screen reader."""
    label = notice.label
    names = f"{escape(notice.repo, 140)} to {escape(notice.environment, 140)}"
    description = escape(notice.description, LONGEST_DESCRIPTION)
    text = f"{label.sign} {names} {label.text}{notice.detail}"
    return f"{text}: {description}" if description else text


def _headline(
    notice: DeploymentNotice, called: str = "", *, described: bool = True
) -> SectionBlock:
    label = notice.label
    repo = link(notice.repo_url, escape(notice.repo, 140))
    environment = bold(escape(notice.environment, 140))
    if notice.production and notice.environment != "production":
        environment += " (production)"
    text = f"{label.sign} {repo} to {environment} {bold(label.text)}{notice.detail}"
    text = _calling(text, called)
    description = escape(notice.description, LONGEST_DESCRIPTION) if described else ""
    return section(f"{text}\n{description}" if description else text)


def _calling(text: str, called: str) -> str:
    return f"{text} · {called}" if called else text


def _about(notice: DeploymentNotice) -> list[ContextBlock]:
    """What is deployed, by whom, and with what."""
    tool = link(notice.run_url, escape(notice.tool, 60), longest_url=_LONGEST_URL_OF_OTHERS)
    return context([_origin(notice), _what(notice), _who(notice), _task(notice), tool])


def _origin(notice: DeploymentNotice) -> str:
    return link(notice.origin_url, notice.origin_label)


def _what(notice: DeploymentNotice) -> str:
    sha = escape(notice.sha[:7], 40)
    commit = link(notice.on_github("commit", notice.sha), sha)
    if notice.ref == notice.sha:
        return commit
    tree = notice.on_github("tree", notice.ref)
    return f"{link(tree, escape(notice.ref, 100))} @ {commit}"


def _who(notice: DeploymentNotice) -> str:
    who = escape(notice.requested_by, 60)
    return f"by {who}" if who else ""


def _task(notice: DeploymentNotice) -> str:
    """Only where it is not what everybody would think."""
    task = escape(notice.task, 100)
    usual = notice.task == "deploy" or (notice.origin and notice.task == f"deploy:{notice.origin}")
    return "" if usual or not task else f"task {task}"


def _links(notice: DeploymentNotice) -> list[ContextBlock]:
    environment = link_only(notice.environment_url, "Environment", _LONGEST_URL_OF_OTHERS)
    return context([link_only(notice.page_url, "Logs"), environment, diff(notice)])


def _in_short(notice: DeploymentNotice) -> list[ContextBlock]:
    return context([_what(notice), _who(notice), link_only(notice.page_url, "Logs")])

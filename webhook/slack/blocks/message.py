"""A deployment as messages in Slack: the main message, an alert, a reply in the thread.

Plain data in, text and blocks out. Lengths are in UTF-16 units, as in `mrkdwn`.

Source: docs.slack.dev/reference/block-kit and "chat.update"; docs.github.com, "Comparing commits"
(/compare/before...after). Blocks carry no block_id: Slack wants another one after each edit, and
makes one itself.
"""

import hashlib
import json
from collections.abc import Sequence

from slack_sdk.models.blocks import ContextBlock, SectionBlock

from webhook.deployments.automatic import requested
from webhook.deployments.changelog import Commit
from webhook.deployments.notice import DeploymentNotice, NoticeApproval, NoticeEntry
from webhook.deployments.overrides import Override
from webhook.slack.blocks import mrkdwn
from webhook.slack.blocks.blockers import blocker_lines
from webhook.slack.blocks.buttons import actions
from webhook.slack.blocks.mrkdwn import (
    BlockMessage,
    bold,
    context,
    escape,
    link,
    link_only,
    section,
    units,
    when,
)
from webhook.text import one_line

LONGEST_DESCRIPTION = 400
_LONGEST_LABEL = 40
# Of what keeps it from starting, in a notification.
_LONGEST_REASON = 120
# Of a thread reply.
_MOST_ENTRIES = 20
_LONGEST_ENTRIES = 2800
_FOR_ALL = "🚨"
# Of answers whether it may start.
_MOST_ANSWERS = 3
_LONGEST_COMMENT = 100
# Run and environment are addresses of others, long where a dashboard writes its state into them.
_LONGEST_EXTERNAL_URL = 1000
# A commit's URL is short: host, repository, sha.
_LONGEST_COMMIT_URL = 250
# Of the page with the whole timeline; a longer one is left out, and the text has no link.
_LONGEST_PAGE_URL = 150


def main_message(notice: DeploymentNotice) -> BlockMessage:
    """The one message of a deployment in a channel, edited in place."""
    blocks = [
        # What keeps it from starting is all that the description says.
        _headline(notice, described=not notice.blockers),
        *_blockers(notice),
        *_about(notice),
        *_changes(notice),
        *_answers(notice),
        *_override(notice),
        *_links(notice),
        *actions(notice),
    ]
    return BlockMessage(_sentence(notice), blocks)


def alert(notice: DeploymentNotice, mention: str = "") -> BlockMessage:
    """A message in the channel for failures. It is not edited and has no buttons, which would
    still be offered when they make no sense any more."""
    called = mrkdwn.mention(mention)
    blocks = [_headline(notice, called), *_about(notice), *_changes(notice), *_links(notice)]
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
        return BlockMessage(
            _entry_sentence(notice, entries[-1]), [section(_entry_lines(notice, entries))]
        )
    called = mrkdwn.mention(mention)
    if any(one.for_all for one in entries) and not notice.phase.final:
        return _for_all(notice, entries, called)
    repeated = bool(entries) and entries[-1].description == notice.description
    # What keeps it from starting is all that such an entry says.
    shown = entries[:-1] if repeated and notice.blockers else entries
    happened = [section(_entry_lines(notice, shown, above=notice.label.text))] if shown else []
    described = not (repeated or notice.blockers)
    blocks = [
        _headline(notice, called, described=described),
        *happened,
        *_blockers(notice),
        *_in_short(notice),
    ]
    return BlockMessage(_calling(_sentence(notice), called), blocks)


def _for_all(notice: DeploymentNotice, entries: Sequence[NoticeEntry], called: str) -> BlockMessage:
    """What a person did first: what it changes may not be known yet."""
    did = "; ".join(one.description for one in entries if one.for_all)
    description = escape(did, LONGEST_DESCRIPTION * 2)
    repo, environment = escape(notice.repo, 140), escape(notice.environment, 140)
    linked = f"{link(notice.repo_url, repo)} to {bold(environment)}"
    others = [one for one in entries if not one.for_all]
    blocks = [
        section(f"{_calling(f'{_FOR_ALL} {linked}', called)}\n{description}"),
        *([section(_entry_lines(notice, others))] if others else []),
        *_in_short(notice),
    ]
    text = f"{_FOR_ALL} {repo} to {environment}: {description}"
    return BlockMessage(_calling(text, called), blocks)


def plain(message: BlockMessage, notice: DeploymentNotice) -> BlockMessage:
    """Its text alone, where Slack rejects the blocks."""
    logs = link_only(notice.page_url, "Logs")
    return BlockMessage("\n".join(part for part in (message.text, logs) if part), [])


def digest(message: BlockMessage) -> str:
    """Equal for messages that read the same."""
    content = json.dumps([message.text, message.documents])
    return hashlib.sha256(content.encode()).hexdigest()


def _sentence(notice: DeploymentNotice) -> str:
    """For a notification and for a screen reader."""
    label = notice.label
    names = f"{escape(notice.repo, 140)} to {escape(notice.environment, 140)}"
    reasons = "; ".join(one_line(one.reason, _LONGEST_REASON) for one in notice.blockers)
    description = escape(reasons or notice.description, LONGEST_DESCRIPTION)
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


def _blockers(notice: DeploymentNotice) -> list[SectionBlock]:
    return [section(blocker_lines(notice.blockers))] if notice.blockers else []


def _calling(text: str, called: str) -> str:
    return f"{text} · {called}" if called else text


def _about(notice: DeploymentNotice) -> list[ContextBlock]:
    """What is deployed, by whom, and with what."""
    tool = link(notice.run_url, escape(notice.tool, 60), longest_url=_LONGEST_EXTERNAL_URL)
    return context([_origin(notice), _what(notice), _who(notice), _task(notice), tool, notice.late])


def _origin(notice: DeploymentNotice) -> str:
    return link(notice.origin_url, escape(notice.origin_label, 100))


def _what(notice: DeploymentNotice) -> str:
    sha = escape(notice.sha[:7], 40)
    commit = link(notice.on_github("commit", notice.sha), sha)
    if notice.ref == notice.sha:
        return commit
    tree = notice.on_github("tree", notice.ref)
    return f"{link(tree, escape(notice.ref, 100))} @ {commit}"


def _who(notice: DeploymentNotice) -> str:
    return requested(notice.cause, escape(notice.requested_by, 60))


def _task(notice: DeploymentNotice) -> str:
    """Only where it is not what everybody would think."""
    task = escape(notice.task, 100)
    usual = notice.task == "deploy" or (notice.origin and notice.task == f"deploy:{notice.origin}")
    return "" if usual or not task else f"task {task}"


def _links(notice: DeploymentNotice) -> list[ContextBlock]:
    environment = link_only(notice.environment_url, "Environment", _LONGEST_EXTERNAL_URL)
    label = f"Deployment {notice.superseded_by}"
    newer = link_only(notice.superseded_by_url, label, _LONGEST_PAGE_URL * 2)
    return context([link_only(notice.page_url, "Logs"), environment, newer, _diff(notice)])


def _in_short(notice: DeploymentNotice) -> list[ContextBlock]:
    return context([_what(notice), _who(notice), link_only(notice.page_url, "Logs")])


def _changes(notice: DeploymentNotice) -> list[SectionBlock]:
    """None where they are not known, or where nothing ran."""
    if not notice.changes:
        return []
    named = notice.new_commits
    lines = [f"{notice.changes}:" if named else notice.changes, *map(_commit_line, named)]
    if more := notice.difference.more_commits:
        lines.append(link(notice.compare_url, f"and {more} more"))
    return [section("\n".join(lines))]


def _answers(notice: DeploymentNotice) -> list[SectionBlock]:
    """Who approved or rejected it; the newest."""
    lines = [_answer_line(one) for one in notice.approvals[-_MOST_ANSWERS:]]
    return [section("\n".join(lines))] if lines else []


def _answer_line(one: NoticeApproval) -> str:
    sign, answer = ("👍", "approved") if one.approved else ("👎", "rejected")
    comment = escape(one.comment, _LONGEST_COMMENT)
    text = f"{sign} {escape(one.login, 60)} {answer} it, {when(one.at)}"
    return f"{text}: {comment}" if comment else text


def _override(notice: DeploymentNotice) -> list[SectionBlock]:
    """Who has skipped which gates; the newest, as the page has all."""
    return [section(_override_line(one)) for one in notice.overrides[-1:]]


def _override_line(one: Override) -> str:
    gates = escape(", ".join(one.gates), 100)
    reason = escape(one.reason, _LONGEST_COMMENT)
    return f"{_FOR_ALL} {escape(one.login, 60)} overrode {gates}, {when(one.at)}: {reason}"


def _diff(notice: DeploymentNotice) -> str:
    """A link to the difference, seen from the newer side."""
    return link_only(notice.compare_url, f"Diff to {escape(notice.since_sha[:7], 40)}")


def _commit_line(commit: Commit) -> str:
    sha = link(commit.url, escape(commit.sha[:7], 40), longest_url=_LONGEST_COMMIT_URL)
    author = escape(commit.author, 40)
    return f"• {sha} {escape(commit.title, 100)}" + (f" — {author}" if author else "")


def _entry_lines(notice: DeploymentNotice, entries: Sequence[NoticeEntry], above: str = "") -> str:
    """The newest that fit, in their order. `above`: the label's text that stands above them, which
    is not repeated."""
    shown: list[str] = []
    left = _LONGEST_ENTRIES
    for entry in reversed(entries[-_MOST_ENTRIES:]):
        line = _entry_line(notice, entry, "" if shown else above)
        left -= units(line) + 1
        if left < 0:
            break
        shown.append(line)
    earlier = len(entries) - len(shown)
    if earlier:
        text = f"and {earlier} earlier {'entry' if earlier == 1 else 'entries'}"
        shown.append(link(notice.page_url, text, longest_url=_LONGEST_PAGE_URL))
    return "\n".join(reversed(shown))


def _entry_sentence(notice: DeploymentNotice, entry: NoticeEntry) -> str:
    """For a notification: the entry's label and description."""
    label = notice.entry_label(entry)
    text = escape(label.text, _LONGEST_LABEL)
    names = f"{label.sign} {escape(notice.repo, 140)} to {escape(notice.environment, 140)}"
    description = escape(entry.description, LONGEST_DESCRIPTION)
    if text and description:
        return f"{names} {text}: {description}"
    return f"{names}: {text or description}"


def _entry_line(notice: DeploymentNotice, entry: NoticeEntry, above: str) -> str:
    label = notice.entry_label(entry)
    text = escape(label.text, _LONGEST_LABEL)
    description = escape(entry.description, LONGEST_DESCRIPTION)
    shown = f"{label.sign} *{text}*" if text else label.sign
    if text and label.text == above and description:
        shown = description
    elif description:
        shown = f"{shown}: {description}" if text else f"{shown} {description}"
    parts = [f"{when(entry.at)}  {shown}", _by(entry), link_only(entry.log_url, "Log")]
    return "  ·  ".join(part for part in parts if part)


def _by(entry: NoticeEntry) -> str:
    """Nobody where the relay itself or the description says who it was."""
    actor = entry.actor.lower()
    named = actor in ("", "relay") or actor in entry.description.lower()
    return "" if named else f"by {escape(entry.actor, 60)}"

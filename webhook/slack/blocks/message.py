"""How a deployment reads in Slack. Plain data in, text and blocks out.

Source: docs.slack.dev/reference/block-kit and "chat.update". Blocks carry no block_id: Slack wants
another one after each edit and makes one itself, whereas of ours equal blocks would have to differ.
"""

import hashlib
import json
from collections.abc import Sequence

from slack_sdk.models.blocks import ContextBlock, SectionBlock

from handlers import durations
from webhook.deployments.phases import Phase
from webhook.slack.blocks import mrkdwn
from webhook.slack.blocks.buttons import actions
from webhook.slack.blocks.changelog import diff, what_ships
from webhook.slack.blocks.labels import sign_of
from webhook.slack.blocks.mrkdwn import bold, context, escape, link, link_only, section
from webhook.slack.blocks.notice import Message, StepTold, Told
from webhook.slack.blocks.timeline import LONGEST_WORDS, lines, sentence

# Run and environment are addresses of others', long where a dashboard writes its state into them.
_LONGEST_URL_OF_OTHERS = 1000


def living(told: Told) -> Message:
    """The one message of a deployment in a channel, edited in place."""
    blocks = [_headline(told), *_about(told), *what_ships(told), *_links(told), *actions(told)]
    return Message(_sentence(told), blocks)


def alarm(told: Told, mention: str = "") -> Message:
    """A message in the channel for failures. It is not edited and has no buttons, which would
    still be offered when they make no sense any more."""
    called = mrkdwn.mention(mention)
    blocks = [_headline(told, called), *_about(told), *what_ships(told), *_links(told)]
    return Message(_calling(_sentence(told), called), blocks)


def note(told: Told, steps: Sequence[StepTold], *, broadcast: bool, mention: str = "") -> Message:
    """A reply in the thread: what has happened. Where the channel sees it too (`broadcast`), it
    says first what it is about."""
    if steps and not broadcast:
        return Message(sentence(told, steps[-1]), [section(lines(told, steps))])
    called = mrkdwn.mention(mention)
    said = bool(steps) and steps[-1].words == told.words
    happened = [section(lines(told, steps, above=sign_of(told)))] if steps else []
    blocks = [_headline(told, called, words=not said), *happened, *_in_short(told)]
    return Message(_calling(_sentence(told), called), blocks)


def digest(message: Message) -> str:
    """Equal for messages that read the same."""
    blocks = [block.to_dict() for block in message.blocks]
    return hashlib.sha256(json.dumps([message.text, blocks]).encode()).hexdigest()


def _sentence(told: Told) -> str:
    """For a notification and for a screen reader."""
    sign, word = sign_of(told)
    names = f"{escape(told.repo, 140)} to {escape(told.environment, 140)}"
    words = escape(told.words, LONGEST_WORDS)
    return f"{sign} {names} {word}{_more(told)}" + (f": {words}" if words else "")


def _headline(told: Told, called: str = "", *, words: bool = True) -> SectionBlock:
    sign, word = sign_of(told)
    repo = link(told.repo_url, escape(told.repo, 140))
    environment = bold(escape(told.environment, 140))
    if told.production and told.environment != "production":
        environment += " (production)"
    text = _calling(f"{sign} {repo} to {environment} {bold(word)}{_more(told)}", called)
    said = escape(told.words, LONGEST_WORDS) if words else ""
    return section(f"{text}\n{said}" if said else text)


def _calling(text: str, called: str) -> str:
    return f"{text} · {called}" if called else text


def _more(told: Told) -> str:
    """How long it took, and what else is worth a word."""
    good = told.phase in (Phase.SUCCESS, Phase.INACTIVE)
    ran = told.phase.final and (told.phase is not Phase.ERROR or told.began)
    words = ""
    if told.seconds is not None and ran:
        words = f" {'in' if good else 'after'} {durations.write(max(0, told.seconds))}"
    if told.phase is Phase.INACTIVE:
        return f"{words}, replaced since"
    green = told.phase is Phase.SUCCESS and told.back_to_green
    return f"{words}, back to green" if green else words


def _about(told: Told) -> list[ContextBlock]:
    """What is deployed, by whom, and with what."""
    tool = link(told.run_url, escape(told.tool, 60), longest_url=_LONGEST_URL_OF_OTHERS)
    return context([_origin(told), _what(told), _who(told), _task(told), tool])


def _origin(told: Told) -> str:
    words = {"retry": "retry of an earlier deployment", "rollback": "rollback"}
    return link(told.origin_url, words.get(told.origin, ""))


def _what(told: Told) -> str:
    sha = escape(told.sha[:7], 40)
    commit = link(mrkdwn.on_github(told.repo_url, "commit", told.sha), sha)
    if told.ref == told.sha:
        return commit
    tree = mrkdwn.on_github(told.repo_url, "tree", told.ref)
    return f"{link(tree, escape(told.ref, 100))} @ {commit}"


def _who(told: Told) -> str:
    who = escape(told.asked_by, 60)
    return f"by {who}" if who else ""


def _task(told: Told) -> str:
    """Only where it is not what everybody would think."""
    task = escape(told.task, 100)
    usual = told.task == "deploy" or (told.origin and told.task == f"deploy:{told.origin}")
    return "" if usual or not task else f"task {task}"


def _links(told: Told) -> list[ContextBlock]:
    environment = link_only(told.environment_url, "Environment", _LONGEST_URL_OF_OTHERS)
    return context([link_only(told.page_url, "Logs"), environment, diff(told)])


def _in_short(told: Told) -> list[ContextBlock]:
    return context([_what(told), _who(told), link_only(told.page_url, "Logs")])

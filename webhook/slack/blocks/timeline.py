"""The timeline of a deployment, a line for each entry, as a thread shows it.

Units: lengths are in UTF-16 units, as in `messages_text`.
"""

from collections.abc import Sequence

from webhook.deployments.notice import DeploymentNotice, NoticeEntry
from webhook.slack.blocks.mrkdwn import escape, link, link_only, units, when

LONGEST_DESCRIPTION = 400
_LONGEST_LABEL = 40
_MOST_ENTRIES = 20
_LONGEST_ENTRIES = 2800
# Of the page of the whole timeline; without it the text stands alone.
_LONGEST_URL = 150


def lines(notice: DeploymentNotice, entries: Sequence[NoticeEntry], above: str = "") -> str:
    """The newest that fit, in their order. `above`: the label's text that stands above them, which
    is not repeated."""
    shown: list[str] = []
    left = _LONGEST_ENTRIES
    for entry in reversed(entries[-_MOST_ENTRIES:]):
        line = _line(notice, entry, "" if shown else above)
        left -= units(line) + 1
        if left < 0:
            break
        shown.append(line)
    earlier = len(entries) - len(shown)
    if earlier:
        text = f"and {earlier} earlier {'step' if earlier == 1 else 'steps'}"
        shown.append(link(notice.page_url, text, longest_url=_LONGEST_URL))
    return "\n".join(reversed(shown))


def sentence(notice: DeploymentNotice, entry: NoticeEntry) -> str:
    """For a notification: the entry's label and description."""
    label = notice.entry_label(entry)
    text = escape(label.text, _LONGEST_LABEL)
    names = f"{label.sign} {escape(notice.repo, 140)} to {escape(notice.environment, 140)}"
    description = escape(entry.description, LONGEST_DESCRIPTION)
    if text and description:
        return f"{names} {text}: {description}"
    return f"{names}: {text or description}"


def _line(notice: DeploymentNotice, entry: NoticeEntry, above: str) -> str:
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

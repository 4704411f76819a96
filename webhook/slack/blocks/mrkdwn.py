"""Text from outside, made fit for Slack: one line, escaped, cut, and unable to notify or to format.

Source: docs.slack.dev, "Formatting message text" (escaping, links, dates, automatic parsing) and
"Text object" (`verbatim`). Slack has no way to escape its markers, so where one could begin or end
bold, italic, struck or code, a character that looks like it stands instead; inside a word, as in
snake_case, Slack leaves them alone and so do we. An @ that could begin a mention is followed by a
word joiner, which nobody sees.
Units: limits are in UTF-16 units after escaping, the strictest way in which Slack may count.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import accumulate
from typing import Any

from slack_sdk.models.blocks import Block, ContextBlock, MarkdownTextObject, SectionBlock

from webhook.text import link_url, one_line

# Longer ones are no links: all of a message has to fit into Slack's limits.
LONGEST_URL = 500
LONGEST_MENTION = 200
# More than anything that is shown, so that a very long text costs little.
_LONGEST_READ = 2000

# Slack reads the wide forms as markers too.
_NARROW = str.maketrans(
    {
        "\N{FULLWIDTH ASTERISK}": "*",
        "\N{FULLWIDTH LOW LINE}": "_",
        "\N{FULLWIDTH GRAVE ACCENT}": "`",
        "\N{FULLWIDTH GREATER-THAN SIGN}": ">",
    }
)
# Within a word only code is formatted.
_MARKERS = re.compile(r"[*_~]*+`[*_~`]*+|(?<![A-Za-z0-9*_~`])[*_~`]+|[*_~`]++(?![A-Za-z0-9])|^>+")
_LOOKALIKES = str.maketrans(
    {
        "*": "\N{ASTERISK OPERATOR}",
        "_": "\N{MODIFIER LETTER LOW MACRON}",
        "~": "\N{TILDE OPERATOR}",
        "`": "\N{MODIFIER LETTER GRAVE ACCENT}",
        ">": "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
    }
)
_ORIGINALS = {ord(shown): chr(of) for of, shown in _LOOKALIKES.items()}
_UNANGLED = str.maketrans(
    {
        "<": "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
        ">": "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
    }
)
_AT = re.compile(r"(?<![A-Za-z0-9_])@(?=\S)")
_JOINED_AT = "@\N{WORD JOINER}"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MENTION = re.compile(r"<(?:@[UW][A-Z0-9]+|!subteam\^[A-Z0-9]+|!here|!channel|!everyone)>")
# Slack resolves such a name if the poster requests it (`link_names`).
_GROUP = re.compile(r"@[a-z0-9][a-z0-9._-]{0,79}")


@dataclass(frozen=True)
class BlockMessage:
    """A message in Slack's form; `text` is the notification and what a screen reader says, and all
    there is without blocks."""

    text: str
    blocks: Sequence[Block]

    @cached_property
    def documents(self) -> list[dict[str, Any]]:
        """The blocks as JSON. slack_sdk checks each of them for that, which takes its time."""
        return [block.to_dict() for block in self.blocks]


def escape(text: str, limit: int) -> str:
    """Text from outside in mrkdwn."""
    line = one_line(text[:_LONGEST_READ], _LONGEST_READ).translate(_NARROW)
    line = _MARKERS.sub(lambda match: match[0].translate(_LOOKALIKES), line)
    line = _AT.sub(_JOINED_AT, line)
    return _cut([_ENTITIES.get(character, character) for character in line], limit)


def unescaped(text: str) -> str:
    """Of what people copy from a message: with the markers in whose place others stand there."""
    return text.translate(_ORIGINALS)


def plain(text: str, limit: int) -> str:
    """Text from outside in a plain_text object, where nothing is escaped or formatted."""
    line = one_line(text[:_LONGEST_READ], _LONGEST_READ)
    return _cut(list(line.translate(_UNANGLED)), limit)


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _cut(pieces: list[str], limit: int) -> str:
    """As many as fit. An entity is one piece, because half of it would be shown as it is."""
    text = "".join(pieces)
    if units(text) <= limit:
        return text
    ends = list(accumulate(map(units, pieces)))
    kept = "".join(pieces[: bisect_right(ends, limit - 1)])
    # At the end of the text a marker would not be inside a word any more.
    return kept.rstrip(" *_~`") + "…"


def short_url(url: str, longest: int = LONGEST_URL) -> str:
    """With only what may stand in a link of Slack's; "" where it is no web address, or too long."""
    safe = link_url(url)
    return safe if len(safe) + 4 * safe.count("&") <= longest else ""


def link(url: str, label: str, *, longest_url: int = LONGEST_URL) -> str:
    """`label` is mrkdwn already; it stands alone where the URL cannot be used."""
    safe = short_url(url, longest_url).replace("&", "&amp;")
    return f"<{safe}|{label}>" if safe and label else label


def link_only(url: str, label: str, longest_url: int = LONGEST_URL) -> str:
    """Nothing where the URL cannot be used: the label alone would say nothing."""
    return link(url, label, longest_url=longest_url) if short_url(url, longest_url) else ""


def bold(text: str) -> str:
    return f"*{text}*" if text else ""


def when(at: datetime) -> str:
    """Everybody sees it in their own time zone."""
    shown = at.astimezone(UTC).strftime("%H:%M:%S")
    return f"<!date^{int(at.timestamp())}^{{time_secs}}|{shown} UTC>"


def day_and_time(at: datetime) -> str:
    """`when`, where the day is needed too, and no seconds."""
    utc = at.astimezone(UTC)
    form = "{date_short_pretty} at {time}"
    return f"<!date^{int(at.timestamp())}^{form}|{utc:%a %d %b %Y, %H:%M} UTC>"


def mention(given: str) -> str:
    """Ready-made mentions and a group's @name stay as they are; anything else is text."""
    kept: list[str] = []
    left = LONGEST_MENTION
    for inside in given.split():
        ready = _MENTION.fullmatch(inside) or _GROUP.fullmatch(inside)
        shown = inside if ready else escape(inside, max(left, 1))
        left -= len(shown) + 1
        if left < 0:
            break
        kept.append(shown)
    return " ".join(kept)


def section(text: str) -> SectionBlock:
    return SectionBlock(text=_mrkdwn(text))


def context(parts: Iterable[str]) -> list[ContextBlock]:
    """None where there is nothing to say."""
    text = "  ·  ".join(part for part in parts if part)
    return [ContextBlock(elements=[_mrkdwn(text)])] if text else []


def _mrkdwn(text: str) -> MarkdownTextObject:
    # Without `verbatim` Slack would make links and mentions of what only looks like them; but a
    # group's name, which is no mention yet, has to be looked up.
    looked_up = any(_GROUP.fullmatch(inside) for inside in text.split())
    return MarkdownTextObject(text=text, verbatim=not looked_up)

"""The relay's own Slack messages as plain text, for a terminal.

Only what the relay writes is known here: sections, context and buttons; bold, links, mentions and
dates. Text from outside has no other markup left, because `mrkdwn.escape` takes it out.
"""

import re
from collections.abc import Sequence
from typing import Any

from slack_sdk.models.blocks import Block

_BOLD = re.compile(r"(?<![\w*])\*(?=\S)(.+?)(?<=\S)\*(?![\w*])")
_ANGLED = re.compile(r"<([^<>|]+)(?:\|([^<>]*))?>")


def plain_text(blocks: Sequence[Block]) -> str:
    """One line for each line of a section, and for each other block."""
    return "\n".join(_block(block.to_dict()) for block in blocks)


def _block(block: dict[str, Any]) -> str:
    match block["type"]:
        case "section":
            return _text(block["text"])
        case "context":
            return "  ".join(_text(element) for element in block["elements"])
        case "actions":
            return " ".join(f"[{_text(button['text'])}]" for button in block["elements"])
    raise ValueError(f"the relay writes no block of type {block['type']}")


def _text(text: dict[str, Any]) -> str:
    shown = str(text["text"])
    if text["type"] == "plain_text":
        return shown
    shown = _ANGLED.sub(_label, _BOLD.sub(r"\1", shown))
    return shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _label(match: re.Match[str]) -> str:
    """Links and dates show their label; a mention without one shows its target."""
    target, label = match.groups()
    if label:
        return str(label)
    return "@" + target[1:].partition("^")[0] if target.startswith("!") else str(target)

"""Messages and views as a user sees them in Slack, as plain text; and a page of all messages."""

import html
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.slack.model import Channel, EphemeralMessage, Message

CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
ANGLED = re.compile(r"<([^<>|]+)(?:\|([^<>]*))?>")
MENTIONED = re.compile(r"@([UW][A-Z0-9]+)\b")
# A marker is not next to a letter: snake_case has none.
MARKED = re.compile(r"(?<![\w*_~])([*_~])(?=\S)(.+?)(?<=\S)\1(?![\w*_~])")


def render(message: Message | EphemeralMessage, names: Mapping[str, str] | None = None) -> str:
    """The blocks, or the text of a message without blocks; with blocks, the text is only for
    notifications. `names`: user id -> name, for mentions."""
    text = _blocks(message.blocks) if message.blocks else mrkdwn(message.text)
    return _with_names(text, names or {})


def render_view(view: Any, names: Mapping[str, str] | None = None) -> str:
    """The document of a view (modal): title, blocks, and the buttons to close and to submit."""
    buttons = [f"[{_text(view[name])}]" for name in ("close", "submit") if view.get(name)]
    text = "\n".join((_text(view["title"]), _blocks(view["blocks"]), " ".join(buttons)))
    return _with_names(text.rstrip(), names or {})


def _blocks(blocks: Iterable[Any]) -> str:
    parts = (RENDERERS.get(block["type"], _unknown)(block) for block in blocks)
    return "\n".join(part for part in parts if part)


def _with_names(text: str, names: Mapping[str, str]) -> str:
    return MENTIONED.sub(lambda found: f"@{names.get(found.group(1), found.group(1))}", text)


def mrkdwn(text: str) -> str:
    pieces = CODE.split(text)
    pieces[::2] = [_without_markers(piece) for piece in pieces[::2]]
    pieces[1::2] = [piece.strip("`") for piece in pieces[1::2]]
    return unescaped(ANGLED.sub(_angled, "".join(pieces)))


def _without_markers(text: str) -> str:
    """Without bold, italic and strike; done twice, because they can be nested."""
    return MARKED.sub(r"\2", MARKED.sub(r"\2", text))


def _angled(match: re.Match[str]) -> str:
    """Links, mentions and dates show their label; without a label, their target."""
    target, label = match.group(1), match.group(2)
    if target.startswith("#") and label:
        return f"#{label}"
    if label:
        return label
    return "@" + target[1:].partition("^")[0] if target.startswith("!") else target


def unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _text(text: Any) -> str:
    if text["type"] == "image":
        return f"[{text['alt_text']}]"
    return mrkdwn(text["text"]) if text["type"] == "mrkdwn" else str(text["text"])


def _element(element: Any) -> str:
    label = element.get("text") or element.get("placeholder")
    return f"[{_text(label) if label else element['type']}]"


def _section(block: Any) -> str:
    lines = [_text(block["text"])] if "text" in block else []
    lines += [_text(field) for field in block.get("fields", [])]
    if "accessory" in block:
        lines.append(_element(block["accessory"]))
    return "\n".join(lines)


def _header(block: Any) -> str:
    return _text(block["text"])


def _divider(_: Any) -> str:
    return "---"


def _context(block: Any) -> str:
    return "  ".join(_text(element) for element in block["elements"])


def _actions(block: Any) -> str:
    return " ".join(_element(element) for element in block["elements"])


def _input(block: Any) -> str:
    hint = [_text(block["hint"])] if "hint" in block else []
    return "\n".join([f"{_text(block['label'])}: {_element(block['element'])}", *hint])


def _rich_text(block: Any) -> str:
    return "\n".join(_rich(element) for element in block["elements"])


def _rich(element: Any) -> str:
    inner = "".join(_rich(e) for e in element.get("elements", []))
    return inner or str(element.get("text") or element.get("url") or "")


def _image(block: Any) -> str:
    return f"[{block['alt_text']}]"


def _unknown(block: Any) -> str:
    return f"[{block['type']}]"


RENDERERS: dict[str, Callable[[Any], str]] = {
    "section": _section,
    "header": _header,
    "divider": _divider,
    "context": _context,
    "actions": _actions,
    "rich_text": _rich_text,
    "image": _image,
    "input": _input,
}


def page_of(team: str, channels: Iterable[Channel], names: Mapping[str, str] | None = None) -> str:
    body = "".join(_channel(channel, names) for channel in channels)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(team)}</title><style>body{{font:15px sans-serif;margin:2em}}"
        "pre{font:inherit;white-space:pre-wrap;border-left:3px solid #bbb;padding-left:1em}"
        f".reply{{margin-left:3em}}</style><h1>{html.escape(team)}</h1>{body}</html>\n"
    )


def _channel(channel: Channel, names: Mapping[str, str] | None) -> str:
    parts = [f'<h2><a href="/archives/{channel.id}">#{html.escape(channel.name)}</a></h2>']
    for message in channel.messages.values():
        if not message.is_reply:
            parts += [_article(m, names) for m in (message, *channel.replies(message.ts))]
    return "".join(parts)


def _article(message: Message, names: Mapping[str, str] | None) -> str:
    at = datetime.fromtimestamp(float(message.ts), UTC).strftime("%H:%M:%S")
    edited = " (edited)" if message.edits else ""
    kind = "reply" if message.is_reply else "message"
    return f'<pre class="{kind}">{at}{edited}\n{html.escape(render(message, names))}</pre>'

"""Slack's mrkdwn and rich text as HTML, as its clients show them.

Source: https://docs.slack.dev/messaging/formatting-message-text
        https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
"""

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from markupsafe import Markup

from sandbox.slack.screen import ANGLED, CODE, MARKED, mrkdwn, unescaped

EMOJI = re.compile(r":([a-z0-9_+-]+):")
# Those that people type most; Slack shows the name of one that it does not know.
EMOJIS = {
    "+1": "👍",
    "eyes": "👀",
    "hourglass": "⌛",
    "lock": "🔒",
    "no_entry": "⛔",
    "octagonal_sign": "🛑",
    "rocket": "🚀",
    "rotating_light": "🚨",
    "tada": "🎉",
    "unlock": "🔓",
    "warning": "⚠️",
    "white_check_mark": "✅",
    "x": "❌",
}
TAGS = {"*": "strong", "_": "em", "~": "s"}
STYLES = {"bold": "strong", "italic": "em", "strike": "s", "code": "code"}
# Stands for a piece of HTML while the text around it is read; no text has these characters.
HELD = re.compile("\ue000(\\d+)\ue001")


class Markups:
    """`names`: user id -> name. `channels`: channel id -> name."""

    def __init__(self, names: Mapping[str, str], channels: Mapping[str, str]) -> None:
        self._names = names
        self._channels = channels

    def text(self, text: Mapping[str, Any]) -> Markup:
        """A text object, plain or mrkdwn."""
        if text["type"] == "mrkdwn":
            return self.mrkdwn(text["text"])
        return Markup(_lines(escape(_with_emoji(text["text"]))))

    def mrkdwn(self, source: str) -> Markup:
        held: list[str] = []

        def hold(html: str) -> str:
            held.append(html)
            return f"\ue000{len(held) - 1}\ue001"

        text = re.sub("[\ue000\ue001]", "", source)
        text = CODE.sub(lambda found: hold(_code(found.group())), text)
        text = ANGLED.sub(lambda found: hold(self._angled(found.group(1), found.group(2))), text)
        text = escape(_with_emoji(unescaped(text)))
        for _ in range(2):  # one marker inside another
            text = MARKED.sub(_marked, text)
        text = _lines(text)
        while HELD.search(text):  # a label may hold code
            text = HELD.sub(lambda found: held[int(found.group(1))], text)
        return Markup(text)

    def rich(self, element: Mapping[str, Any]) -> Markup:
        """A block of rich text, or a part of one."""
        kind = element["type"]
        if kind == "rich_text_list":
            items = "".join(f"<li>{self.rich(one)}</li>" for one in element["elements"])
            tag = "ol" if element.get("style") == "ordered" else "ul"
            return Markup(f"<{tag}>{items}</{tag}>")
        inner = "".join(self.rich(one) for one in element.get("elements", []))
        match kind:
            case "rich_text_preformatted":
                return Markup(f"<pre>{inner}</pre>")
            case "rich_text_quote":
                return Markup(f"<blockquote>{inner}</blockquote>")
            case "rich_text" | "rich_text_section":
                return Markup(f"<div>{inner}</div>")
            case _:
                return self._leaf(element)

    def _leaf(self, element: Mapping[str, Any]) -> Markup:
        match element["type"]:
            case "link":
                html = _link(element["url"], escape(element.get("text") or element["url"]))
            case "user":
                html = self._angled(f"@{element['user_id']}", None)
            case "channel":
                html = self._angled(f"#{element['channel_id']}", None)
            case "emoji":
                html = escape(_with_emoji(f":{element['name']}:"))
            case _:
                html = _lines(escape(str(element.get("text", ""))))
        style = element.get("style", {})
        for name in (name for name in STYLES if isinstance(style, dict) and style.get(name)):
            html = f"<{STYLES[name]}>{html}</{STYLES[name]}>"
        return Markup(html)

    def _angled(self, target: str, label: str | None) -> str:
        """A link, a mention or a date."""
        shown = escape(unescaped(label)) if label else ""
        if target[:1] == "@":
            name = shown or escape(self._names.get(target[1:], target[1:]))
            return f'<span class="mention">@{name.removeprefix("@")}</span>'
        if target[:1] == "#":
            name = shown or escape(self._channels.get(target[1:], target[1:]))
            return f'<a class="mention" href="/archives/{escape(target[1:])}">#{name}</a>'
        if target.startswith("!date^"):
            return f"<time>{shown}</time>"
        if target[:1] == "!":
            name = shown or escape(target[1:].partition("^")[0])
            return f'<span class="mention">@{name.removeprefix("@")}</span>'
        return _link(unescaped(target), shown or escape(unescaped(target)))


def _link(url: str, shown: str) -> str:
    if not url.startswith(("https://", "http://", "mailto:")):
        return shown
    return f'<a href="{escape(url)}" rel="noreferrer">{shown}</a>'


def _code(source: str) -> str:
    """There are no markers in code; what Slack has made a link is the text of it."""
    inner = escape(mrkdwn(source))
    return f"<pre>{inner.strip()}</pre>" if source.startswith("```") else f"<code>{inner}</code>"


def _marked(found: re.Match[str]) -> str:
    tag = TAGS[found.group(1)]
    return f"<{tag}>{found.group(2)}</{tag}>"


def _with_emoji(text: str) -> str:
    return EMOJI.sub(lambda found: EMOJIS.get(found.group(1), found.group()), text)


def _lines(html: str) -> str:
    """Lines, and quotes of those that begin with a `>`."""
    shown = []
    for line in html.split("\n"):
        quoted = line.startswith("&gt;")
        rest = line.removeprefix("&gt;").strip()
        shown.append(f"<blockquote>{rest}</blockquote>" if quoted else line)
    return "<br>".join(shown).replace("</blockquote><br>", "</blockquote>")

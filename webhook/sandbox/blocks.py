"""Slack's rules for Block Kit, by hand: what is wrong with the blocks of a message.

Source: https://docs.slack.dev/reference/block-kit/blocks
Errors: Slack's own wording, `[ERROR] must be less than ... [json-pointer:/blocks/0/text]`.
"""

from collections.abc import Callable
from typing import Any

MAX_BLOCKS = 50
MAX_TEXT_IN_ALL = 11_000  # seen with the real service; the documents give no number
ELEMENTS = (
    "button checkboxes channels_select conversations_select datepicker external_select image "
    "multi_static_select overflow radio_buttons static_select timepicker users_select"
)

Rule = Callable[["Problems", Any, str], None]


class Problems:
    """What was found, in Slack's words."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, words: str, at: str) -> None:
        self.found.append(f"[ERROR] {words} [json-pointer:{at}]")

    def string(self, value: Any, limit: int, at: str) -> None:
        if not isinstance(value, str):
            self.add("must be a string", at)
        elif not value:
            self.add("must be more than 0 characters", at)
        elif len(value) > limit:
            self.add(f"must be less than {limit + 1} characters", at)

    def items(self, value: Any, limit: int, at: str) -> list[Any]:
        if not isinstance(value, list):
            self.add("must be an array", at)
            return []
        if not value:
            self.add("must have at least 1 item", at)
        if len(value) > limit:
            self.add(f"no more than {limit} items allowed", at)
        return value

    def unique(self, values: list[Any], name: str, at: str) -> None:
        given = [v[name] for v in values if isinstance(v, dict) and name in v]
        for twice in sorted({str(v) for v in given if given.count(v) > 1}):
            self.add(f"{name} already exists: {twice}", at)

    def keys(self, value: Any, required: str, optional: str, at: str) -> bool:
        """Whether it is an object with all of those keys; any other key is a fault."""
        if not isinstance(value, dict):
            self.add("must be an object", at)
            return False
        missing = [key for key in required.split() if key not in value]
        for key in missing:
            self.add(f"missing required field: {key}", at)
        for key in value.keys() - {*required.split(), *optional.split()}:
            self.add(f"additional property not allowed: {key}", at)
        return not missing

    def text(self, value: Any, limit: int, at: str, *, plain: bool = False) -> None:
        kind = value.get("type") if isinstance(value, dict) else None
        allowed = ("plain_text",) if plain else ("plain_text", "mrkdwn")
        if kind not in allowed:
            self.add(f"unsupported type: {kind}", at)
        elif self.keys(value, "type text", "emoji" if kind == "plain_text" else "verbatim", at):
            self.string(value["text"], limit, f"{at}/text")


def faults_of(blocks: Any) -> list[str]:
    """All that Slack would refuse; empty when it would take them."""
    problems = Problems()
    if len(problems.items(blocks, MAX_BLOCKS, "/blocks")) and not problems.found:
        for number, block in enumerate(blocks):
            _block(problems, block, f"/blocks/{number}")
        problems.unique(blocks, "block_id", "/blocks")
    return problems.found


def text_in_all(value: Any) -> int:
    """Characters of text, however deep."""
    if isinstance(value, dict):
        own = len(value["text"]) if isinstance(value.get("text"), str) else 0
        return own + sum(text_in_all(v) for v in value.values())
    return sum(text_in_all(v) for v in value) if isinstance(value, list) else 0


def _block(problems: Problems, block: Any, at: str) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    rule = BLOCKS.get(kind) if isinstance(kind, str) else None
    if rule is None:
        problems.add(f"unsupported type: {kind}", f"{at}/type")
        return
    if "block_id" in block:
        problems.string(block["block_id"], 255, f"{at}/block_id")
    rule(problems, block, at)


def _section(problems: Problems, block: Any, at: str) -> None:
    problems.keys(block, "type", "block_id text fields accessory expand", at)
    if not block.get("text") and not block.get("fields"):
        problems.add("missing required field: text or fields", at)
    if "text" in block:
        problems.text(block["text"], 3000, f"{at}/text")
    if "fields" in block:
        for number, text in enumerate(problems.items(block["fields"], 10, f"{at}/fields")):
            problems.text(text, 2000, f"{at}/fields/{number}")
    if "accessory" in block:
        _element(problems, block["accessory"], f"{at}/accessory")


def _header(problems: Problems, block: Any, at: str) -> None:
    if problems.keys(block, "type text", "block_id level", at):
        problems.text(block["text"], 150, f"{at}/text", plain=True)


def _divider(problems: Problems, block: Any, at: str) -> None:
    problems.keys(block, "type", "block_id", at)


def _context(problems: Problems, block: Any, at: str) -> None:
    if not problems.keys(block, "type elements", "block_id", at):
        return
    for number, element in enumerate(problems.items(block["elements"], 10, f"{at}/elements")):
        where = f"{at}/elements/{number}"
        if isinstance(element, dict) and element.get("type") == "image":
            _image(problems, element, where)
        else:
            problems.text(element, 3000, where)


def _actions(problems: Problems, block: Any, at: str) -> None:
    if not problems.keys(block, "type elements", "block_id", at):
        return
    elements = problems.items(block["elements"], 25, f"{at}/elements")
    for number, element in enumerate(elements):
        _element(problems, element, f"{at}/elements/{number}")
    problems.unique(elements, "action_id", f"{at}/elements")


def _rich_text(problems: Problems, block: Any, at: str) -> None:
    if problems.keys(block, "type elements", "block_id", at):
        problems.items(block["elements"], 1000, f"{at}/elements")


def _image(problems: Problems, image: Any, at: str) -> None:
    if problems.keys(image, "type image_url alt_text", "block_id title", at):
        problems.string(image["image_url"], 3000, f"{at}/image_url")
        problems.string(image["alt_text"], 2000, f"{at}/alt_text")


def _element(problems: Problems, element: Any, at: str) -> None:
    kind = element.get("type") if isinstance(element, dict) else None
    if kind not in ELEMENTS.split():
        problems.add(f"unsupported type: {kind}", f"{at}/type")
    elif kind == "button":
        _button(problems, element, at)
    elif kind == "image":
        _image(problems, element, at)
    if isinstance(element, dict) and "action_id" in element:
        problems.string(element["action_id"], 255, f"{at}/action_id")


def _button(problems: Problems, button: Any, at: str) -> None:
    optional = "action_id url value style confirm accessibility_label"
    if not problems.keys(button, "type text", optional, at):
        return
    problems.text(button["text"], 75, f"{at}/text", plain=True)
    for name, limit in (("url", 3000), ("value", 2000), ("accessibility_label", 75)):
        if name in button:
            problems.string(button[name], limit, f"{at}/{name}")
    if button.get("style", "primary") not in ("primary", "danger"):
        problems.add("must be one of: primary, danger", f"{at}/style")
    if "confirm" in button:
        _confirm(problems, button["confirm"], f"{at}/confirm")


def _confirm(problems: Problems, confirm: Any, at: str) -> None:
    if not problems.keys(confirm, "title text confirm deny", "style", at):
        return
    for name, limit in (("title", 100), ("confirm", 30), ("deny", 30)):
        problems.text(confirm[name], limit, f"{at}/{name}", plain=True)
    problems.text(confirm["text"], 300, f"{at}/text")


BLOCKS: dict[str, Rule] = {
    "section": _section,
    "header": _header,
    "divider": _divider,
    "context": _context,
    "actions": _actions,
    "rich_text": _rich_text,
    "image": _image,
}

"""Slack's rules for Block Kit, by hand: what is wrong with the blocks of a message or a form.

Source: https://docs.slack.dev/reference/block-kit/blocks
        https://docs.slack.dev/reference/views/modal-views
Errors: Slack's own wording, `[ERROR] must be less than ... [json-pointer:/blocks/0/text]`.
"""

from typing import Any

from sandbox.slack.elements import ACCESSORIES, ACTIONS, INPUTS, element, image
from sandbox.slack.problems import Problems, Rule

MAX_BLOCKS, MAX_BLOCKS_IN_VIEW = 50, 100
MAX_TEXT_IN_ALL = 11_000  # seen with the real service; the documents give no number
VIEW = (
    "submit close private_metadata callback_id clear_on_close notify_on_close external_id "
    "submit_disabled"
)


def faults_of(blocks: Any) -> list[str]:
    """All that Slack would refuse in a message; empty when it would take them."""
    problems = Problems()
    _blocks(problems, blocks, MAX_BLOCKS, "/blocks")
    return problems.found


def faults_of_view(view: Any) -> list[str]:
    """All that Slack would refuse in a form (modal)."""
    problems = Problems()
    if not problems.keys(view, "type title blocks", VIEW, "/view"):
        return problems.found
    if view["type"] != "modal":
        problems.add(f"unsupported type: {view['type']}", "/view/type")
    for name in ("title", "submit", "close"):
        if view.get(name) is not None:
            problems.text(view[name], 24, f"/view/{name}", plain=True)
    for name, limit in (("private_metadata", 3000), ("callback_id", 255), ("external_id", 255)):
        if view.get(name):
            problems.string(view[name], limit, f"/view/{name}")
    _blocks(problems, view["blocks"], MAX_BLOCKS_IN_VIEW, "/view/blocks")
    if not problems.found and not view.get("submit") and _has_input(view["blocks"]):
        problems.add("missing required field: submit", "/view")
    return problems.found


def _has_input(blocks: list[Any]) -> bool:
    return any(block["type"] == "input" for block in blocks)


def _blocks(problems: Problems, blocks: Any, limit: int, at: str) -> None:
    before = len(problems.found)
    found = problems.items(blocks, limit, at)
    if len(problems.found) == before:
        for number, block in enumerate(found):
            _block(problems, block, f"{at}/{number}")
        problems.unique(found, "block_id", at)


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
        element(problems, block["accessory"], f"{at}/accessory", ACCESSORIES)


def _header(problems: Problems, block: Any, at: str) -> None:
    if problems.keys(block, "type text", "block_id level", at):
        problems.text(block["text"], 150, f"{at}/text", plain=True)


def _divider(problems: Problems, block: Any, at: str) -> None:
    problems.keys(block, "type", "block_id", at)


def _context(problems: Problems, block: Any, at: str) -> None:
    if not problems.keys(block, "type elements", "block_id", at):
        return
    for number, shown in enumerate(problems.items(block["elements"], 10, f"{at}/elements")):
        where = f"{at}/elements/{number}"
        if isinstance(shown, dict) and shown.get("type") == "image":
            image(problems, shown, where)
        else:
            problems.text(shown, 3000, where)


def _actions(problems: Problems, block: Any, at: str) -> None:
    if not problems.keys(block, "type elements", "block_id", at):
        return
    elements = problems.items(block["elements"], 25, f"{at}/elements")
    for number, value in enumerate(elements):
        element(problems, value, f"{at}/elements/{number}", ACTIONS)
    problems.unique(elements, "action_id", f"{at}/elements")


def _rich_text(problems: Problems, block: Any, at: str) -> None:
    if problems.keys(block, "type elements", "block_id", at):
        problems.items(block["elements"], 1000, f"{at}/elements")


def _input(problems: Problems, block: Any, at: str) -> None:
    if not problems.keys(block, "type label element", "block_id hint optional dispatch_action", at):
        return
    problems.text(block["label"], 2000, f"{at}/label", plain=True)
    if "hint" in block:
        problems.text(block["hint"], 2000, f"{at}/hint", plain=True)
    for name in ("optional", "dispatch_action"):
        if name in block:
            problems.flag(block[name], f"{at}/{name}")
    element(problems, block["element"], f"{at}/element", INPUTS)


BLOCKS: dict[str, Rule] = {
    "section": _section,
    "header": _header,
    "divider": _divider,
    "context": _context,
    "actions": _actions,
    "rich_text": _rich_text,
    "image": image,
    "input": _input,
}

"""Slack's rules for Block Kit: what is wrong with the blocks of a message or with a modal.

Source: https://docs.slack.dev/reference/block-kit/blocks
        https://docs.slack.dev/reference/block-kit/block-elements
        https://docs.slack.dev/reference/block-kit/composition-objects
        https://docs.slack.dev/reference/views/modal-views
Errors: Slack's own text, `[ERROR] must be less than ... [json-pointer:/blocks/0/text]`.
"""

from collections.abc import Callable
from typing import Any


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

    def flag(self, value: Any, at: str) -> None:
        if not isinstance(value, bool):
            self.add("must be a boolean", at)

    def number(self, value: Any, low: int, high: int, at: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            self.add("must be an integer", at)
        elif not low <= value <= high:
            self.add(f"must be between {low} and {high}", at)

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


Rule = Callable[[Problems, Any, str], None]


MENUS = (
    "channels_select conversations_select external_select static_select users_select "
    "multi_channels_select multi_conversations_select multi_external_select multi_static_select "
    "multi_users_select"
)
PICKERS = "checkboxes datepicker datetimepicker radio_buttons timepicker"
FIELDS = "email_text_input file_input number_input plain_text_input rich_text_input url_text_input"
# Which may stand where.
ACTIONS = frozenset(f"{MENUS} {PICKERS} button overflow workflow_button".split())
ACCESSORIES = ACTIONS | {"image"}
INPUTS = frozenset(f"{MENUS} {PICKERS} {FIELDS}".split())
COMMON = "action_id confirm focus_on_load placeholder"


def element(problems: Problems, value: Any, at: str, allowed: frozenset[str]) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in allowed:
        problems.add(f"unsupported type: {kind}", f"{at}/type")
        return
    if kind in ELEMENTS:
        ELEMENTS[kind](problems, value, at)
    if "action_id" in value:
        problems.string(value["action_id"], 255, f"{at}/action_id")
    if "placeholder" in value:
        problems.text(value["placeholder"], 150, f"{at}/placeholder", plain=True)
    if "confirm" in value:
        _confirm(problems, value["confirm"], f"{at}/confirm")
    if "focus_on_load" in value:
        problems.flag(value["focus_on_load"], f"{at}/focus_on_load")


def image(problems: Problems, value: Any, at: str) -> None:
    if problems.keys(value, "type image_url alt_text", "block_id title", at):
        problems.string(value["image_url"], 3000, f"{at}/image_url")
        problems.string(value["alt_text"], 2000, f"{at}/alt_text")


def _button(problems: Problems, button: Any, at: str) -> None:
    optional = "action_id url value style confirm accessibility_label"
    if not problems.keys(button, "type text", optional, at):
        return
    problems.text(button["text"], 75, f"{at}/text", plain=True)
    for name, limit in (("url", 3000), ("value", 2000), ("accessibility_label", 75)):
        if name in button:
            problems.string(button[name], limit, f"{at}/{name}")
    _style(problems, button, at)


def _confirm(problems: Problems, confirm: Any, at: str) -> None:
    if not problems.keys(confirm, "title text confirm deny", "style", at):
        return
    for name, limit in (("title", 100), ("confirm", 30), ("deny", 30)):
        problems.text(confirm[name], limit, f"{at}/{name}", plain=True)
    problems.text(confirm["text"], 300, f"{at}/text")
    _style(problems, confirm, at)


def _style(problems: Problems, value: Any, at: str) -> None:
    if value.get("style", "primary") not in ("primary", "danger"):
        problems.add("must be one of: primary, danger", f"{at}/style")


def _static_select(problems: Problems, menu: Any, at: str) -> None:
    optional = f"{COMMON} options option_groups initial_option"
    if not problems.keys(menu, "type", optional, at):
        return
    if ("options" in menu) == ("option_groups" in menu):
        problems.add("must have one of: options, option_groups", at)
        return
    found = _grouped(problems, menu, at) if "option_groups" in menu else menu["options"]
    if "options" in menu:
        _options(problems, found, 100, f"{at}/options")
    if "initial_option" in menu and menu["initial_option"] not in found:
        problems.add("must be one of the options", f"{at}/initial_option")


def _grouped(problems: Problems, menu: Any, at: str) -> list[Any]:
    """The options of all groups."""
    found: list[Any] = []
    groups = problems.items(menu["option_groups"], 100, f"{at}/option_groups")
    for number, group in enumerate(groups):
        where = f"{at}/option_groups/{number}"
        if problems.keys(group, "label options", "", where):
            problems.text(group["label"], 75, f"{where}/label", plain=True)
            _options(problems, group["options"], 100, f"{where}/options")
            found += group["options"] if isinstance(group["options"], list) else []
    return found


def _options(problems: Problems, options: Any, limit: int, at: str) -> None:
    values = problems.items(options, limit, at)
    for number, option in enumerate(values):
        where = f"{at}/{number}"
        if problems.keys(option, "text value", "description url", where):
            problems.text(option["text"], 75, f"{where}/text", plain=True)
            problems.string(option["value"], 150, f"{where}/value")
            if "description" in option:
                problems.text(option["description"], 75, f"{where}/description", plain=True)
    problems.unique(values, "value", at)


def _choices(limit: int, more: str) -> Rule:
    """Those whose options all lie open."""

    def rule(problems: Problems, value: Any, at: str) -> None:
        if problems.keys(value, "type options", f"action_id confirm {more}", at):
            _options(problems, value["options"], limit, f"{at}/options")

    return rule


def _plain_text_input(problems: Problems, value: Any, at: str) -> None:
    more = "dispatch_action_config initial_value max_length min_length multiline"
    if not problems.keys(value, "type", f"action_id focus_on_load placeholder {more}", at):
        return
    for name, low in (("min_length", 0), ("max_length", 1)):
        if name in value:
            problems.number(value[name], low, 3000, f"{at}/{name}")
    if "multiline" in value:
        problems.flag(value["multiline"], f"{at}/multiline")
    if "initial_value" in value and not isinstance(value["initial_value"], str):
        problems.add("must be a string", f"{at}/initial_value")


ELEMENTS: dict[str, Rule] = {
    "button": _button,
    "image": image,
    "static_select": _static_select,
    "plain_text_input": _plain_text_input,
    "overflow": _choices(5, ""),
    "checkboxes": _choices(10, "initial_options focus_on_load"),
    "radio_buttons": _choices(10, "initial_option focus_on_load"),
}


MAX_BLOCKS, MAX_BLOCKS_IN_VIEW = 50, 100
MAX_TEXT_IN_ALL = 11_000  # seen with the real service; the documents give no number
VIEW = (
    "submit close private_metadata callback_id clear_on_close notify_on_close external_id "
    "submit_disabled"
)


def block_errors(blocks: Any) -> list[str]:
    """All that Slack would refuse in a message; empty when it would take them."""
    problems = Problems()
    _blocks(problems, blocks, MAX_BLOCKS, "/blocks")
    return problems.found


def view_errors(view: Any) -> list[str]:
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


def total_text_length(value: Any) -> int:
    """Characters of text, however deep."""
    if isinstance(value, dict):
        own = len(value["text"]) if isinstance(value.get("text"), str) else 0
        return own + sum(total_text_length(v) for v in value.values())
    return sum(total_text_length(v) for v in value) if isinstance(value, list) else 0


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

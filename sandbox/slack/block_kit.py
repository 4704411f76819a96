"""Slack's rules for Block Kit: what is wrong with the blocks of a message or with a modal.

Source: https://docs.slack.dev/reference/block-kit/blocks
        https://docs.slack.dev/reference/block-kit/block-elements
        https://docs.slack.dev/reference/block-kit/composition-objects
        https://docs.slack.dev/reference/views/modal-views
Errors: Slack's own text, `[ERROR] must be less than ... [json-pointer:/blocks/0/text]`.
"""

from collections.abc import Callable, Collection
from typing import Any


class Errors:
    """Collects what is wrong, in Slack's format. `at` is a JSON pointer."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def add(self, message: str, at: str) -> None:
        self.messages.append(f"[ERROR] {message} [json-pointer:{at}]")

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
        names = [v[name] for v in values if isinstance(v, dict) and name in v]
        for repeated in sorted({str(v) for v in names if names.count(v) > 1}):
            self.add(f"{name} already exists: {repeated}", at)

    def keys(self, value: Any, required: str, optional: str, at: str) -> bool:
        """Whether it is an object with all required keys; any other key is an error."""
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


Rule = Callable[[Errors, Any, str], None]


MENUS = (
    "channels_select conversations_select external_select static_select users_select "
    "multi_channels_select multi_conversations_select multi_external_select multi_static_select "
    "multi_users_select"
)
PICKERS = "checkboxes datepicker datetimepicker radio_buttons timepicker"
FIELDS = "email_text_input file_input number_input plain_text_input rich_text_input url_text_input"
# The elements of an actions block, of a section, of an input block.
ACTIONS = frozenset(f"{MENUS} {PICKERS} button overflow workflow_button".split())
ACCESSORIES = ACTIONS | {"image"}
INPUTS = frozenset(f"{MENUS} {PICKERS} {FIELDS}".split())
COMMON = "action_id confirm focus_on_load placeholder"


def element(errors: Errors, value: Any, at: str, allowed: frozenset[str]) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in allowed:
        errors.add(f"unsupported type: {kind}", f"{at}/type")
        return
    if kind in ELEMENTS:
        ELEMENTS[kind](errors, value, at)
    if "action_id" in value:
        errors.string(value["action_id"], 255, f"{at}/action_id")
    if "placeholder" in value:
        errors.text(value["placeholder"], 150, f"{at}/placeholder", plain=True)
    if "confirm" in value:
        _confirm(errors, value["confirm"], f"{at}/confirm")
    if "focus_on_load" in value:
        errors.flag(value["focus_on_load"], f"{at}/focus_on_load")


def image(errors: Errors, value: Any, at: str) -> None:
    if errors.keys(value, "type image_url alt_text", "block_id title", at):
        errors.string(value["image_url"], 3000, f"{at}/image_url")
        errors.string(value["alt_text"], 2000, f"{at}/alt_text")


def _button(errors: Errors, button: Any, at: str) -> None:
    optional = "action_id url value style confirm accessibility_label"
    if not errors.keys(button, "type text", optional, at):
        return
    errors.text(button["text"], 75, f"{at}/text", plain=True)
    for name, limit in (("url", 3000), ("value", 2000), ("accessibility_label", 75)):
        if name in button:
            errors.string(button[name], limit, f"{at}/{name}")
    _style(errors, button, at)


def _confirm(errors: Errors, confirm: Any, at: str) -> None:
    if not errors.keys(confirm, "title text confirm deny", "style", at):
        return
    for name, limit in (("title", 100), ("confirm", 30), ("deny", 30)):
        errors.text(confirm[name], limit, f"{at}/{name}", plain=True)
    errors.text(confirm["text"], 300, f"{at}/text")
    _style(errors, confirm, at)


def _style(errors: Errors, value: Any, at: str) -> None:
    if value.get("style", "primary") not in ("primary", "danger"):
        errors.add("must be one of: primary, danger", f"{at}/style")


def _static_select(errors: Errors, menu: Any, at: str) -> None:
    optional = f"{COMMON} options option_groups initial_option"
    if not errors.keys(menu, "type", optional, at):
        return
    if ("options" in menu) == ("option_groups" in menu):
        errors.add("must have one of: options, option_groups", at)
        return
    found = _grouped(errors, menu, at) if "option_groups" in menu else menu["options"]
    if "options" in menu:
        _options(errors, found, 100, f"{at}/options")
    if "initial_option" in menu and menu["initial_option"] not in found:
        errors.add("must be one of the options", f"{at}/initial_option")


def _grouped(errors: Errors, menu: Any, at: str) -> list[Any]:
    """The options of all groups."""
    found: list[Any] = []
    groups = errors.items(menu["option_groups"], 100, f"{at}/option_groups")
    for number, group in enumerate(groups):
        where = f"{at}/option_groups/{number}"
        if errors.keys(group, "label options", "", where):
            errors.text(group["label"], 75, f"{where}/label", plain=True)
            _options(errors, group["options"], 100, f"{where}/options")
            found += group["options"] if isinstance(group["options"], list) else []
    return found


def _options(errors: Errors, options: Any, limit: int, at: str) -> None:
    values = errors.items(options, limit, at)
    for number, option in enumerate(values):
        where = f"{at}/{number}"
        if errors.keys(option, "text value", "description url", where):
            errors.text(option["text"], 75, f"{where}/text", plain=True)
            errors.string(option["value"], 150, f"{where}/value")
            if "description" in option:
                errors.text(option["description"], 75, f"{where}/description", plain=True)
    errors.unique(values, "value", at)


def _choices(limit: int, more: str) -> Rule:
    """Elements that show all their options."""

    def rule(errors: Errors, value: Any, at: str) -> None:
        if errors.keys(value, "type options", f"action_id confirm {more}", at):
            _options(errors, value["options"], limit, f"{at}/options")

    return rule


def _plain_text_input(errors: Errors, value: Any, at: str) -> None:
    more = "dispatch_action_config initial_value max_length min_length multiline"
    if not errors.keys(value, "type", f"action_id focus_on_load placeholder {more}", at):
        return
    for name, low in (("min_length", 0), ("max_length", 1)):
        if name in value:
            errors.number(value[name], low, 3000, f"{at}/{name}")
    if "multiline" in value:
        errors.flag(value["multiline"], f"{at}/multiline")
    if "initial_value" in value and not isinstance(value["initial_value"], str):
        errors.add("must be a string", f"{at}/initial_value")


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
MAX_TOTAL_TEXT = 11_000  # found by trying; the documents have no number
VIEW = (
    "submit close private_metadata callback_id clear_on_close notify_on_close external_id "
    "submit_disabled"
)


def block_errors(blocks: Any, unsupported: Collection[str] = ()) -> list[str]:
    """What Slack would reject in the blocks of a message; empty if it accepts them. `unsupported`:
    types that it accepts no more."""
    errors = Errors()
    _blocks(errors, blocks, MAX_BLOCKS, "/blocks")
    for number, block in enumerate(blocks if unsupported and not errors.messages else ()):
        if block["type"] in unsupported:
            errors.add(f"unsupported type: {block['type']}", f"/blocks/{number}/type")
    return errors.messages


def view_errors(view: Any) -> list[str]:
    """What Slack would reject in a view (modal)."""
    errors = Errors()
    if not errors.keys(view, "type title blocks", VIEW, "/view"):
        return errors.messages
    if view["type"] != "modal":
        errors.add(f"unsupported type: {view['type']}", "/view/type")
    for name in ("title", "submit", "close"):
        if view.get(name) is not None:
            errors.text(view[name], 24, f"/view/{name}", plain=True)
    for name, limit in (("private_metadata", 3000), ("callback_id", 255), ("external_id", 255)):
        if view.get(name):
            errors.string(view[name], limit, f"/view/{name}")
    _blocks(errors, view["blocks"], MAX_BLOCKS_IN_VIEW, "/view/blocks")
    if not errors.messages and not view.get("submit") and _has_input(view["blocks"]):
        errors.add("missing required field: submit", "/view")
    return errors.messages


def _has_input(blocks: list[Any]) -> bool:
    return any(block["type"] == "input" for block in blocks)


def _blocks(errors: Errors, blocks: Any, limit: int, at: str) -> None:
    before = len(errors.messages)
    found = errors.items(blocks, limit, at)
    if len(errors.messages) == before:
        for number, block in enumerate(found):
            _block(errors, block, f"{at}/{number}")
        errors.unique(found, "block_id", at)


def total_text_length(value: Any) -> int:
    """The number of characters in all texts, at any depth."""
    if isinstance(value, dict):
        own = len(value["text"]) if isinstance(value.get("text"), str) else 0
        return own + sum(total_text_length(v) for v in value.values())
    return sum(total_text_length(v) for v in value) if isinstance(value, list) else 0


def _block(errors: Errors, block: Any, at: str) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    rule = BLOCKS.get(kind) if isinstance(kind, str) else None
    if rule is None:
        errors.add(f"unsupported type: {kind}", f"{at}/type")
        return
    if "block_id" in block:
        errors.string(block["block_id"], 255, f"{at}/block_id")
    rule(errors, block, at)


def _section(errors: Errors, block: Any, at: str) -> None:
    errors.keys(block, "type", "block_id text fields accessory expand", at)
    if not block.get("text") and not block.get("fields"):
        errors.add("missing required field: text or fields", at)
    if "text" in block:
        errors.text(block["text"], 3000, f"{at}/text")
    if "fields" in block:
        for number, text in enumerate(errors.items(block["fields"], 10, f"{at}/fields")):
            errors.text(text, 2000, f"{at}/fields/{number}")
    if "accessory" in block:
        element(errors, block["accessory"], f"{at}/accessory", ACCESSORIES)


def _header(errors: Errors, block: Any, at: str) -> None:
    if errors.keys(block, "type text", "block_id level", at):
        errors.text(block["text"], 150, f"{at}/text", plain=True)


def _divider(errors: Errors, block: Any, at: str) -> None:
    errors.keys(block, "type", "block_id", at)


def _context(errors: Errors, block: Any, at: str) -> None:
    if not errors.keys(block, "type elements", "block_id", at):
        return
    for number, value in enumerate(errors.items(block["elements"], 10, f"{at}/elements")):
        where = f"{at}/elements/{number}"
        if isinstance(value, dict) and value.get("type") == "image":
            image(errors, value, where)
        else:
            errors.text(value, 3000, where)


def _actions(errors: Errors, block: Any, at: str) -> None:
    if not errors.keys(block, "type elements", "block_id", at):
        return
    elements = errors.items(block["elements"], 25, f"{at}/elements")
    for number, value in enumerate(elements):
        element(errors, value, f"{at}/elements/{number}", ACTIONS)
    errors.unique(elements, "action_id", f"{at}/elements")


def _rich_text(errors: Errors, block: Any, at: str) -> None:
    if errors.keys(block, "type elements", "block_id", at):
        errors.items(block["elements"], 1000, f"{at}/elements")


def _input(errors: Errors, block: Any, at: str) -> None:
    if not errors.keys(block, "type label element", "block_id hint optional dispatch_action", at):
        return
    errors.text(block["label"], 2000, f"{at}/label", plain=True)
    if "hint" in block:
        errors.text(block["hint"], 2000, f"{at}/hint", plain=True)
    for name in ("optional", "dispatch_action"):
        if name in block:
            errors.flag(block[name], f"{at}/{name}")
    element(errors, block["element"], f"{at}/element", INPUTS)


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

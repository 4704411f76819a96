"""Slack's rules for the elements in blocks: buttons, menus, fields.

Source: https://docs.slack.dev/reference/block-kit/block-elements
        https://docs.slack.dev/reference/block-kit/composition-objects
"""

from typing import Any

from sandbox.slack.problems import Problems, Rule

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

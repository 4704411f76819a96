"""Filling in a form as a person can: what its elements allow, and what Slack makes of it.

Source: https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload
Errors: ValueError where a person could not fill it in so.
"""

from collections.abc import Mapping
from typing import Any

from sandbox.slack.model import Json

MANY = ("checkboxes", "multi_static_select")
ONE = ("static_select", "radio_buttons")


def state_of(blocks: list[Json], values: Mapping[str, Any]) -> Json:
    """`state.values`. `values` go by block_id or action_id: a text, or an option's value."""
    unused = set(values)
    state: Json = {}
    for block in blocks:
        if block["type"] != "input":
            continue
        element = block["element"]
        action_id = element.get("action_id", f"{block['block_id']}-element")
        names = {block["block_id"], action_id} & values.keys()
        unused -= names
        given = values[names.pop()] if names else _initial(element)
        filled = _filled(element, given)
        if not block.get("optional") and not _has(filled):
            raise ValueError(f"{block['block_id']} must be filled in")
        state[block["block_id"]] = {action_id: filled}
    if unused:
        raise ValueError(f"the form has no {', '.join(sorted(unused))}")
    return state


def _initial(element: Json) -> Any:
    if element["type"] in MANY:
        return [option["value"] for option in element.get("initial_options", [])]
    if element["type"] in ONE:
        return element.get("initial_option", {}).get("value")
    return element.get("initial_value")


def _filled(element: Json, value: Any) -> Json:
    kind = element["type"]
    if kind in ONE:
        return {"type": kind, "selected_option": _option(element, value) if value else None}
    if kind in MANY:
        return {"type": kind, "selected_options": [_option(element, v) for v in value or []]}
    text = str(value) if value else None
    if text is not None:
        shortest, longest = element.get("min_length", 0), element.get("max_length", 3000)
        if not shortest <= len(text) <= longest:
            raise ValueError(f"the text must have {shortest} to {longest} characters")
    return {"type": kind, "value": text}


def _option(element: Json, value: Any) -> Json:
    groups = element.get("option_groups", [{"options": element.get("options", [])}])
    options: list[Json] = [option for group in groups for option in group["options"]]
    for option in options:
        if option["value"] == value:
            return option
    raise ValueError(f"{value} is not among {', '.join(o['value'] for o in options)}")


def _has(filled: Json) -> bool:
    return bool(
        filled.get("value") or filled.get("selected_option") or filled.get("selected_options")
    )
